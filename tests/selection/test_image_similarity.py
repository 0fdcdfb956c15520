"""Global, FPN and Jaccard similarities against their definitions, pair by pair."""

import math
import random

import pytest
import torch

from alpl.selection.image_similarity import global_similarity, jaccard_similarity


def cosine(f, g):
    lengths = math.sqrt(sum(x * x for x in f)) * math.sqrt(sum(x * x for x in g))
    return sum(x * y for x, y in zip(f, g, strict=True)) / lengths if lengths else 0.0


@pytest.mark.parametrize("as_axis", [True, False])
def test_global_is_the_mean_cosine_of_the_layers(as_axis):
    draw = random.Random(0)
    for _ in range(1000):
        number, layers, width = draw.randint(0, 5), draw.randint(1, 3), draw.randint(1, 4)
        features = [
            [[draw.choice([-1.0, 0.0, 0.5, 2.0]) for _ in range(width)] for _ in range(layers)] for _ in range(number)
        ]
        tensor = torch.tensor(features).view(number, layers, width)
        found = global_similarity(tensor) if as_axis else global_similarity(tensor.flatten(1), layers)
        for a in range(number):
            for b in range(number):
                means = [cosine(f, g) for f, g in zip(features[a], features[b], strict=True)]
                expected = 1.0 if a == b else sum(means) / layers
                assert found[a, b].item() == pytest.approx(expected, abs=1e-6)
        assert torch.equal(found, found.T)


def test_jaccard_is_the_overlap_of_the_classes():
    draw = random.Random(0)
    for _ in range(1000):
        sets = [[draw.randrange(4) for _ in range(draw.randint(0, 5))] for _ in range(draw.randint(0, 6))]
        row = [image for image, labels in enumerate(sets) for _ in labels]
        labels = [label for each in sets for label in each]
        found = jaccard_similarity(torch.tensor(labels).long(), torch.tensor(row).long(), len(sets))
        for a, ours in enumerate(sets):
            for b, theirs in enumerate(sets):
                union = set(ours) | set(theirs)
                expected = len(set(ours) & set(theirs)) / len(union) if union else 1.0
                assert found[a, b].item() == pytest.approx(expected)


def test_the_paper_s_example():
    dog, human, cat = 0, 1, 2
    found = jaccard_similarity(torch.tensor([dog, human, dog, cat]), torch.tensor([0, 0, 1, 1]), 2)
    assert found[0, 1].item() == pytest.approx(0.33, abs=0.005)


def test_jaccard_of_many_images():
    """More images than are finished at a time, some without detections."""
    draw = random.Random(1)
    sets = [{draw.randrange(5) for _ in range(draw.randint(0, 3))} for _ in range(1030)]
    row = torch.tensor([image for image, labels in enumerate(sets) for _ in labels])
    found = jaccard_similarity(torch.tensor([label for labels in sets for label in labels]), row, len(sets))
    for a in (0, 5, 1023, 1024, 1029):
        expected = [len(sets[a] & other) / len(sets[a] | other) if sets[a] | other else 1.0 for other in sets]
        assert found[a].tolist() == pytest.approx(expected)
    assert torch.equal(found, found.T)


def test_wrong_detections():
    with pytest.raises(ValueError, match="labels must be 2 classes >= 0, got 2 from"):
        jaccard_similarity(torch.tensor([-1, 0]), torch.tensor([0, 1]), 2)
    with pytest.raises(ValueError, match="labels must be 2 classes >= 0, got 1 from"):
        jaccard_similarity(torch.tensor([1]), torch.tensor([0, 1]), 2)
    with pytest.raises(ValueError, match=r"row must lie in \[0, 2\), got 0 to 2"):
        jaccard_similarity(torch.tensor([1, 0]), torch.tensor([0, 2]), 2)


def test_many_images_are_mirrored_exactly():
    found = global_similarity(torch.randn(2100, 3, generator=torch.Generator().manual_seed(0)))
    assert torch.equal(found, found.T) and bool((found.diagonal() == 1).all())


def test_wrong_features():
    with pytest.raises(ValueError, match="num_layers must be >= 1 and divide the width of the features 4, got 3"):
        global_similarity(torch.ones(2, 4), 3)
    with pytest.raises(ValueError, match="features must be finite"):
        global_similarity(torch.full((2, 4), torch.nan))
    with pytest.raises(ValueError, match=r"features must be Float\[N L F\] or \[N L\*F\], got shape \[4\]"):
        global_similarity(torch.ones(4))
