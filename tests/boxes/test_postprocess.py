import pytest
import torch
import torchvision
from hypothesis import given, settings
from hypothesis import strategies as st

import alpl.boxes.postprocess
from alpl.boxes.postprocess import Detections, detect_batch, detect_candidates


def _iou(a, b):
    width = max(0.0, min(a[2], b[2]) - max(a[0], b[0]))
    height = max(0.0, min(a[3], b[3]) - max(a[1], b[1]))
    union = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - width * height
    return width * height / union if union else 0.0


def _reference(scores, boxes, score_thresh, nms_thresh, top_k, max_detections=None):
    """Class by class: candidates above the threshold, the best ``top_k``, greedy suppression."""
    scores, boxes = scores.tolist(), boxes.tolist()
    found = []
    for label in range(len(scores[0]) if scores else 0):
        candidates = [p for p in range(len(scores)) if scores[p][label] > score_thresh]
        candidates = sorted(candidates, key=lambda p: (-scores[p][label], p))[:top_k]
        kept = []
        for p in candidates:
            if all(_iou(boxes[p], boxes[q]) <= nms_thresh for q in kept):
                kept.append(p)
        found += [(-scores[p][label], p, label) for p in kept]
    found = sorted(found)[:max_detections]
    return [p for _, p, _ in found], [label for *_, label in found], [-score for score, *_ in found]


def _random_case(seed, num_priors=40, num_classes=3, levels=None):
    """Boxes in clusters, so that chains of overlaps arise; ``levels`` makes ties."""
    generator = torch.Generator().manual_seed(seed)
    start = (
        torch.randint(5, (num_priors, 2), generator=generator) * 12 + torch.rand(num_priors, 2, generator=generator) * 9
    )
    boxes = torch.cat([start, start + 8 + 16 * torch.rand(num_priors, 2, generator=generator)], 1).double()
    scores = torch.rand(num_priors, num_classes, generator=generator).double()
    return (scores * levels).round() / levels if levels else scores, boxes


def detect(scores, boxes, **limits):
    """The detections of one image: sources, labels, scores."""
    found = detect_batch(scores[None], boxes[None], **limits)
    return found.sources, found.labels, found.scores


def _as_lists(found):
    return tuple(part.tolist() for part in found)


LIMITS = {"score_thresh": 0.2, "nms_thresh": 0.45, "pre_nms_top_k": 200}


@given(
    st.integers(0, 10_000),
    st.sampled_from([None, 5, 1]),
    st.integers(1, 45),
    st.sampled_from([None, 1, 7]),
    st.floats(0, 1),
)
def test_detect_is_the_loop(seed, levels, top_k, max_detections, nms_thresh):
    scores, boxes = _random_case(seed, levels=levels)
    found = detect(
        scores,
        boxes,
        score_thresh=0.2,
        nms_thresh=nms_thresh,
        pre_nms_top_k=top_k,
        max_detections=max_detections,
    )
    assert _as_lists(found) == _reference(scores, boxes, 0.2, nms_thresh, top_k, max_detections)


@settings(max_examples=20)
@given(st.integers(0, 10_000), st.sampled_from([1, 2**16]))
def test_a_batch_is_its_images(seed, pairs):
    cases = [_random_case(seed + n, levels=20) for n in range(4)]
    scores, boxes = (torch.stack(parts) for parts in zip(*cases, strict=True))
    scores[2] = 0  # an image without candidates in the middle
    usual = alpl.boxes.postprocess._PAIRS_ON_CPU
    alpl.boxes.postprocess._PAIRS_ON_CPU = pairs  # one group at a time, and all at once
    try:
        found = detect_batch(scores, boxes, **LIMITS, max_detections=9)
    finally:
        alpl.boxes.postprocess._PAIRS_ON_CPU = usual
    assert found.row.tolist() == sorted(found.row.tolist()) and 2 not in found.row
    for n in range(4):
        one = tuple(part[found.row == n].tolist() for part in found[1:])
        assert one == _reference(scores[n], boxes[n], 0.2, 0.45, 200, 9)


