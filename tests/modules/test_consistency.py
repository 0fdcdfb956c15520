"""Flip consistency of a network's outputs: both pairings against loops, and its weight."""

import math
from types import SimpleNamespace

import pytest
import torch

from alpl.boxes.priors import PriorLayout
from alpl.errors import ConfigError
from alpl.losses.box_consistency import COMPARE
from alpl.losses.consistency import EPS, PAIRS, consistency_ramp, mirror_index
from alpl.modules.consistency import FlipConsistency
from alpl.networks.ssd import SsdOutput

LAYOUT = PriorLayout(32, [4, 2, 1], [8, 16, 32], [8, 14, 24], [14, 24, 30], [[2.0], [], []])
PRIORS = LAYOUT.priors()
MIRROR = mirror_index([(side, side) for side in LAYOUT.map_sizes], LAYOUT.boxes_per_cell)

RELEASED = FlipConsistency("as_released", "foreground", "offsets", detach_targets=True)


def output(seed, images=3, outputs=4):
    draws = torch.Generator().manual_seed(seed)
    logits = 2 * torch.randn(images, len(PRIORS), outputs, generator=draws)
    logits[..., 0] += 2  # about a third of the priors is foreground
    deltas = 0.7 * torch.randn(images, len(PRIORS), 4, generator=draws)
    return SsdOutput(logits, deltas, (), torch.zeros(images, 1))


def _box(prior, delta):
    """Decoded, xyxy."""
    (x, y, w, h), (dx, dy, dw, dh) = prior, delta
    x, y, w, h = x + 0.1 * dx * w, y + 0.1 * dy * h, w * math.exp(0.2 * dw), h * math.exp(0.2 * dh)
    return x - w / 2, y - h / 2, x + w / 2, y + h / 2


def _iou(a, b):
    w, h = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    both = max(w, 0.0) * max(h, 0.0)
    return both / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - both)


def _kl(p, q):
    return sum(a * math.log(a / b) for a, b in zip(p, q, strict=True))


def _recoded(prior, delta, to):
    """The offsets of the same box from another prior."""
    x1, y1, x2, y2 = _box(prior, delta)
    x, y, w, h = to
    sides = math.log((x2 - x1) / w) / 0.2, math.log((y2 - y1) / h) / 0.2
    return ((x1 + x2) / 2 - x) / w / 0.1, ((y1 + y2) / 2 - y) / h / 0.1, *sides


def _reference(ours, theirs, partner_of, *, released):
    """Eq. 3 to 5; released: over the pairs whose original is foreground, of the offsets as they are."""
    priors = PRIORS.tolist()
    classes, localization = [], []
    for image in range(len(ours.logits)):
        probs, probs_flipped = (each.logits[image].double().softmax(-1).tolist() for each in (ours, theirs))
        deltas, deltas_flipped = (each.deltas[image].tolist() for each in (ours, theirs))
        for i in range(len(PRIORS)):
            partner = partner_of(image, i)
            if partner is None or (released and max(probs[partner][1:]) <= probs[partner][0]):
                continue
            p, q = [x + EPS for x in probs[partner]], [x + EPS for x in probs_flipped[i]]
            classes.append((_kl(p, q) + _kl(q, p)) / 2)
            (u, *rest), (place, *sides) = deltas_flipped[i], priors[i]
            mirrored = (-u, *rest)
            if not released:
                mirrored = _recoded((1 - place, *sides), mirrored, priors[partner])
            localization.append(sum((a - b) ** 2 for a, b in zip(deltas[partner], mirrored, strict=True)) / 4)
    assert len(classes) > 10
    return sum(classes) / len(classes), sum(localization) / len(localization)


def test_as_written_pairs_by_the_largest_overlap_of_the_decoded_boxes():
    ours, theirs = output(0), output(1)
    priors = PRIORS.tolist()

    def partner(image, i):
        x1, y1, x2, y2 = _box(priors[i], theirs.deltas[image, i].tolist())
        overlaps = [_iou(_box(prior, delta), (1 - x2, y1, 1 - x1, y2)) for prior, delta in boxes[image]]
        return overlaps.index(max(overlaps)) if max(overlaps) > 0 else None

    boxes = [list(zip(priors, deltas, strict=True)) for deltas in ours.deltas.tolist()]
    found = FlipConsistency("as_written").loss(ours, theirs, PRIORS, MIRROR)
    expected = _reference(ours, theirs, partner, released=False)
    assert (found.classes.item(), found.localization.item()) == pytest.approx(expected, rel=1e-4)
    found = FlipConsistency("as_written", "foreground", "offsets").loss(ours, theirs, PRIORS, MIRROR)
    expected = _reference(ours, theirs, partner, released=True)
    assert (found.classes.item(), found.localization.item()) == pytest.approx(expected, rel=1e-4)


