import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from alpl.boxes.box_coding import encode
from alpl.losses.box_consistency import COMPARE, box_difference
from alpl.losses.consistency import EPS, PAIRS, consistency_loss, consistency_ramp, mirror_index

# --- Eq. 3 to 5, pair by pair


def _kl(p, q):
    return sum(a * (math.log(a) - math.log(b)) for a, b in zip(p, q, strict=True))


def _box(prior, delta):
    """Decoded, cxcywh."""
    (x, y, w, h), (dx, dy, dw, dh) = prior, delta
    return x + 0.1 * dx * w, y + 0.1 * dy * h, w * math.exp(0.2 * dw), h * math.exp(0.2 * dh)


def _coded(box, prior):
    """Offsets of a box from a prior."""
    (x, y, w, h), (px, py, pw, ph) = box, prior
    return (x - px) / pw / 0.1, (y - py) / ph / 0.1, math.log(w / pw) / 0.2, math.log(h / ph) / 0.2


def _differences(delta, flipped, prior, prior_flipped, compare):
    """The four terms of Eq. 4 before their squares."""
    if compare == "offsets":
        ours, (x, y, w, h) = delta, flipped
        theirs = (-x, y, w, h)
    else:
        x, *rest = _box(prior_flipped, flipped)
        ours, theirs = _box(prior, delta), (1 - x, *rest)  # both as boxes in the image that is not flipped
    if compare == "recoded":
        ours, theirs = _coded(ours, prior), _coded(theirs, prior)
    return [a - b for a, b in zip(ours, theirs, strict=True)]


def _by_loops(probs, deltas, probs_flipped, deltas_flipped, matched, priors, pairs, compare):
    classes, localization = [], []
    for image in range(len(probs)):
        for i, partner in enumerate(matched[image]):
            c = probs[image][partner]
            if partner < 0 or (pairs == "foreground" and not max(c[1:]) > c[0]):
                continue
            ours, theirs = [p + EPS for p in c], [p + EPS for p in probs_flipped[image][i]]
            classes.append((_kl(ours, theirs) + _kl(theirs, ours)) / 2)
            both = deltas[image][partner], deltas_flipped[image][i], priors[partner], priors[i]
            localization.append(sum(d**2 for d in _differences(*both, compare)) / 4)
    count = len(classes) or 1
    return sum(classes) / count, sum(localization) / count


def _draw(seed, images=2, priors=7, outputs=4, dtype=torch.float64):
    draws = torch.Generator().manual_seed(seed)

    def normal(last):
        return torch.randn(images, priors, last, generator=draws, dtype=dtype)

    return [(2 * normal(outputs)).softmax(-1), normal(4), (2 * normal(outputs)).softmax(-1), normal(4)], draws


def _priors(number, draws):
    places, sides = (torch.rand(number, 2, generator=draws, dtype=torch.float64) for _ in range(2))
    return torch.cat([places, 0.05 + sides / 2], 1)


ODD = _priors(7, torch.Generator().manual_seed(9))


@settings(max_examples=50)
@given(
    st.integers(0, 2**32 - 1),
    st.integers(1, 3),
    st.integers(1, 9),
    st.integers(2, 5),
    st.sampled_from(PAIRS),
    st.sampled_from(COMPARE),
)
def test_it_is_the_mean_over_the_pairs(seed, images, priors, outputs, pairs, compare):
    given, draws = _draw(seed, images, priors, outputs)
    matched = torch.randint(-1, priors, (images, priors), generator=draws)
    places = _priors(priors, draws)
    loss = consistency_loss(*given, matched, places, pairs=pairs, compare=compare)
    expected = _by_loops(*(part.tolist() for part in given), matched.tolist(), places.tolist(), pairs, compare)
    assert (loss.classes.item(), loss.localization.item()) == pytest.approx(expected, rel=1e-9, abs=1e-12)
    assert loss.total.item() == pytest.approx(sum(expected), rel=1e-9, abs=1e-12)


def test_a_permutation_counts_for_every_image():
    given, _ = _draw(0)
    index = mirror_index([(1, 3), (2, 2)], [1, 1])
    assert consistency_loss(*given, index, ODD) == consistency_loss(*given, index.expand(2, 7), ODD)


HALVES = torch.tensor([[0.25, 0.5, 0.2, 0.2], [0.75, 0.5, 0.2, 0.2]])  # each is the other's mirror image


