import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from multibox_reference import NOTHING, Unit, loss_reference, match_reference

from alpl.boxes.objects import Objects
from alpl.boxes.priors import TINY_96, VOC_300
from alpl.losses.multibox import Kind, hard_negatives, match, multibox_loss


def _random_case(seed, num_images=4, num_priors=30, num_outputs=4, max_objects=5):
    """Priors and objects of one scale, so that many overlap by more than a half."""
    generator = torch.Generator().manual_seed(seed)

    def rand(*shape):
        return torch.rand(*shape, generator=generator, dtype=torch.float64)

    priors = torch.cat([rand(num_priors, 2), 0.2 + 0.3 * rand(num_priors, 2)], 1)
    targets = []
    for _ in range(num_images):
        number = int(torch.randint(max_objects + 1, (), generator=generator))
        start = rand(number, 2) * 0.6
        boxes = torch.cat([start, start + 0.15 + 0.25 * rand(number, 2)], 1)
        targets.append(Unit(boxes, torch.randint(num_outputs - 1, (number,), generator=generator)))
    logits = 3 * torch.randn(num_images, num_priors, num_outputs, generator=generator, dtype=torch.float64)
    deltas = 2 * torch.randn(num_images, num_priors, 4, generator=generator, dtype=torch.float64)
    return logits, deltas, targets, priors


# --- matching


@given(st.integers(0, 10_000), st.sampled_from([0.3, 0.5, 0.7]))
def test_match_is_the_loop(seed, thresh):
    *_, targets, priors = _random_case(seed, num_images=1, max_objects=8)
    labels, boxes = match(*targets[0], priors, thresh)
    expected_labels, expected_boxes = match_reference(
        targets[0].boxes.tolist(), targets[0].labels.tolist(), priors.tolist(), thresh
    )
    assert labels.tolist() == expected_labels
    torch.testing.assert_close(boxes, torch.tensor(expected_boxes, dtype=torch.float64))


PRIORS = torch.tensor([[0.25, 0.25, 0.5, 0.5], [0.75, 0.75, 0.5, 0.5]])


def test_an_object_gets_its_best_prior_at_any_overlap():
    labels, boxes = match(torch.tensor([[0.6, 0.6, 0.7, 0.7]]), torch.tensor([4]), PRIORS)  # IoU .04
    assert labels.tolist() == [0, 5]
    torch.testing.assert_close(boxes[1], torch.tensor([0.6, 0.6, 0.7, 0.7]))


def test_of_two_objects_with_the_same_best_prior_the_later_gets_it():
    boxes = torch.tensor([[0.0, 0.0, 0.5, 0.5], [0.0, 0.0, 0.5, 0.4]])  # IoU 1 and .8 with the first prior
    labels, matched = match(boxes, torch.tensor([0, 1]), PRIORS)
    assert labels.tolist() == [2, 0] and torch.equal(matched[0], boxes[1])
    labels, matched = match(boxes.flip(0), torch.tensor([1, 0]), PRIORS)
    assert labels.tolist() == [1, 0] and torch.equal(matched[0], boxes[0])


def test_the_threshold_itself_is_positive():
    half = torch.tensor([[0.0, 0.0, 0.5, 0.25], [0.5, 0.5, 1.0, 1.0]])
    priors = torch.cat([PRIORS, torch.tensor([[0.25, 0.125, 0.5, 0.25]])])  # the third is the first object's best
    assert match(half, torch.tensor([0, 1]), priors, 0.5)[0].tolist() == [1, 2, 1]  # IoU of the first: 1/2 exactly
    assert match(half, torch.tensor([0, 1]), priors, 0.501)[0].tolist() == [0, 2, 1]


def test_without_objects_all_is_background():
    labels, boxes = match(*NOTHING, PRIORS)
    assert labels.tolist() == [0, 0]
    torch.testing.assert_close(boxes, torch.tensor([[0.0, 0.0, 0.5, 0.5], [0.5, 0.5, 1.0, 1.0]]))


def test_every_object_of_distinct_best_priors_is_matched():
    priors = VOC_300.priors()
    boxes = torch.tensor([[0.1, 0.1, 0.13, 0.12], [0.5, 0.2, 0.9, 0.8], [0.0, 0.0, 1.0, 1.0]])
    labels, _ = match(boxes, torch.tensor([3, 7, 19]), priors)
    assert set(labels.unique().tolist()) == {0, 4, 8, 20}


# --- hard negatives


def test_three_negatives_for_each_positive_and_the_hardest():
    losses = torch.tensor([[9.0, 1.0, 5.0, 3.0, 4.0, 2.0], [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]])
    positive = torch.tensor([[True] + [False] * 5, [False] * 6])
    # the positive of 9 is none, then 5, 4, 3; the image without positives has no negatives
    assert hard_negatives(losses, positive).tolist() == [[False, False, True, True, True, False], [False] * 6]


