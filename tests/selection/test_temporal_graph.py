"""The graph of chapter 2: hand cases, brute force over all labelings, and the properties of a minimum cut."""

import itertools

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from alpl.errors import ConfigError
from alpl.selection.temporal_graph import Boxes, GraphRules, Tracks, graph_errors, min_cut


def energy(labels, num_detections, edges, pair_cost):
    """Eq. 2.1 to 2.4, written down with the four labels and their costs."""
    infinite = float("inf")
    names = ("TP", "FP", "TN", "FN")
    unary = {"d": dict(zip(names, (0, 1, infinite, infinite), strict=True)),
             "c": dict(zip(names, (infinite, infinite, 0, 1), strict=True))}  # fmt: skip
    pairs = [[0, 1, 1, 0], [1, 0, 0, 1], [1, 0, 0, 1], [0, 1, 1, 0]]
    total = sum(unary["d" if node < num_detections else "c"][label] for node, label in enumerate(labels))
    return total + sum(pair_cost * pairs[names.index(labels[a])][names.index(labels[b])] for a, b in edges)


def best(num_detections, num_candidates, edges, pair_cost):
    """The least energy, and all labelings that have it, as who is present."""
    choices = [("TP", "FP")] * num_detections + [("TN", "FN")] * num_candidates
    found = [(energy(each, num_detections, edges, pair_cost), each) for each in itertools.product(*choices)]
    least = min(value for value, _ in found)
    return least, [[label in ("TP", "FN") for label in each] for value, each in found if value == least]


def all_to(node, others):
    return [tuple(sorted((node, other))) for other in others]


HAND = {  # detections, candidates, edges; energy, optima; FP and FN with ties absent, and present; of w = 1
    "one with a candidate": (1, 1, [(0, 1)], 1, 3, (1, 0), (0, 1)),
    "one with two": (1, 2, [(0, 1), (0, 2)], 1, 1, (1, 0), (1, 0)),
    "two linked": (2, 0, [(0, 1)], 0, 1, (0, 0), (0, 0)),
    "two linked, a candidate each": (2, 2, [(0, 1), (0, 2), (1, 3)], 2, 5, (2, 0), (0, 2)),
    "three share one": (3, 1, all_to(3, (0, 1, 2)), 1, 1, (0, 1), (0, 1)),
    "missed between": (4, 1, [(0, 1), (0, 2), (1, 2), (1, 3), (2, 3), *all_to(4, (0, 1, 2, 3))], 1, 1, (0, 1), (0, 1)),
    "flicker": (2, 12, [(0, 1), *((0, c) for c in range(2, 8)), *((1, c) for c in range(8, 14))], 2, 1, (2, 0), (2, 0)),
    "ends": (4, 2, [*itertools.combinations(range(4), 2), *all_to(4, (0, 1, 2)), *all_to(5, (1, 2, 3))], 2, 1, (0, 2),
             (0, 2)),
    "one of two has its own": (2, 1, [(0, 1), (0, 2)], 1, 2, (0, 0), (0, 1)),
}  # fmt: skip
OF_TWO = {  # energy, optima; counts of both ties, of w = 2
    "one with a candidate": (1, 2, (1, 0), (0, 1)),
    "two linked, a candidate each": (2, 2, (2, 0), (0, 2)),
    "one of two has its own": (1, 1, (0, 1), (0, 1)),
    "flicker": (2, 1, (2, 0), (2, 0)),
}


def counts(num_detections, num_candidates, edges, pair_cost, ties):
    present = min_cut(num_detections, num_candidates, torch.tensor(edges).view(-1, 2), pair_cost, ties)
    return int((~present[:num_detections]).sum()), int(present[num_detections:].sum())


@pytest.mark.parametrize("name", HAND)
def test_hand_cases_of_cost_one(name):
    *graph, least, optima, absent, present = HAND[name]
    value, labelings = best(*graph, 1)
    assert (value, len(labelings)) == (least, optima)
    assert counts(*graph, 1, "absent") == absent and counts(*graph, 1, "present") == present


@pytest.mark.parametrize("name", OF_TWO)
def test_hand_cases_of_cost_two(name):
    graph = HAND[name][:3]
    value, labelings = best(*graph, 2)
    assert (value, len(labelings)) == OF_TWO[name][:2]
    assert (counts(*graph, 2, "absent"), counts(*graph, 2, "present")) == OF_TWO[name][2:]


