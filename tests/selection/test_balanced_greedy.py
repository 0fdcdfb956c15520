"""Class balance around greedy selections: against loops written from Algorithm 2."""

import math

import pytest
import torch

from alpl.selection.balanced_greedy import balanced_greedy
from alpl.selection.balanced_kcenter import balanced_kcenter
from alpl.selection.image_distance import FeatureDistance
from alpl.selection.kcenter import kcenter_gain, kcenter_gain_by, kcenter_greedy
from alpl.selection.noris import VARIANTS, Kernel, NorisGain, noris


def given(seed=0, number=40, centers=6):
    random = torch.Generator().manual_seed(seed)
    features = torch.randint(4, (number + centers, 3), generator=random).float()  # many ties
    probs = (2 * torch.randn(number, 3, generator=random)).double().softmax(-1)
    probs = (64 * probs).round() / 64  # whose sums are exact: ties are ties in any order of summation
    return features[:number], features[number:], probs, torch.tensor([5.0, 2.0, 0.5], dtype=torch.float64)


def by_hand(gain_of, probs, targets, weight, budget):
    """Algorithm 2 with a gain that is computed anew of the picks."""
    picks = []
    for _ in range(budget):
        rest = [float(targets[c]) - sum(float(probs[i, c]) for i in picks) for c in range(len(targets))]
        gains = gain_of(picks)
        worth = [
            float(gains[j]) - weight * sum(abs(r - float(p)) for r, p in zip(rest, probs[j], strict=True))
            for j in range(len(probs))
        ]
        picks.append(max((j for j in range(len(probs)) if j not in picks), key=lambda j: (worth[j], -j)))
    return picks


@pytest.mark.parametrize("weight", [0.0, 0.25, 5.0])
@pytest.mark.parametrize("centers", [0, 6])
def test_of_k_center_the_picks_are_those_of_algorithm_2(weight, centers):
    features, others, probs, targets = given()
    others = others[:centers]
    picks, gains = balanced_greedy(kcenter_gain(features, others), probs, targets, weight, 9)
    expected, distances = balanced_kcenter(features, others, probs, targets, weight, 9)
    assert picks.tolist() == expected.tolist() and torch.equal(gains, distances)

    def nearest(picked):
        all_centers = torch.cat([others, features[picked]]).double()
        if not len(all_centers):
            return torch.zeros(len(features))
        return (features.double()[:, None] - all_centers).square().sum(-1).sqrt().amin(1)

    assert picks.tolist() == by_hand(nearest, probs, targets, weight, 9)


def test_a_given_distance_and_other_metrics():
    features, centers, probs, targets = given()
    points = torch.cat([features, centers]) + 0.5
    l1 = lambda rows, columns: (points[rows][:, None] - points[columns]).abs().sum(-1)  # noqa: E731
    picks, _ = balanced_greedy(kcenter_gain_by(l1, 40, 6), probs, targets, 0.5, 6)
    gains_of = lambda picked: l1(torch.arange(40), torch.tensor([*range(40, 46), *picked])).amin(1)  # noqa: E731
    assert picks.tolist() == by_hand(gains_of, probs, targets, 0.5, 6)
    for metric in ("euclidean", "cosine", "symmetric_kl"):
        shown = (features + 0.5) / (features + 0.5).sum(1, keepdim=True)
        gain = kcenter_gain(shown[5:], shown[:5], metric=metric)
        alone = kcenter_greedy(shown[5:], shown[:5], 7, metric=metric)
        found = balanced_greedy(gain, probs[5:], targets, 0.0, 7)
        assert found[0].tolist() == alone[0].tolist() and torch.equal(found[1], alone[1])


@pytest.mark.parametrize("variant", VARIANTS)
def test_of_noris_no_weight_is_noris_and_a_weight_counts_beside_the_reduced_value(variant):
    features, _, probs, targets = given()
    information = torch.rand(40, generator=torch.Generator().manual_seed(3))
    distance = FeatureDistance(features)
    options = {"variant": variant, "kernel": Kernel("linear", 0.7)}
    plain, values = noris(information, distance, 8, **options)
    found = balanced_greedy(NorisGain(information, distance, 8, **options), probs, targets, 0.0, 8)
    assert found[0].tolist() == plain.tolist() and torch.equal(found[1], values)

    def reduced(picked):
        gain = NorisGain(information, distance, 8, **options)
        for pick in picked:
            gain.add(pick)
        return gain.values

    balanced, _ = balanced_greedy(
        reduced_gain := NorisGain(information, distance, 8, **options), probs, targets, 0.5, 8
    )
    assert balanced.tolist() == by_hand(reduced, probs, targets, 0.5, 8) != plain.tolist()
    assert int((~reduced_gain.free).sum()) == 7  # the last pick changes nothing any more


def test_a_heavy_weight_balances():
    features, centers, probs, _ = given(number=40)
    targets = torch.full((3,), 4.0)
    lacks = [
        (targets - probs[balanced_greedy(kcenter_gain(features, centers), probs, targets, w, 12)[0]].sum(0)).abs().sum()
        for w in (0.0, 50.0)
    ]
    assert lacks[1] < 0.5 * lacks[0]


def test_edges():
    features, centers, probs, targets = given()
    gain = kcenter_gain(features, centers)
    assert len(balanced_greedy(gain, probs, targets, 1.0, 0)[0]) == 0
    assert sorted(balanced_greedy(gain, probs, targets, 1.0, 40)[0].tolist()) == list(range(40))
    one = balanced_greedy(kcenter_gain(features, centers), torch.ones(40, 1), torch.tensor([3.0]), 9.0, 5)[0]
    assert one.tolist() == kcenter_greedy(features, centers, 5)[0].tolist()  # of one class all lack the same
    for values, message in (
        ((probs[:, :2], targets, 1.0, 3), r"must be \[N\], \[N C\] and \[C\], got"),
        ((probs * math.nan, targets, 1.0, 3), "probs must be finite"),
        ((probs, targets, -1.0, 3), "weight must be finite and >= 0, got -1"),
        ((probs, targets, 1.0, 41), r"budget must be in \[0, 40\] images, got 41"),
    ):
        with pytest.raises(ValueError, match=message):
            balanced_greedy(kcenter_gain(features, centers), *values)
