"""SoftTeacher's numbers beside slow obvious ones."""

import statistics

import pytest
import torch

from alpl.losses.soft_teacher import box_variance, jittered, soft_class_loss


def reference_loss(losses, labels, background):
    total = weights = 0.0
    for loss, label, nothing in zip(losses.tolist(), labels.tolist(), background.tolist(), strict=True):
        weight = 1.0 if label else nothing
        total, weights = total + weight * loss, weights + weight
    return total / max(weights, 1.0)


@pytest.mark.parametrize("number", [0, 1, 40])
def test_class_losses_are_weighted_one_by_one(number):
    generator = torch.Generator().manual_seed(number)
    losses, background = torch.rand(2, number, generator=generator)
    labels = torch.randint(3, (number,), generator=generator)
    expected = reference_loss(losses, labels, background)
    assert soft_class_loss(losses, labels, background).item() == pytest.approx(expected, rel=1e-5)


def test_a_teacher_that_sees_objects_everywhere_silences_the_backgrounds():
    losses = torch.tensor([3.0, 5.0], requires_grad=True)
    loss = soft_class_loss(losses, torch.tensor([0, 0]), torch.zeros(2))
    loss.backward()
    assert loss.item() == 0 and not losses.grad.any()


def reference_variance(copies):
    """Of one box, from its copies: lists of four numbers."""
    means = [statistics.fmean(side) for side in zip(*copies, strict=True)]
    width, height = max(1.0, means[2] - means[0]), max(1.0, means[3] - means[1])
    spread = [statistics.stdev(side) for side in zip(*copies, strict=True)]
    return sum(one / side for one, side in zip(spread, (width, height, width, height), strict=True)) / 4


def test_the_variance_of_boxes_is_that_of_each():
    generator = torch.Generator().manual_seed(0)
    start = torch.rand(6, 5, 2, generator=generator) * 30
    refined = torch.cat([start, start + torch.rand(6, 5, 2, generator=generator) * torch.tensor([0.5, 40])], -1)
    for box, variance in enumerate(box_variance(refined).tolist()):
        assert variance == pytest.approx(reference_variance(refined[:, box].tolist()), rel=1e-4)
    assert box_variance(refined[:, :0]).shape == (0,)
    assert not box_variance(refined[:1].expand(4, -1, -1)).any()


def test_jitter_is_in_sides_of_the_box_and_keeps_corners_in_order():
    boxes = torch.tensor([[10.0, 10, 30, 50], [5.0, 5, 5.2, 5.2]])
    moved = jittered(boxes, torch.randn(4000, 2, 4, generator=torch.Generator().manual_seed(1)), 0.06)
    assert (moved[..., :2] <= moved[..., 2:]).all()
    deviation = (moved[:, 0] - boxes[0]).std(0)
    torch.testing.assert_close(deviation, 0.06 * torch.tensor([20.0, 40, 20, 40]), rtol=0.05, atol=0)
    assert (moved[:, 1] - boxes[1]).std(0).min() > 0.03  # of one pixel, though its sides are shorter
    assert torch.equal(jittered(boxes, torch.zeros(2, 2, 4), 0.06), boxes.expand(2, 2, 4))
