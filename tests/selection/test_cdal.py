import math

import pytest
import torch

from alpl.predictions import Form, Posterior, Predictions
from alpl.selection.cdal import ClassContexts, image_mixtures


def _entropy(probs):
    return -sum(p * math.log(p) for p in probs if p > 0)


def _mixture(regions):
    """The mean of some distributions, weighted with their entropy."""
    weights = [_entropy(region) for region in regions]
    if sum(weights) == 0:
        weights = [1.0] * len(regions)
    return [
        sum(w * region[k] for w, region in zip(weights, regions, strict=True)) / sum(weights)
        for k in range(len(regions[0]))
    ]


def _symmetric_kl(first, second):
    first, second = ([max(p, 1e-12) for p in side] for side in (first, second))
    there = sum(p * math.log(p / q) for p, q in zip(first, second, strict=True))
    return 0.5 * there + 0.5 * sum(q * math.log(q / p) for p, q in zip(first, second, strict=True))


def _by_class(regions):
    return (
        {c: [r for r in regions if max(range(len(r)), key=lambda k: r[k]) == c] for c in range(len(regions[0]))}
        if regions
        else {}
    )


def _distance(first, second):
    """Agarwal et al. 2020: summed over the classes that both images have."""
    first, second = _by_class(first), _by_class(second)
    both = [c for c in first if first[c] and second.get(c)]
    return sum(_symmetric_kl(_mixture(first[c]), _mixture(second[c])) for c in both)


def _predictions(regions, form=Form.SOFTMAX):
    row = [i for i, image in enumerate(regions) for _ in image]
    probs = torch.tensor([region for image in regions for region in image], dtype=torch.float64)
    width = 4 if form is Form.BACKGROUND else 3
    return Predictions(
        torch.arange(len(regions)), torch.tensor(row, dtype=torch.long), Posterior(probs.reshape(-1, width), form)
    )


def _images(random, number):
    """Up to three regions an image; some certain, some equal."""
    images = []
    for _ in range(number):
        regions = (
            (3 * torch.randn(int(torch.randint(0, 4, (1,), generator=random)), 3, generator=random)).double().softmax(1)
        )
        kind = int(torch.randint(4, (1,), generator=random))
        if kind == 0:
            regions = (regions == regions.amax(1, keepdim=True)).double() if len(regions) else regions
        elif kind == 1 and len(regions):
            regions = regions[:1].expand(len(regions), 3)
        images.append(regions.tolist())
    return images


def test_a_thousand_random_cases():
    random = torch.Generator().manual_seed(0)
    for case in range(1000):
        images = _images(random, int(torch.randint(1, 6, (1,), generator=random)))
        predictions = _predictions(images)
        expected = [_mixture(regions) if regions else [1 / 3] * 3 for regions in images]
        torch.testing.assert_close(image_mixtures(predictions), torch.tensor(expected, dtype=torch.float64))
        everyone = torch.arange(len(images))
        found = ClassContexts(predictions)(everyone, everyone)
        expected = [[_distance(first, second) for second in images] for first in images]
        torch.testing.assert_close(found, torch.tensor(expected, dtype=torch.float64), rtol=1e-6, atol=1e-9)
        assert torch.equal(found, found.T) and not found.diagonal().any(), case
        if len(images) > 1:
            assert torch.equal(ClassContexts(predictions)(everyone[1:], everyone[:1]), found[1:, :1]), "any block"


def test_by_hand():
    half, sure = [0.5, 0.5, 0.0], [1.0, 0.0, 0.0]
    predictions = _predictions([[half, sure], [sure], [[0.0, 0.0, 1.0]], []])
    # the certain region has entropy 0 and no weight; alone it has all
    mixtures = image_mixtures(predictions)
    assert mixtures.tolist() == [half, sure, [0.0, 0.0, 1.0], [pytest.approx(1 / 3)] * 3]
    distances = ClassContexts(predictions)(torch.arange(4), torch.arange(4))
    # class 0 is common to images 0 and 1: half and sure, 0.5 (0.5 - 1) log 0.5 + 0.5 * 0.5 * log(0.5 / 1e-12)
    expected = 0.25 * math.log(2) + 0.25 * math.log(0.5 / 1e-12)
    assert float(distances[0, 1]) == pytest.approx(expected, rel=1e-9)
    assert not distances[2:].any(), "no common class: distance 0"


def test_the_background_does_not_count():
    predictions = _predictions(
        [[[0.8, 0.1, 0.1, 0.0]], [[0.2, 0.4, 0.4, 0.0]], [[1.0, 0.0, 0.0, 0.0]]], Form.BACKGROUND
    )
    expected = torch.tensor([[0.5, 0.5, 0.0], [0.5, 0.5, 0.0], [1 / 3] * 3], dtype=torch.float64)
    torch.testing.assert_close(image_mixtures(predictions), expected)


def test_sigmoid_outputs_are_scaled_to_a_distribution():
    predictions = _predictions([[[0.9, 0.9, 0.0]], [[0.1, 0.0, 0.0]]], Form.SIGMOID)
    assert image_mixtures(predictions).tolist() == [[0.5, 0.5, 0.0], [1.0, 0.0, 0.0]]