def test_agrees_with_torchvisions_suppression_of_one_class():
    scores, boxes = _random_case(0, num_priors=500, num_classes=1)
    scores, boxes = scores.float(), boxes.float()
    sources, _, _ = detect(scores, boxes, score_thresh=-1.0, nms_thresh=0.45, pre_nms_top_k=500)
    assert sources.tolist() == torchvision.ops.nms(boxes, scores[:, 0], 0.45).tolist()


def test_classes_do_not_meet_where_torchvisions_batched_suppression_lets_them():
    """batched_nms moves class c by c * (largest coordinate + 1): negative coordinates reach back into class 0."""
    boxes = torch.tensor([[0.0, 0.0, 10.0, 10.0], [-11.0, -11.0, -1.0, -1.0]])
    scores = torch.tensor([[0.9, 0.0], [0.0, 0.8]])
    assert torchvision.ops.batched_nms(boxes, scores.amax(1), torch.tensor([0, 1]), 0.45).tolist() == [0]
    assert detect(scores, boxes, **LIMITS)[0].tolist() == [0, 1]


def test_a_chain_is_suppressed_in_order():
    """Each box overlaps the next one: the first removes the second, so the third stays, and so on."""
    start = torch.arange(9.0) * 3
    boxes = torch.stack([start, torch.zeros(9), start + 10, torch.full((9,), 10.0)], 1)
    scores = torch.linspace(0.9, 0.5, 9)[:, None]
    assert detect(scores, boxes, **LIMITS)[0].tolist() == [0, 2, 4, 6, 8]  # IoU of neighbors: 7 / 13


def test_a_prior_may_be_found_in_several_classes():
    sources, labels, scores = detect(torch.tensor([[0.3, 0.4]]), torch.tensor([[0.0, 0.0, 1.0, 1.0]]), **LIMITS)
    assert (sources.tolist(), labels.tolist()) == ([0, 0], [1, 0])
    torch.testing.assert_close(scores, torch.tensor([0.4, 0.3]))


def test_ties_go_by_source_then_label():
    boxes = torch.tensor([[0.0, 0.0, 1.0, 1.0], [5.0, 5.0, 6.0, 6.0]])
    sources, labels, _ = detect(torch.full((2, 2), 0.5), boxes, **LIMITS)
    assert (sources.tolist(), labels.tolist()) == ([0, 0, 1, 1], [0, 1, 0, 1])
    same = torch.tensor([[0.0, 0.0, 1.0, 1.0]]).repeat(3, 1)
    assert detect(torch.full((3, 1), 0.5), same, **LIMITS)[0].tolist() == [0]


def test_thresholds_are_exclusive():
    boxes = torch.tensor([[0.0, 0.0, 1.0, 1.0], [0.0, 0.0, 1.0, 0.5]])  # IoU 1/2
    scores = torch.tensor([[0.5], [0.25]])
    limits = {"pre_nms_top_k": 5}
    assert detect(scores, boxes, score_thresh=0.25, nms_thresh=1.0, **limits)[0].tolist() == [0]
    assert detect(scores, boxes, score_thresh=0.2, nms_thresh=0.5, **limits)[0].tolist() == [0, 1]
    assert detect(scores, boxes, score_thresh=0.2, nms_thresh=0.49, **limits)[0].tolist() == [0]


def test_top_k_is_of_each_class_and_before_suppression():
    boxes = torch.tensor([[0.0, 0.0, 1.0, 1.0]] * 2 + [[5.0, 5.0, 6.0, 6.0]] * 2)
    scores = torch.tensor([[0.9, 0.3], [0.8, 0.4], [0.7, 0.5], [0.6, 0.6]])
    sources, labels, _ = detect(scores, boxes, score_thresh=0.1, nms_thresh=0.5, pre_nms_top_k=2)
    assert list(zip(sources.tolist(), labels.tolist(), strict=True)) == [(0, 0), (3, 1)]


@pytest.mark.parametrize("shape", [(0, 3), (4, 0), (4, 3)])
def test_nothing_is_found_in_nothing(shape):
    found = detect(torch.zeros(shape), torch.zeros(shape[0], 4), **LIMITS)
    assert [part.tolist() for part in found] == [[], [], []]
    assert [part.dtype for part in found] == [torch.long, torch.long, torch.float32]


