import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from alpl.boxes.map_candidates import best_of_maps


def _reference(maps, score_thresh, top_k):
    found = []
    for row in range(len(maps[0])):
        offset = 0
        for of_map in maps:
            pairs = [
                (-of_map[row, n, k].item(), n + offset, k)
                for n in range(of_map.shape[1])
                for k in range(of_map.shape[2])
            ]
            pairs = [pair for pair in pairs if -pair[0] > score_thresh]
            found += [(row, source, label, -value) for value, source, label in sorted(pairs)[:top_k]]
            offset += of_map.shape[1]
    return sorted(found)


@settings(max_examples=100)
@given(st.integers(0, 10_000), st.sampled_from([None, 4, 1]), st.integers(1, 40), st.sampled_from([0.0, 0.4, 1.0]))
def test_the_best_of_each_map_and_image(seed, levels, top_k, score_thresh):
    generator = torch.Generator().manual_seed(seed)
    maps = [torch.rand(2, size, 3, generator=generator) for size in (12, 5, 0, 1)]
    maps = [(each * levels).round() / levels for each in maps] if levels else maps
    found = best_of_maps(iter(maps), score_thresh, top_k)
    rows = list(zip(*(part.tolist() for part in found), strict=True))
    assert sorted(rows) == _reference(maps, score_thresh, top_k)


def test_of_equal_scores_the_first_anchors_and_then_the_first_classes_count():
    # 1.0 is above all; of the five 0.5 there is room for two
    of_map = torch.tensor([[[0.2, 0.5], [0.5, 0.5], [1.0, 0.5], [0.5, 0.0]]])
    found = best_of_maps([of_map, of_map], 0.1, 3)
    assert found.sources.tolist() == [0, 1, 2, 4, 5, 6] and found.labels.tolist() == [1, 0, 0, 1, 0, 0]
    assert found.scores.tolist() == [0.5, 0.5, 1.0] * 2 and found.row.tolist() == [0] * 6
    assert len(best_of_maps([of_map], 0.1, 100).row) == 7 and len(best_of_maps([of_map], 0.5, 100).row) == 1


def test_bad_input_is_named():
    with pytest.raises(ValueError, match="pre_nms_top_k must be >= 1, got 0"):
        best_of_maps([torch.rand(1, 2, 3)], 0.5, 0)
    with pytest.raises(ValueError, match="at least one map"):
        best_of_maps([], 0.5, 1)
