import math

import pytest
import torch

from alpl.losses.focal import BACKGROUND, IGNORED, focal_loss


def _reference(logits, classes, alpha, gamma):
    """Lin et al. 2017, Eq. 5, anchor by anchor and class by class."""
    sums = []
    for image, of_image in zip(logits.tolist(), classes.tolist(), strict=True):
        total = 0.0
        for anchor, label in zip(image, of_image, strict=True):
            for number, logit in enumerate(anchor):
                p = 1 / (1 + math.exp(-logit))
                p_t, alpha_t = (p, alpha) if number == label else (1 - p, 1 - alpha)
                total -= 0.0 if label == IGNORED else alpha_t * (1 - p_t) ** gamma * math.log(p_t)
        sums.append(total)
    return sums


@pytest.mark.parametrize("gamma", [0.0, 1.5, 2.0])
@pytest.mark.parametrize("num_classes", [1, 4])
def test_focal_loss_is_the_equation(gamma, num_classes):
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(3, 20, num_classes, generator=generator, dtype=torch.float64) * 3
    classes = torch.randint(-2, num_classes, (3, 20), generator=generator)
    classes[2] = BACKGROUND
    found = focal_loss(logits, classes, alpha=0.25, gamma=gamma)
    assert found.tolist() == pytest.approx(_reference(logits, classes, 0.25, gamma))


def test_ignored_anchors_have_no_gradient():
    logits = torch.randn(1, 4, 2, requires_grad=True)
    focal_loss(logits, torch.tensor([[0, BACKGROUND, IGNORED, 1]])).sum().backward()
    assert (logits.grad[0].abs().sum(1) > 0).tolist() == [True, True, False, True]
    assert focal_loss(logits, torch.full((1, 4), IGNORED)).tolist() == [0.0]