def test_as_released_pairs_by_the_mirrored_prior():
    ours, theirs = output(0), output(1)
    mirrored = MIRROR.tolist()
    expected = _reference(ours, theirs, lambda image, i: mirrored[i], released=True)
    found = RELEASED.loss(ours, theirs, PRIORS, MIRROR)
    assert (found.classes.item(), found.localization.item()) == pytest.approx(expected, rel=1e-4)
    as_written = FlipConsistency("as_written").loss(ours, theirs, PRIORS, MIRROR)
    assert abs(as_written.total - found.total) > 0.01


@pytest.mark.parametrize("pairs", PAIRS)
@pytest.mark.parametrize("compare", COMPARE)
@pytest.mark.parametrize("pairing", ["as_written", "as_released"])
def test_a_network_that_mirrors_itself_is_consistent(pairing, compare, pairs):
    ours = output(2)
    mirrored = SsdOutput(ours.logits[:, MIRROR], ours.deltas[:, MIRROR] * torch.tensor([-1, 1, 1, 1]), (), None)
    consistency = FlipConsistency(pairing, pairs, compare)
    assert consistency.loss(ours, mirrored, PRIORS, MIRROR).total.item() == pytest.approx(0, abs=1e-6)
    assert consistency.loss(ours, ours, PRIORS, MIRROR).total.item() > 0.1


def test_targets_are_fixed_where_that_is_asked_for():
    for detach in (True, False):
        ours, theirs = output(5), output(6)
        ours.logits.requires_grad_()
        FlipConsistency(detach_targets=detach).loss(ours, theirs, PRIORS, MIRROR).classes.backward()
        alone = FlipConsistency().loss(output(5), theirs, PRIORS, MIRROR).classes
        assert alone > 0 and ours.logits.grad.any()
        if detach:
            fixed = ours.logits.grad
    assert not torch.allclose(fixed, ours.logits.grad)


@pytest.mark.parametrize("pairing", ["as_written", "as_released"])
def test_where_all_is_background_it_is_zero_with_a_gradient(pairing):
    ours = output(3)
    ours.logits[..., 0] += 100
    for tensor in (ours.logits, ours.deltas):
        tensor.requires_grad_()
    loss = FlipConsistency(pairing, "foreground").loss(ours, output(4), PRIORS, MIRROR).total
    loss.backward()
    assert loss.item() == 0 and not ours.logits.grad.any() and not ours.deltas.grad.any()


def module_at(step, total, **trainer):
    return SimpleNamespace(trainer=SimpleNamespace(global_step=step, estimated_stepping_batches=total, **trainer))


def test_the_weight_follows_the_ramp_over_the_whole_fit():
    assert FlipConsistency(weight=0.5).weight_in(SimpleNamespace()) == 0.5  # without a ramp no trainer is asked
    ramped = FlipConsistency(weight=2.0, ramp="as_released")
    for step in (0, 30, 60, 200, 230):
        assert ramped.weight_in(module_at(step, 240)) == 2 * consistency_ramp(step * 500, 120_000)
    assert ramped.weight_in(module_at(0, 240)) == 0 and ramped.weight_in(module_at(120, 240)) == 2


def test_a_ramp_over_a_fit_without_end_is_an_error():
    endless = module_at(3, float("inf"), max_steps=-1, max_epochs=-1)
    with pytest.raises(ConfigError, match=r"trainer\.max_steps or trainer.max_epochs must be given"):
        FlipConsistency(ramp="as_released").weight_in(endless)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"pairing": "iou"}, "consistency.pairing must be 'as_written' or 'as_released', got 'iou'"),
        ({"pairs": "all"}, "consistency.pairs must be one of matched, foreground, got 'all'"),
        ({"compare": "boxes"}, "consistency.compare must be one of recoded, decoded, offsets, got 'boxes'"),
        ({"ramp": True}, "consistency.ramp must be null or 'as_released', got True"),
        ({"weight": -1.0}, "consistency.weight must be >= 0 and finite, got -1.0"),
        ({"weight": float("nan")}, "got nan"),
    ],
)
def test_errors(arguments, message):
    with pytest.raises(ConfigError, match=message):
        FlipConsistency(**arguments)