def test_negatives_run_out():
    positive = torch.tensor([[True, True, False, False]])
    assert hard_negatives(torch.rand(1, 4), positive).tolist() == [[False, False, True, True]]
    assert not hard_negatives(torch.rand(1, 4), torch.ones(1, 4, dtype=torch.bool)).any()


def test_equal_losses_go_to_the_first():
    positive = torch.zeros(1, 100, dtype=torch.bool)
    positive[0, 50] = True
    assert hard_negatives(torch.ones(1, 100), positive).nonzero()[:, 1].tolist() == [0, 1, 2]


@given(st.integers(0, 10_000), st.integers(0, 4))
def test_negatives_are_the_top_of_what_is_not_positive(seed, ratio):
    generator = torch.Generator().manual_seed(seed)
    losses = torch.rand(3, 20, generator=generator)
    positive = torch.rand(3, 20, generator=generator) < 0.2
    chosen = hard_negatives(losses, positive, ratio)
    for row in range(3):
        background = sorted(losses[row][~positive[row]].tolist(), reverse=True)
        number = ratio * int(positive[row].sum())
        assert sorted(losses[row][chosen[row]].tolist(), reverse=True) == background[:number]


# --- the loss


@settings(max_examples=60)
@given(st.integers(0, 10_000), st.lists(st.sampled_from(list(Kind)), min_size=4, max_size=4))
def test_loss_is_the_loop(seed, kinds):
    logits, deltas, targets, priors = _random_case(seed)
    loss = multibox_loss(logits, deltas, targets, priors, torch.tensor(kinds))
    expected = loss_reference(logits.tolist(), deltas.tolist(), targets, priors.tolist(), kinds)
    assert loss.num_positives.item() == expected[2]
    assert loss.classification.item() == pytest.approx(expected[0], rel=1e-9, abs=1e-12)
    assert loss.localization.item() == pytest.approx(expected[1], rel=1e-9, abs=1e-12)
    assert loss.per_image.tolist() == pytest.approx(expected[3], rel=1e-9, abs=1e-12)


def test_one_image_by_itself_is_the_batch():
    logits, deltas, targets, priors = _random_case(1, num_images=1)
    loss = multibox_loss(logits.requires_grad_(), deltas, targets, priors)
    assert loss.num_positives > 0 and not loss.per_image.requires_grad
    assert loss.per_image.tolist() == pytest.approx([(loss.classification + loss.localization).item()])


def test_without_kinds_every_image_is_labeled():
    case = _random_case(3)
    loss, same = multibox_loss(*case), multibox_loss(*case, torch.full((4,), Kind.LABELED))
    assert torch.equal(loss.classification, same.classification) and torch.equal(loss.localization, same.localization)


def test_by_hand():
    """One object on the first of five priors; logits of zero cost ln 3 each: a positive and three negatives."""
    priors = torch.tensor([[0.1 + 0.2 * n, 0.5, 0.2, 0.2] for n in range(5)])
    target = Unit(torch.tensor([[0.0, 0.4, 0.2, 0.6]]), torch.tensor([1]))
    deltas = torch.zeros(1, 5, 4)
    deltas[0, 0] = torch.tensor([0.5, 0.0, -2.0, 0.0])  # .5 * .25 and 2 - .5
    loss = multibox_loss(torch.zeros(1, 5, 3), deltas, [target], priors)
    assert loss.num_positives == 1
    assert loss.classification.item() == pytest.approx(4 * math.log(3))
    assert loss.localization.item() == pytest.approx(0.125 + 1.5, rel=1e-5)
    pseudo = multibox_loss(torch.zeros(1, 5, 3), deltas, [target], priors, torch.tensor([Kind.PSEUDO]))
    assert pseudo.classification.item() == pytest.approx(math.log(3))  # Eq. 8: no background from pseudo-labels
    assert pseudo.localization.item() == loss.localization.item()


def test_pseudo_labeled_images_have_no_gradient_on_the_background():
    logits, deltas, targets, priors = _random_case(0)
    logits.requires_grad_()
    multibox_loss(
        logits, deltas, targets, priors, torch.tensor([Kind.LABELED, Kind.PSEUDO] * 2)
    ).classification.backward()
    labels = torch.stack([match(*target, priors)[0] for target in targets])
    touched = logits.grad.abs().sum(-1) > 0
    assert torch.equal(touched[1::2], labels[1::2] > 0) and (touched[::2].sum() > (labels[::2] > 0).sum())