def test_by_hand():
    # one pair of foreground: KL both ways is 0.5 ln 3; the other pair is background and would change both parts
    probs, flipped = torch.tensor([[[0.25, 0.75], [0.9, 0.1]]]), torch.tensor([[[0.3, 0.7], [0.75, 0.25]]])
    deltas = torch.tensor([[[1.0, 2.0, 3.0, 4.0], [9.0, 9.0, 9.0, 9.0]]])
    deltas_flipped = torch.tensor([[[5.0, 5.0, 5.0, 5.0], [-2.0, 2.0, 5.0, 4.0]]])
    given = probs, deltas, flipped, deltas_flipped, torch.tensor([1, 0]), HALVES
    for compare in ("offsets", "recoded"):  # of one prior and its mirror image they are one
        loss = consistency_loss(*given, pairs="foreground", compare=compare)
        assert loss.classes.item() == pytest.approx(math.log(3) / 2, abs=1e-5)
        assert loss.localization.item() == pytest.approx((1 + 0 + 4 + 0) / 4)
    both = consistency_loss(*given, pairs="matched", compare="offsets")
    background = (0.9 - 0.3) * math.log(0.9 / 0.3) / 2 + (0.1 - 0.7) * math.log(0.1 / 0.7) / 2
    assert both.classes.item() == pytest.approx((math.log(3) / 2 + background) / 2, abs=1e-5)
    assert both.localization.item() == pytest.approx((1.25 + (14**2 + 3 * 4**2) / 4) / 2)


def test_equal_boxes_that_were_found_crosswise_cost_nothing_but_by_their_own_offsets():
    # one place, priors 0.1 and 0.1 sqrt 2 wide and high; every prior finds the same box, and each flipped prediction is
    # paired with the other prior's: ln sqrt 2 / 0.2 = 1.73 for w and h, 2 * 1.73^2 / 4 = 1.5
    side = 0.1 * math.sqrt(2)
    priors = torch.tensor([[0.5, 0.5, 0.1, 0.1], [0.5, 0.5, side, side]], dtype=torch.float64)
    deltas = encode(torch.tensor([[0.5, 0.5, 0.12, 0.12]], dtype=torch.float64).expand(2, 4), priors)[None]
    probs = torch.tensor([[[0.1, 0.9], [0.1, 0.9]]], dtype=torch.float64)
    given = probs, deltas, probs, deltas, torch.tensor([1, 0]), priors
    cost = {compare: consistency_loss(*given, compare=compare).localization.item() for compare in COMPARE}
    assert cost["offsets"] == pytest.approx(1.5, abs=2e-3)
    assert (cost["recoded"], cost["decoded"]) == pytest.approx((0, 0), abs=1e-12)
    assert consistency_loss(*given, compare="offsets").classes.item() == pytest.approx(0, abs=1e-12)


def test_readings_of_one_pair_by_hand():
    # boxes (0.5, 0.5, 0.2, 0.2) and, mirrored back, (0.54, 0.5, 0.4, 0.2), the first from a prior equal to it
    prior, other = torch.tensor([[0.5, 0.5, 0.2, 0.2]]), torch.tensor([[0.46, 0.5, 0.4, 0.2]])
    given = torch.zeros(1, 4), torch.zeros(1, 4), prior, other
    found = {compare: box_difference(*given, compare) for compare in COMPARE}
    torch.testing.assert_close(found["offsets"], torch.zeros(1, 4))
    torch.testing.assert_close(found["decoded"], torch.tensor([[-0.04, 0, -0.2, 0]]))
    torch.testing.assert_close(found["recoded"], torch.tensor([[-2.0, 0, -math.log(2) / 0.2, 0]]))


ONE = torch.tensor([[0.5, 0.5, 0.2, 0.2]])


def test_an_even_choice_is_background():
    given = [torch.tensor([[[0.5, 0.5]]]), torch.zeros(1, 1, 4), torch.tensor([[[0.9, 0.1]]]), torch.ones(1, 1, 4)]
    given += [torch.tensor([0]), ONE]
    assert consistency_loss(*given, pairs="foreground").total.item() == 0.0
    assert consistency_loss(*given, pairs="matched").total.item() > 1.0