def test_no_image_gives_no_detection():
    assert all(not len(part) for part in detect_batch(torch.zeros(0, 4, 3), torch.zeros(0, 4, 4), **LIMITS))


def test_boxes_without_area_suppress_nothing():
    boxes = torch.tensor([[1.0, 1.0, 1.0, 1.0], [1.0, 1.0, 1.0, 1.0], [0.0, 0.0, 2.0, 2.0]])
    assert detect(torch.full((3, 1), 0.5), boxes, **LIMITS)[0].tolist() == [0, 1, 2]


def test_big_coordinates_lose_nothing():
    """Far from the origin the boxes still differ by single pixels; an offset of classes would round that away."""
    boxes = torch.tensor([[0.0, 0.0, 20.0, 20.0], [0.0, 0.0, 9.0, 20.0]]) + 2**19  # IoU .45: not above .45
    scores = torch.zeros(2, 80)
    scores[:, 79] = torch.tensor([0.9, 0.8])
    assert detect(scores, boxes, score_thresh=0.1, nms_thresh=0.45, pre_nms_top_k=200)[0].tolist() == [0, 1]
    assert detect(scores, boxes, score_thresh=0.1, nms_thresh=0.4499, pre_nms_top_k=200)[0].tolist() == [0]


def test_what_cannot_be_is_an_error():
    with pytest.raises(
        ValueError, match=r"scores and boxes must be \[B P K\] and \[B P 4\], got \[1, 2, 3\], \[1, 3, 4\]"
    ):
        detect(torch.zeros(2, 3), torch.zeros(3, 4), **LIMITS)
    with pytest.raises(ValueError, match="pre_nms_top_k must be >= 1, got 0"):
        detect(torch.zeros(2, 3), torch.zeros(2, 4), score_thresh=0.1, nms_thresh=0.5, pre_nms_top_k=0)
    with pytest.raises(ValueError, match="max_detections must be >= 1, got 0"):
        detect(torch.zeros(2, 3), torch.zeros(2, 4), **LIMITS, max_detections=0)


@settings(max_examples=20)
@given(st.integers(0, 10_000), st.sampled_from([1, 6, 2**16]))
def test_candidates_with_a_box_each_are_suppressed_class_by_class(seed, widest):
    scores, boxes = _random_case(seed, num_priors=60, num_classes=3, levels=9)
    row, labels = torch.randint(3, (60,)), torch.randint(3, (60,))
    candidates = Detections(row, torch.arange(60), labels, scores[:, 0])
    usual = alpl.boxes.postprocess._WIDEST_ON_CPU
    alpl.boxes.postprocess._WIDEST_ON_CPU = widest  # all groups by torchvision's kernel, some, none
    try:
        kept = detect_candidates(candidates, boxes, 0.4, max_detections=5)
    finally:
        alpl.boxes.postprocess._WIDEST_ON_CPU = usual
    expected = []
    for image in range(3):
        members = [n for n in range(60) if row[n] == image]
        masked = torch.zeros(60, 3, dtype=scores.dtype)
        masked[members, labels[members]] = scores[members, 0]
        expected += _reference(masked, boxes, 0.0, 0.4, 60, 5)[0] if members else []
    assert [n for n in kept.tolist() if scores[n, 0] > 0] == expected


def test_groups_of_every_size_are_suppressed_alike():
    sizes = torch.tensor([1, 300, 5, 64, 65, 8, 9, 130])
    group = torch.arange(len(sizes)).repeat_interleave(sizes)
    boxes = torch.cat([_random_case(n, num_priors=int(size))[1] for n, size in enumerate(sizes)])
    together = alpl.boxes.postprocess._suppress(boxes, group, 0.5)
    alone = [
        alpl.boxes.postprocess._greedy(part[None], torch.ones(1, len(part), dtype=torch.bool), 0.5)[0]
        for part in boxes.split(sizes.tolist())
    ]
    assert torch.equal(together, torch.cat(alone)) and 0 < together.sum() < len(together)
