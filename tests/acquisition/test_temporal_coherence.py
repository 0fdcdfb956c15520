"""Temporal coherence on made-up videos whose motion is known: what is missed, wrong, lost, and out of reach."""

from dataclasses import replace

import pytest
import torch

from alpl.acquisition import Context, FlowTracker, TemporalCoherence
from alpl.acquisition.trackers import AbstractTracker
from alpl.boxes import Footage
from alpl.errors import ConfigError
from alpl.motion import AbstractMotion, Still
from alpl.pool import Pool
from alpl.predictions import Need, Predictions
from alpl.selection.temporal_graph import GraphRules


class Moves(AbstractMotion):
    """Everything moves by so many pixels a frame."""

    def __init__(self, x, y, size=(60.0, 100.0)):
        self.way, self.size = torch.tensor([x, y]), torch.tensor(size)

    def moved(self, images, points, step):
        return points + step * self.way

    def sizes(self, images):
        return self.size.expand(len(images), 2)


class Exact(AbstractTracker):
    """Knows the way, in pixels a frame."""

    needs = Need.FOOTAGE

    def __init__(self, x, y):
        self.way = torch.tensor([x, y, x, y])

    def track(self, context, source, boxes, target):
        frames = context.footage.frame
        return boxes + (frames[target] - frames[source])[:, None] * self.way


def at(x, y=0.0, side=10.0):
    return [x, y, x + side, y + side]