def test_a_mirror_image_is_consistent():
    (probs, deltas, _, _), _ = _draw(1)
    index = mirror_index([(1, 7)], [1])
    priors = torch.full((7, 4), 0.3, dtype=torch.float64)
    priors[:, 0] = (torch.arange(7) + 0.5) / 7
    flipped = probs[:, index], deltas[:, index] * torch.tensor([-1, 1, 1, 1])
    for compare in COMPARE:
        loss = consistency_loss(probs, deltas, *flipped, index, priors, compare=compare)
        assert loss.total.item() == pytest.approx(0, abs=1e-12)
        loss = consistency_loss(probs, deltas, probs[:, index], deltas[:, index], index, priors, compare=compare)
        assert loss.total.item() > 1e-4


def test_nothing_selected_is_zero_and_has_a_gradient():
    given = [torch.tensor([[[0.9, 0.1]]]), torch.ones(1, 1, 4), torch.tensor([[[0.1, 0.9]]]), torch.ones(1, 1, 4)]
    given = [part.requires_grad_() for part in given]
    loss = consistency_loss(*given, torch.tensor([0]), ONE, pairs="foreground")
    loss.total.backward()
    assert (loss.classes.item(), loss.localization.item()) == (0.0, 0.0)
    assert all(part.grad is not None and not part.grad.any() for part in given)
    no_priors = [part[:, :0] for part in given]
    assert consistency_loss(*no_priors, torch.zeros(0, dtype=torch.long), ONE[:0]).total.item() == 0.0
    unmatched = consistency_loss(*given, torch.tensor([-1]), ONE, pairs="matched")
    assert unmatched.total.item() == 0.0


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_certain_predictions_give_finite_losses_in_every_precision(dtype):
    given = [torch.tensor([[[0.0, 1.0]]]), torch.zeros(1, 1, 4), torch.tensor([[[1.0, 0.0]]]), torch.zeros(1, 1, 4)]
    loss = consistency_loss(*(part.to(dtype) for part in given), torch.tensor([0]), ONE)
    assert loss.classes.item() == pytest.approx(math.log((1 + EPS) / EPS), rel=1e-4)


# --- gradients


def test_each_target_can_be_fixed():
    # the gradient of the released loss: of each KL only through its second argument, -t / p
    (probs, deltas, flipped, deltas_flipped), _ = _draw(2, images=1, priors=1, outputs=3)
    probs = torch.tensor([[[0.1, 0.6, 0.3]]], dtype=torch.float64)
    probs.requires_grad_()
    flipped.requires_grad_()
    given = probs, deltas, flipped, deltas_flipped, torch.tensor([0]), ONE
    consistency_loss(*given, detach_targets=True).classes.backward()
    p, q = probs.detach() + EPS, flipped.detach() + EPS
    torch.testing.assert_close(probs.grad, -q / p / 2)
    torch.testing.assert_close(flipped.grad, -p / q / 2)


@pytest.mark.parametrize("compare", COMPARE)
def test_the_whole_gradient_is_that_of_the_equations(compare):
    (probs, deltas, flipped, deltas_flipped), _ = _draw(3, images=1, priors=4)
    probs[..., 0] = 0.01  # far from the border of foreground
    priors = _priors(4, torch.Generator().manual_seed(3))
    inputs = [part.requires_grad_() for part in (probs, deltas, flipped, deltas_flipped)]

    def total(*given):
        return consistency_loss(*given, torch.tensor([2, 0, 1, 1]), priors, compare=compare, detach_targets=False).total

    assert torch.autograd.gradcheck(total, inputs)


def test_localization_moves_both_predictions():
    given, _ = _draw(4, priors=1)
    given[0] = torch.tensor([[[0.1, 0.9]], [[0.2, 0.8]]], dtype=torch.float64)
    given[2] = given[0].clone()
    given[1].requires_grad_(), given[3].requires_grad_()
    consistency_loss(*given, torch.tensor([0]), ONE).localization.backward()
    difference = given[1].detach() - torch.tensor([-1, 1, 1, 1]) * given[3].detach()
    torch.testing.assert_close(given[1].grad, difference / 2 / 2)
    torch.testing.assert_close(given[3].grad, -difference * torch.tensor([-1, 1, 1, 1]) / 2 / 2)


# --- pairs


@given(st.lists(st.tuples(st.integers(1, 4), st.integers(1, 5), st.integers(1, 3)), max_size=3))
def test_the_mirrored_prior_has_the_mirrored_cell(maps):
    places = [
        (number, row, column, prior)
        for number, (height, width, boxes) in enumerate(maps)
        for row in range(height)
        for column in range(width)
        for prior in range(boxes)
    ]
    index = mirror_index([m[:2] for m in maps], [m[2] for m in maps])
    mirrored = [(n, row, maps[n][1] - 1 - column, prior) for n, row, column, prior in places]
    assert [places[i] for i in index.tolist()] == mirrored
    assert torch.equal(index[index], torch.arange(len(places)))