def test_the_cost_of_a_pair_changes_what_is_missed():
    graph = (3, 2, [(0, 1), (0, 2), (1, 2), (0, 3), (0, 4)])
    assert [len(best(*graph, cost)[1]) for cost in (1, 2)] == [4, 1]
    assert counts(*graph, 1, "absent") == (0, 0) and counts(*graph, 1, "present") == (0, 2)
    assert counts(*graph, 2, "absent") == (0, 2) == counts(*graph, 2, "present")


def test_no_node_and_no_edge():
    assert min_cut(0, 0, torch.zeros(0, 2, dtype=torch.long), 1, "absent").tolist() == []
    assert min_cut(2, 1, torch.zeros(0, 2, dtype=torch.long), 1, "absent").tolist() == [True, True, False]


@st.composite
def graphs(draw):
    num_detections, num_candidates = draw(st.integers(1, 5)), draw(st.integers(0, 3))
    nodes = range(num_detections + num_candidates)
    possible = [pair for pair in itertools.combinations(nodes, 2) if pair[0] < num_detections]
    edges = draw(st.lists(st.sampled_from(possible), unique=True)) if possible else []
    return num_detections, num_candidates, edges


@given(graphs(), st.integers(1, 3))
def test_cuts_against_all_labelings(graph, pair_cost):
    num_detections, num_candidates, edges = graph
    _, labelings = best(*graph, pair_cost)
    pairs = torch.tensor(edges).view(-1, 2)
    absent, present = (
        min_cut(num_detections, num_candidates, pairs, pair_cost, ties) for ties in ("absent", "present")
    )
    assert absent.tolist() in labelings and present.tolist() in labelings
    fewest = [all(each[node] for each in labelings) for node in range(num_detections + num_candidates)]
    most = [any(each[node] for each in labelings) for node in range(num_detections + num_candidates)]
    assert absent.tolist() == fewest and present.tolist() == most


@given(graphs(), st.integers(1, 2), st.integers(0, 4))
def test_a_candidate_of_one_detection_never_lowers_the_false_positives(graph, pair_cost, end):
    """One of several detections may: they can agree on it, and then it is an object that was missed."""
    num_detections, num_candidates, edges = graph
    new = num_detections + num_candidates
    before, _ = counts(*graph, pair_cost, "absent")
    more = [*edges, (min(end, num_detections - 1), new)]
    after, _ = counts(num_detections, num_candidates + 1, more, pair_cost, "absent")
    assert after >= before


# --- how the graph is built


def at(x, y=0.0, side=10.0):
    return [x, y, x + side, y + side]


def built(detections, tracks, **rules):
    """Detections (frame, label, box), tracks (detection, frame, box)."""
    frame, label, box = (list(each) for each in zip(*detections, strict=True))
    source, target, moved = (list(each) for each in zip(*tracks, strict=True)) if tracks else ([], [], [])
    return graph_errors(
        Boxes(torch.tensor(frame), torch.tensor(label), torch.tensor(box)),
        Tracks(torch.tensor(source, dtype=torch.long), torch.tensor(target, dtype=torch.long),
               torch.tensor(moved).view(-1, 4)),
        GraphRules(**rules),
    )  # fmt: skip


def test_an_object_that_is_missed_in_the_middle_is_found():
    """Seen in frames 0, 1, 3 and 4; all four tracks into frame 2 meet nothing and make one candidate."""
    detections = [(frame, 3, at(frame)) for frame in (0, 1, 3, 4)]
    frames = (0, 1, 3, 4)
    tracks = [(d, f, at(f)) for d, own in enumerate(frames) for f in range(5) if f != own and abs(f - own) <= 2]
    found = built(detections, tracks)
    assert not found.false_positive.any()
    assert found.frame.tolist() == [2] and found.missed.tolist() == [True] and found.label.tolist() == [3]
    assert found.box.tolist() == [at(2)]


def test_a_detection_that_nobody_supports_is_wrong():
    detections = [(1, 0, at(0))]
    found = built(detections, [(0, 0, at(0)), (0, 2, at(0)), (0, 3, at(0))])
    assert found.false_positive.tolist() == [True] and found.frame.tolist() == [0, 2, 3] and not found.missed.any()