def context_of(detections, length=7, labeled=(), excluded=(), frames=None, videos=1, motion=None):
    """Detections (image, label, box, score) of videos of one length."""
    number = length * videos
    pool = Pool.create(number, torch.tensor(labeled, dtype=torch.long), torch.tensor(excluded, dtype=torch.long))
    frame = torch.arange(number) % length if frames is None else torch.tensor(frames)
    footage = Footage(torch.arange(number) // length, frame, tuple(f"v{v}" for v in range(videos)))

    def seen(index):
        rows = [(index.tolist().index(d[0]), *d[1:]) for d in detections if d[0] in index.tolist()]
        return Predictions(
            index,
            torch.tensor([row[0] for row in rows], dtype=torch.long),
            labels=torch.tensor([row[1] for row in rows], dtype=torch.long),
            boxes=torch.tensor([row[2] for row in rows]).view(-1, 4),
            scores=torch.tensor([row[3] if len(row) > 3 else 0.9 for row in rows]),
        )

    return Context(pool, 1, 0, unlabeled=seen(pool.unlabeled), labeled=seen(pool.labeled), footage=footage,
                   motion=motion)  # fmt: skip


def utility(count, *arguments, tracker=None, **settings):
    return TemporalCoherence(tracker or Exact(5.0, 0.0), count).utility(context_of(*arguments, **settings)).tolist()


def walk(images, label=0, start=0.0):
    return [(image, label, at(start + 5.0 * image)) for image in images]


def test_an_object_that_is_seen_throughout_is_right():
    assert utility("both", walk(range(7))) == [0] * 7


def test_an_object_that_is_missed_in_one_frame():
    assert utility("fn", walk([0, 1, 2, 4, 5, 6])) == [0, 0, 0, 1, 0, 0, 0]
    assert utility("fp", walk([0, 1, 2, 4, 5, 6])) == [0] * 7


def test_a_detection_alone_is_wrong():
    alone = [*walk(range(7)), (3, 0, at(0.0, 40.0))]
    assert utility("fp", alone) == [0, 0, 0, 1, 0, 0, 0] and utility("both", alone) == [0, 0, 0, 1, 0, 0, 0]


def test_labeled_frames_support_and_have_no_utility():
    assert utility("fp", walk([2, 3, 4, 5]), labeled=[2, 4, 5]) == [0, 0, 0, 0]
    assert utility("fp", [(3, 0, at(15.0))], labeled=[2, 4, 5]) == [0, 0, 1, 0]


def test_detections_of_a_score_at_the_threshold_do_not_count():
    assert utility("fp", [(3, 0, at(0.0), 0.5)]) == [0] * 7 and utility("fp", [(3, 0, at(0.0), 0.51)])[3] == 1


def test_videos_do_not_support_each_other():
    """The last two frames of one video and the first two of the next: neither pair is seen for long."""
    pair = [(5, 0, at(0.0)), (6, 0, at(0.0)), (7, 0, at(0.0)), (8, 0, at(0.0))]
    assert sum(utility("fp", pair, videos=2, tracker=Exact(0.0, 0.0))) == 4


def test_excluded_frames_are_stepped_over():
    """Frame 3 is cleaned away: three frames on from 2 is 6, which is not beyond a window of 3 and one more."""
    gone = utility("fn", walk([0, 1, 2, 4, 5, 6]), excluded=[3])
    assert gone == [0] * 6


def test_a_gap_of_the_recording_is_a_border():
    frames = [0, 1, 2, 3, 30, 31, 32]
    assert utility("fp", [(3, 0, at(0.0)), (4, 0, at(135.0))], frames=frames)[3:5] == [1, 1]


def test_nothing_detected():
    assert utility("both", []) == [0] * 7


def test_blocks_of_videos_change_nothing(monkeypatch):
    seen = [*walk([0, 1, 2, 4, 5, 6]), (8, 1, at(3.0)), *[(image, 0, at(20.0)) for image in (14, 15, 17, 18)]]
    whole = utility("both", seen, videos=3)
    monkeypatch.setattr("alpl.acquisition.temporal_coherence._BLOCK", 1)
    assert utility("both", seen, videos=3) == whole and sum(whole) > 0


def test_the_order_of_the_data_set_does_not_matter():
    """The images in reverse: the same frames have the same utilities."""
    made = context_of([*walk([0, 1, 2, 4, 5, 6]), (3, 0, at(0.0, 40.0))])
    shuffled = replace(
        made,
        footage=Footage(made.footage.video, made.footage.frame.flip(0), made.footage.names),
        unlabeled=Predictions(
            made.pool.unlabeled,
            6 - made.unlabeled.row,
            labels=made.unlabeled.labels,
            boxes=made.unlabeled.boxes,
            scores=made.unlabeled.scores,
        ),
    )
    rank = TemporalCoherence(Exact(5.0, 0.0), "both")
    assert rank.utility(shuffled).flip(0).tolist() == rank.utility(made).tolist() == [0, 0, 0, 2, 0, 0, 0]


def test_the_released_cost_of_pairs_is_another_result():
    """Two detections, one with a track of its own that meets nothing: of cost 2 that is a missed object."""
    seen = [(0, 0, at(0.0)), (1, 0, at(5.0))]
    made = context_of(seen, length=3, labeled=[], frames=[0, 1, 5])
    counts = [
        TemporalCoherence(Exact(5.0, 0.0), "fn", GraphRules(pair_cost=cost)).utility(made).sum() for cost in (1, 2)
    ]
    assert counts == [0, 1]


# --- flow


def track(motion, source, boxes, target, **settings):
    made = context_of([], motion=motion, **settings)
    return FlowTracker().track(made, torch.tensor(source), torch.tensor(boxes), torch.tensor(target)).tolist()


def test_flow_moves_a_box_and_keeps_its_size():
    forward = track(Moves(2.0, 1.0), [0, 3, 3], [at(10.0), at(20.0, 20.0), at(20.0, 20.0)], [3, 4, 1])
    assert forward == [at(16.0, 3.0), at(22.0, 21.0), at(16.0, 18.0)]


def test_a_box_that_leaves_the_image_is_lost():
    """The image is 100 wide: of a box at 92 two frames later a part is still there, three frames later none."""
    two, three = track(Moves(3.0, 0.0), [0, 0], [at(92.0), at(92.0)], [2, 3])
    assert two == at(98.0) and all(value != value for value in three)
    gone = track(Moves(-5.0, 0.0), [0], [at(0.0)], [2])
    assert all(value != value for value in gone[0])


def test_a_box_is_lost_across_a_gap():
    lost = track(Moves(1.0, 0.0), [1, 4], [at(10.0), at(10.0)], [4, 1], frames=[0, 1, 2, 4, 5, 6, 7])
    assert all(value != value for row in lost for value in row)


def test_flow_and_the_exact_tracker_agree():
    seen = [*walk([0, 1, 2, 4, 5, 6]), (3, 0, at(0.0, 40.0))]
    made = context_of(seen, motion=Moves(5.0, 0.0))
    for count in ("fp", "fn", "both"):
        by_flow, exact = (TemporalCoherence(each, count).utility(made) for each in (FlowTracker(), Exact(5.0, 0.0)))
        assert torch.equal(by_flow, exact)


def test_needs():
    assert TemporalCoherence(FlowTracker()).needs == Need.BOXES | Need.LABELED | Need.FOOTAGE | Need.MOTION
    assert TemporalCoherence(Exact(0.0, 0.0)).needs == Need.BOXES | Need.LABELED | Need.FOOTAGE
    assert Still().moved(torch.tensor([0]), torch.tensor([[1.0, 2.0]]), 1).tolist() == [[1.0, 2.0]]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"count": "tp"}, "count must be one of fp, fn, both, got 'tp'"),
        ({"window": 0}, "window must be >= 1, got 0"),
        ({"score_thresh": -1}, "score_thresh must be in"),
        ({"tracker": None}, "tracker must be an AbstractTracker, got NoneType"),
    ],
)
def test_settings_out_of_range_are_refused(settings, message):
    with pytest.raises(ConfigError, match=message):
        TemporalCoherence(**({"tracker": FlowTracker()} | settings))
