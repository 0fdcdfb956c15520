import math

import pytest
import torch

from alpl.losses.center import center_focal_loss, mean_focal_loss, num_centers, point_loss, point_losses


def focal_reference(logits, heat):
    """Zhou et al. 2019, Eq. 1, cell by cell, the probability in [1e-4, 1 - 1e-4]."""
    total = 0.0
    for logit, t in zip(logits.flatten().tolist(), heat.flatten().tolist(), strict=True):
        p = min(max(1 / (1 + math.exp(-logit)), 1e-4), 1 - 1e-4)
        total -= (1 - p) ** 2 * math.log(p) if t == 1 else (1 - t) ** 4 * p**2 * math.log(1 - p)
    return total


@pytest.mark.parametrize("num_classes", [1, 3])
def test_focal_loss_is_the_equation(num_classes):
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(3, num_classes, 4, 5, generator=generator, dtype=torch.float64) * 8
    heat = torch.rand(3, num_classes, 4, 5, generator=generator, dtype=torch.float64)
    heat[0, 0, 1, 2] = heat[0, 0, 3, 4] = heat[2, -1, 0, 0] = 1.0  # two, none, one
    sums = center_focal_loss(logits, heat)
    expected = [focal_reference(*pair) for pair in zip(logits, heat, strict=True)]
    assert sums.tolist() == pytest.approx(expected)
    assert num_centers(heat).tolist() == [2, 1, 1]
    assert float(mean_focal_loss(sums, heat)) == pytest.approx(sum(expected) / 3)
    assert float(mean_focal_loss(sums[1:2], heat[1:2])) == pytest.approx(expected[1])  # no center: undivided


def test_points_are_averages_over_coordinates():
    predicted, aimed = (
        torch.tensor([[1.0, 2.0], [0.0, 0.0], [5.0, 5.0]]),
        torch.tensor([[0.0, 4.0], [1.0, 0.0], [5.0, 9.0]]),
    )
    assert float(point_loss(predicted, aimed)) == pytest.approx(8 / 6.0001)
    of_images = point_losses(predicted, aimed, torch.tensor([0, 2, 0]), 3)
    assert of_images.tolist() == pytest.approx([7 / 4.0001, 0, 1 / 2.0001])
    nothing = torch.zeros(0, 2, requires_grad=True)
    loss = point_loss(nothing, torch.zeros(0, 2))
    loss.backward()  # processes that have no object take part all the same
    assert float(loss.detach()) == 0 and nothing.grad.shape == (0, 2)
