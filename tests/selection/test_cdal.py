import math
import re

import pytest
import torch
from forked import Forked
from memory_peak import STATUS

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


@pytest.mark.slow
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


@pytest.mark.parametrize("number", [3, 6, 7, 49])
def test_certain_instances_count_alike_to_the_last_digits(number):
    predictions = _predictions([[[1.0, 0.0, 0.0]] * number, [[0.0, 1.0, 0.0]]])
    assert image_mixtures(predictions)[0].tolist() == [pytest.approx(1, abs=1e-15), 0.0, 0.0]  # float32: off by 3e-8
    contexts = ClassContexts(predictions, _predictions([[[1.0, 0.0, 0.0]]]))
    assert float(contexts(torch.tensor([0]), torch.tensor([2]))) < 1e-13, "the same mixture"


def test_blocks_and_parts_do_not_change_a_bit():
    random = torch.Generator().manual_seed(1)
    images = _images(random, 60)
    images[30:40] = [[]] * 10  # a block without any instance
    for form in (Form.SOFTMAX, Form.SIGMOID):
        predictions, everyone = _predictions(images, form), torch.arange(60)
        mixtures, distances = image_mixtures(predictions), ClassContexts(predictions)(everyone, everyone)
        for limit in (160, 500, 2000):  # one instance, three and twelve
            assert torch.equal(image_mixtures(predictions, memory_limit=limit), mixtures)
            whole = ClassContexts(predictions, memory_limit=limit)
            parts = ClassContexts(predictions.slice(0, 7), predictions.slice(7, 60), memory_limit=limit)
            assert torch.equal(whole(everyone, everyone), distances)
            assert torch.equal(parts(everyone, everyone), distances)


def test_no_images():
    predictions = _predictions([])
    assert image_mixtures(predictions).shape == (0, 3)
    nobody = torch.empty(0, dtype=torch.long)
    assert ClassContexts(predictions)(nobody, nobody).shape == (0, 0)


@pytest.mark.parametrize("read", [image_mixtures, ClassContexts])
@pytest.mark.parametrize(
    ("value", "found"), [(math.nan, "nan"), (math.inf, "inf"), (-math.inf, "-inf"), (-0.25, "-0.25")]
)
def test_a_posterior_that_is_none_is_an_error(read, value, found):
    predictions = _predictions([[[0.5, 0.5, 0.0]], [[0.5, 0.25, value]]])
    with pytest.raises(ValueError, match=re.escape(f"posterior must hold probabilities in [0, 1], got {found}") + "$"):
        read(predictions)


def test_a_limit_that_holds_no_instance_is_an_error():
    with pytest.raises(ValueError, match="memory_limit must be at least 160 bytes here, got 159"):
        image_mixtures(_predictions([[[1.0, 0.0, 0.0]]]), memory_limit=159)


_MEASURE = """
import torch
from alpl.predictions import Posterior, Predictions
from alpl.selection.cdal import ClassContexts, image_mixtures
from memory_peak import peak_of
row = torch.arange(1000).repeat_interleave(40)
probs = (4 * torch.randn(40_000, 80, generator=torch.Generator().manual_seed(0))).softmax(1)
predictions = Predictions(torch.arange(1000), row, Posterior(probs))
for read in (image_mixtures, ClassContexts):
    read(predictions.slice(0, 10), memory_limit=2**20)  # loads code
    peak = peak_of(lambda: read(predictions, memory_limit=2**20))
    print(peak, read(predictions, memory_limit=2**20)._probs.numel() if read is ClassContexts else 0)
"""


@pytest.mark.slow
@pytest.mark.skipif(not STATUS.exists(), reason="needs Linux's record of a process")
def test_the_memory_is_as_stated():
    # as in test_kcenter_limits; three float64 copies of the posterior were 73 MiB
    process = Forked("-c", _MEASURE)
    out, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
    (of_images, _), (of_classes, entries) = ([int(word) for word in line.split()] for line in out.splitlines())
    block, result, interpreter = 2**20, 8 * 1000 * 80, 3 * 2**19
    assert of_images < block + 24 * 1000 + result + interpreter, of_images / 2**20
    assert of_classes < block + 16 * entries + result + interpreter, of_classes / 2**20