def test_all_priors_of_ssd300_have_a_partner():
    index = mirror_index([(n, n) for n in (38, 19, 10, 5, 3, 1)], [4, 6, 6, 6, 4, 4])
    assert sorted(index.tolist()) == list(range(8732))
    assert index[[0, 3, 148, 8731]].tolist() == [148, 151, 0, 8731]


def test_flipped_feature_maps_are_in_the_mirrored_order():
    # as the released code un-flips: the width axis of the head's map, then flattening
    head = torch.arange(2 * 3 * 4 * 2).view(2, 3, 4, 2)  # [B H W boxes]
    index = mirror_index([(3, 4)], [2])
    assert torch.equal(head.flip(2).flatten(1), head.flatten(1)[:, index])


# --- the ramp


def _released(t):
    """The released schedule of 120,000 steps."""
    if t == 0:
        return 0.0
    if t < 32_000:
        return math.exp(-5 * (1 - t / 32_000) ** 2)
    if t > 100_000:
        return math.exp(-12.5 * (1 - (120_000 - t) / 20_000) ** 2)
    return 1.0


@given(st.integers(0, 120_000) | st.sampled_from([0, 1, 31_999, 32_000, 32_001, 99_999, 100_000, 100_001, 120_000]))
def test_the_ramp_is_the_released_one_at_any_length(step):
    assert consistency_ramp(step) == pytest.approx(_released(step), abs=1e-9)
    assert consistency_ramp(step * 3, total=360_000) == pytest.approx(_released(step), abs=1e-9)


def test_ramps_of_other_shares():
    assert consistency_ramp(1, total=1, down=1.0) == 1.0  # never down
    assert consistency_ramp(1, total=100, up=0.0) == 1.0  # at once
    assert consistency_ramp(25, total=100, up=0.5) == pytest.approx(math.exp(-1.25))


# --- errors


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({0: torch.zeros(2, 7)}, r"probs and probs_flipped must be Float\[B P C\], C >= 2, got shapes \[2, 7\]"),
        ({2: torch.zeros(2, 6, 4)}, r"got shapes \[2, 7, 4\] and \[2, 6, 4\]"),
        ({0: torch.zeros(2, 7, 1), 2: torch.zeros(2, 7, 1)}, "C >= 2"),
        ({1: torch.zeros(2, 7, 3)}, r"deltas and deltas_flipped must be Float\[2, 7, 4\], got shapes \[2, 7, 3\]"),
        ({3: torch.zeros(1, 7, 4)}, r"\[2, 7, 4\] and \[1, 7, 4\]"),
        ({4: torch.arange(6)}, r"matched must be Long\[7\] or Long\[2, 7\], got torch.int64 \[6\]"),
        ({4: torch.zeros(7)}, r"matched must be .* got torch.float32 \[7\]"),
    ],
)
def test_shapes_that_do_not_belong_together_are_errors(changed, message):
    given = [*_draw(0)[0], torch.arange(7)]
    for place, tensor in changed.items():
        given[place] = tensor
    with pytest.raises(ValueError, match=message):
        consistency_loss(*given, ODD)


def test_other_errors():
    given = [*_draw(0)[0], torch.arange(7), ODD]
    with pytest.raises(ValueError, match="pairs must be one of matched, foreground, got 'all'"):
        consistency_loss(*given, pairs="all")
    with pytest.raises(ValueError, match="compare must be one of recoded, decoded, offsets, got 'boxes'"):
        consistency_loss(*given, compare="boxes")
    with pytest.raises(ValueError, match="boxes_per_cell must be given for 2 maps, got 1"):
        mirror_index([(1, 1), (2, 2)], [1])
    for step, total in [(-1, 5), (6, 5), (0, 0)]:
        with pytest.raises(ValueError, match=f"step must be in .* got {step} and {total}"):
            consistency_ramp(step, total)
    for up, down in [(-0.1, 1), (0.5, 0.4), (0.5, 1.1)]:
        with pytest.raises(ValueError, match="0 <= up <= down <= 1"):
            consistency_ramp(1, 5, up, down)
