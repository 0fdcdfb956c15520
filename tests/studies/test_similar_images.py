"""What is retrieved, and how far it shows the same classes, beside obvious loops."""

import numpy as np
import pytest
import torch

from alpl.studies import similar_images
from alpl.studies.retrieval_figures import normalized, rank_correlation
from alpl.studies.similar_images import common_classes, retrieve


def sets_of(number, seed=0, most=4):
    draws = torch.Generator().manual_seed(seed)
    sizes = torch.randint(most, (number,), generator=draws).tolist()
    return [torch.randint(3, (size,), generator=draws) for size in sizes]


@pytest.mark.parametrize("number", [3, 20])
def test_the_most_similar_others_are_those_of_a_loop(number, monkeypatch):
    monkeypatch.setattr(similar_images, "_ROWS", 4)
    half = torch.randint(4, (9, 9), generator=torch.Generator().manual_seed(1)).float()  # many ties
    similarity = (half + half.T).fill_diagonal_(99.0)
    anchors = torch.tensor([0, 2, 3, 5, 6, 8])
    found = retrieve(similarity, anchors, number)
    for place, anchor in enumerate(anchors.tolist()):
        others = sorted((image for image in range(9) if image != anchor), key=lambda n: (-similarity[anchor, n], n))
        assert found.images[place].tolist() == others[:number]  # all 8 where 20 are wanted
        assert found.similarity[place].tolist() == [float(similarity[anchor, n]) for n in others[:number]]
    assert similarity.diagonal().tolist() == [99.0] * 9  # it is not written into


def test_common_classes_are_those_of_sets():
    labels, images = sets_of(12), torch.tensor([[1, 2, 3], [7, 0, 11]])
    found = common_classes(labels, torch.tensor([0, 4]), images)
    for place, anchor in enumerate([0, 4]):
        own, values = set(labels[anchor].tolist()), []
        for image in images[place].tolist():
            other = set(labels[image].tolist())
            values.append(len(own & other) / len(own | other) if own | other else 1.0)
        assert found[place].item() == pytest.approx(sum(values) / 3)
    none = torch.zeros(0, dtype=torch.long)
    assert common_classes([none, none], torch.tensor([0]), torch.tensor([[1]])).tolist() == [1.0]
    assert common_classes([none, torch.tensor([2])], torch.tensor([0]), torch.tensor([[1]])).tolist() == [0.0]


def test_nothing_can_be_retrieved_of_one_image_or_for_no_number():
    for similarity, number in ((torch.ones(1, 1), 1), (torch.ones(3, 3), 0)):
        with pytest.raises(ValueError, match="number must be >= 1 of at least two images"):
            retrieve(similarity, torch.tensor([0]), number)


def test_the_correlation_is_that_of_the_ranks():
    similarity, jaccard = np.array([0.1, 0.4, 0.2, 9.0]), np.array([0.3, 0.5, 0.5, 0.6])
    ranks = np.array([1.0, 3.0, 2.0, 4.0]), np.array([1.0, 2.5, 2.5, 4.0])  # equal ones share the mean of theirs
    assert rank_correlation(similarity, jaccard) == pytest.approx(np.corrcoef(*ranks)[0, 1])
    assert rank_correlation(similarity, np.ones(4)) is None and rank_correlation(np.ones(1), np.ones(1)) is None


def test_similarities_are_normalized_to_0_and_1():
    assert normalized(np.array([3.0, 1.0, 2.0])).tolist() == [1.0, 0.0, 0.5]
    assert normalized(np.ones(2)).tolist() == [0.5, 0.5]