def test_links_want_the_same_class_and_an_overlap_above_the_threshold():
    detections = [(0, 0, at(0)), (1, 1, at(0)), (1, 0, at(100))]
    assert built(detections, [(0, 1, at(0))]).frame.tolist() == [1]  # another class, or elsewhere
    half = [(0, 0, at(0)), (1, 0, [0.0, 0.0, 10.0, 5.0])]  # IoU 1/2
    assert built(half, [(0, 1, at(0))]).frame.tolist() == [1]  # not above
    assert built(half, [(0, 1, at(0))], iou_thresh=0.49).frame.tolist() == []


@pytest.mark.parametrize("links", [[(0, 1, at(0))], [(1, 0, at(0))], [(0, 1, at(0)), (1, 0, at(0))]])
def test_one_direction_is_enough_and_both_are_one_link(links):
    """The first has three candidates of its own: were the link doubled, the second would be absent with it."""
    own = [(0, frame, at(50)) for frame in (5, 6, 7)]
    found = built([(0, 0, at(0)), (1, 0, at(0))], [*links, *own], ties="present")
    assert found.false_positive.tolist() == [True, False]


def test_clusters_are_greedy_from_the_first_track():
    """Boxes at 0, 1 and 2: the first takes the second (IoU 9/11), but not the third (8/12), which begins its own."""
    detections = [(0, 0, at(0)), (1, 0, at(100)), (2, 1, at(200))]
    tracks = [(2, 7, at(2)), (0, 7, at(0)), (1, 7, at(1))]  # in any order
    found = built(detections, tracks)
    assert found.box.tolist() == [at(0), at(2)] and found.label.tolist() == [0, 1]
    mixed = built([(0, 0, at(0)), (1, 1, at(100))], [(0, 7, at(0)), (1, 7, at(0))])
    apart = built([(0, 0, at(0)), (1, 1, at(100))], [(0, 7, at(0)), (1, 7, at(0))], cluster_classes=True)
    assert len(mixed.frame) == 1 and apart.label.tolist() == [0, 1]


def slow_clusters(tracks, thresh):
    """Greedy, track by track, as it is told: the first left and all that overlap it."""
    left, found = list(tracks), []
    while left:
        first = left[0]
        own = [track for track in left if track is first or overlap(track[1], first[1]) > thresh]
        found.append((first[1], {track[0] for track in own}))
        left = [track for track in left if track not in own]
    return found


def overlap(a, b):
    width, height = (min(a[i + 2], b[i + 2]) - max(a[i], b[i]) for i in (0, 1))
    shared = max(0.0, width) * max(0.0, height)
    return shared / (200.0 - shared)


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 8)), min_size=1, max_size=8))
def test_clusters_against_a_loop(rows):
    detections = [(0, 0, at(500 + 20 * n)) for n in range(len(rows))]
    tracks = [(n, 1 + frame, at(x)) for n, (frame, x) in enumerate(rows)]
    found = built(detections, tracks, cluster_iou=0.5)
    expected = []
    for frame in range(1, 4):
        own = [(source, box) for source, target, box in tracks if target == frame]
        expected += [(frame, box) for box, _ in slow_clusters(own, 0.5)]
    assert list(zip(found.frame.tolist(), found.box.tolist(), strict=True)) == expected


def test_nothing_detected_and_nothing_tracked():
    empty = Boxes(torch.zeros(0, dtype=torch.long), torch.zeros(0, dtype=torch.long), torch.zeros(0, 4))
    found = graph_errors(empty, Tracks(*empty), GraphRules())
    assert len(found.false_positive) == 0 and len(found.missed) == 0
    assert built([(0, 0, at(0)), (0, 1, at(50))], []).false_positive.tolist() == [False, False]


@pytest.mark.parametrize(
    ("name", "value"), [("iou_thresh", 1.5), ("cluster_iou", -0.1), ("pair_cost", 0), ("ties", "both")]
)
def test_rules_out_of_range_are_refused(name, value):
    with pytest.raises(ConfigError, match=f"rules.{name} must be"):
        GraphRules(**{name: value})


def test_links_are_the_same_however_many_are_compared_at_a_time(monkeypatch):
    draw = torch.Generator().manual_seed(0)
    boxes = [(n % 4, n % 3, at(float(torch.rand((), generator=draw)) * 20)) for n in range(40)]
    tracks = [(n, frame, boxes[n][2]) for n in range(40) for frame in range(4) if frame != n % 4]
    whole = built(boxes, tracks)
    monkeypatch.setattr("alpl.selection.temporal_graph._PAIRS", 3)
    assert all(torch.equal(one, other) for one, other in zip(built(boxes, tracks), whole, strict=True))
    assert len(whole.frame) and not whole.false_positive.all()