def test_targets_of_an_unlabeled_image_have_no_effect():
    logits, deltas, targets, priors = _random_case(1)
    kinds = torch.tensor([Kind.LABELED, Kind.UNLABELED, Kind.PSEUDO, Kind.UNLABELED])
    hidden = [target if kind else NOTHING for target, kind in zip(targets, kinds, strict=True)]
    assert any(len(target.labels) for target, kind in zip(targets, kinds, strict=True) if not kind)
    for a, b in zip(
        multibox_loss(logits, deltas, targets, priors, kinds),
        multibox_loss(logits, deltas, hidden, priors, kinds),
        strict=True,
    ):
        assert torch.equal(a, b)


@pytest.mark.parametrize("kind", list(Kind))
def test_without_positives_the_loss_is_zero_and_has_a_gradient(kind):
    logits, deltas, _, priors = _random_case(2)
    logits.requires_grad_()
    deltas.requires_grad_()
    loss = multibox_loss(logits, deltas, [NOTHING] * 4, priors, torch.full((4,), kind))
    assert (loss.classification, loss.localization, loss.num_positives) == (0, 0, 0)
    (loss.classification + loss.localization).backward()
    assert torch.equal(logits.grad, torch.zeros_like(logits)) and torch.equal(deltas.grad, torch.zeros_like(deltas))


def test_the_positives_of_the_whole_batch_are_counted():
    """A batch weighs its images by their positives: N is no mean over images."""
    logits, deltas, targets, priors = _random_case(5)
    whole = multibox_loss(logits, deltas, targets, priors)
    parts = [multibox_loss(logits[[n]], deltas[[n]], [targets[n]], priors) for n in range(4)]
    summed = sum(part.classification * part.num_positives for part in parts)
    torch.testing.assert_close(whole.classification * whole.num_positives, summed)


def test_gradients_are_right():
    logits, deltas, targets, priors = _random_case(4, num_images=2, num_priors=12)
    logits.requires_grad_()
    deltas.requires_grad_()

    def terms(logits, deltas):
        return multibox_loss(logits, deltas, targets, priors, torch.tensor([Kind.LABELED, Kind.PSEUDO]))[:2]

    assert torch.autograd.gradcheck(terms, (logits, deltas))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32])
def test_low_precision_is_computed_in_float32(dtype):
    logits, deltas, targets, _ = _random_case(6, num_priors=3060)
    logits, deltas = logits.to(dtype).requires_grad_(), deltas.to(dtype).requires_grad_()
    targets = [Unit(target.boxes.float(), target.labels) for target in targets]
    loss = multibox_loss(logits, deltas, targets, TINY_96.priors())
    exact = multibox_loss(logits.double(), deltas.double(), targets, TINY_96.priors())
    assert loss.classification.dtype == torch.float32
    torch.testing.assert_close(loss.classification.double(), exact.classification, rtol=1e-5, atol=0)
    torch.testing.assert_close(loss.localization.double(), exact.localization, rtol=1e-4, atol=0)
    (loss.classification + loss.localization).backward()
    assert logits.grad.isfinite().all() and deltas.grad.isfinite().all()


@pytest.mark.parametrize("size", [1e4, 1e30])
def test_extreme_logits_give_no_nan(size):
    logits, deltas, targets, priors = _random_case(7)
    logits, deltas = (size * logits.sign()).float().requires_grad_(), (1e4 * deltas).float().requires_grad_()
    loss = multibox_loss(logits, deltas, targets, priors)
    (loss.classification + loss.localization).backward()
    assert loss.classification.isfinite() and loss.localization.isfinite()
    assert logits.grad.isfinite().all() and deltas.grad.isfinite().all()


def test_objects_of_a_data_set_are_taken_as_they_are():
    target = Objects(torch.tensor([[0.1, 0.1, 0.4, 0.5]]), torch.tensor([2]), torch.tensor([False]))
    priors = TINY_96.priors()
    loss = multibox_loss(torch.zeros(1, 3060, 4), torch.zeros(1, 3060, 4), [target], priors)
    number = loss.num_positives.item()
    assert number >= 1 and loss.classification.item() == pytest.approx(4 * math.log(4))


def test_boxes_without_area_are_an_error():
    bad = Unit(torch.tensor([[0.1, 0.1, 0.3, 0.3], [0.2, 0.5, 0.2, 0.6]]), torch.tensor([0, 1]))
    with pytest.raises(ValueError, match=r"boxes of targets must have a width and a height, got \[0\.2"):
        multibox_loss(torch.zeros(1, 2, 3), torch.zeros(1, 2, 4), [bad], PRIORS)


def test_a_target_for_each_image():
    with pytest.raises(ValueError, match="targets must be one for each of 2 images, got 1"):
        multibox_loss(torch.zeros(2, 2, 3), torch.zeros(2, 2, 4), [NOTHING], PRIORS)
