"""Spacing and turns of videos around a ranking: hand cases of thesis sec. 2.5.2, a loop, and what is refused."""

import logging

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from alpl.acquisition import AbstractRanking, Context, KCenter, RandomSampling, Spaced, SpacedByFeature
from alpl.boxes import Footage
from alpl.errors import ConfigError
from alpl.pool import Pool
from alpl.predictions import Need, Predictions


class Given(AbstractRanking):
    """The utility of each image of the data set, by its index."""

    def __init__(self, values):
        self.values = torch.tensor(values, dtype=torch.float64)

    def utility(self, context: Context) -> Tensor:
        return self.values[context.pool.unlabeled]


def context(lengths, labeled=(), excluded=(), budget=1, names=None, spacing=1, **fields):
    video = torch.arange(len(lengths)).repeat_interleave(torch.tensor(lengths))
    frame = torch.cat([torch.arange(length) for length in lengths])
    footage = Footage(video, frame, tuple(names or "abcdefgh"[: len(lengths)]), spacing)
    pool = Pool.create(len(video), torch.tensor(labeled, dtype=torch.long), torch.tensor(excluded, dtype=torch.long))
    return Context(pool, budget, seed=0, footage=footage, **fields)


def picks(values, *arguments, **settings):
    keys = ("across", "within", "per_video", "round_ties", "never")
    rule = {name: settings.pop(name) for name in keys if name in settings}
    return Spaced(Given(values), **rule).select(context(*arguments, **settings)).index.tolist()


def test_one_video_by_hand():
    values = [5, 4, 3, 2, 1, 0]
    assert picks(values, [6], budget=3, across=1) == [0, 2, 4]
    assert picks(values, [6], labeled=[2], budget=2, across=1) == [0, 4]
    assert picks(values, [6], budget=3, across=1, within=0) == [0, 1, 2]


def test_videos_take_turns():
    assert picks([9, 8, 7, 6], [2, 2], budget=3, across=0) == [0, 2, 1]
    assert picks([9, 8, 7, 6], [2, 2], budget=3, across=0, per_video=False) == [0, 1, 2]
    assert picks([1, 2, 3, 4], [2, 2], budget=1, across=0) == [3]  # of a round with one place the best
    assert picks([1, 2, 3, 4], [2, 2], budget=1, across=0, round_ties="name") == [1]
    assert picks([1, 2, 3, 4], [2, 2], budget=2, across=0, names=["z", "a"]) == [3, 1]


def test_the_spacing_is_the_data_s_own_where_none_is_given():
    assert picks([5, 4, 3, 2, 1, 0], [6], budget=2, spacing=3) == [0, 4]
    assert picks([5, 4, 3, 2, 1, 0], [6], budget=2, spacing=0) == [0, 1]


def test_frames_that_were_cleaned_away_keep_their_place():
    """Frame 1 is gone: frame 2 is still two frames from frame 0."""
    assert picks([5, 9, 4, 3], [4], excluded=[1], budget=2, across=1) == [0, 2]
    assert picks([5, 9, 4, 3], [4], excluded=[1], budget=2, across=2) == [0, 3]


def test_labeled_frames_of_another_video_do_not_matter():
    assert picks([0, 0, 9, 8], [2, 2], labeled=[1], budget=1, across=3) == [2]


def test_too_few_frames_that_keep_their_distance(caplog):
    """k = 1 leaves 0, 2, 4; then within shrinks to 0, and the best of the others that are beside no labeled frame."""
    with caplog.at_level(logging.WARNING):
        assert picks([5, 4, 3, 2, 1, 0], [6], budget=5, across=1) == [0, 2, 4, 1, 3]
    assert "2 of 5 frames are nearer" in caplog.text
    assert picks([5, 4, 3, 2, 1, 0], [6], labeled=[1], budget=5, across=1) == [3, 5, 4, 0, 2]
    assert sorted(picks([1, 2, 3], [3], budget=3, across=2)) == [0, 1, 2]


def test_frames_that_are_never_wanted_come_last():
    values = [-1, -1, 5, -1, 4, -1]
    assert picks(values, [6], budget=2, across=1, never=-0.5) == [2, 4]
    assert picks(values, [6], budget=4, across=1, never=-0.5)[:2] == [2, 4]
    assert sorted(picks(values, [6], budget=6, across=1, never=-0.5)) == [0, 1, 2, 3, 4, 5]
    assert picks(values, [6], budget=3, across=1, never=-0.5)[2] == 0  # beside no other


@given(st.lists(st.integers(1, 6), min_size=1, max_size=4), st.data())
def test_against_a_loop(lengths, data):
    number = sum(lengths)
    labeled = sorted(data.draw(st.sets(st.integers(0, number - 1), max_size=min(3, number - 1))))
    across, within = data.draw(st.integers(0, 3)), data.draw(st.integers(0, 3))
    values = data.draw(st.permutations(range(number)))
    made = context(lengths, labeled)
    video, frame = made.footage.video.tolist(), made.footage.frame.tolist()

    def near(one, other, reach):
        return video[one] == video[other] and abs(frame[one] - frame[other]) <= reach

    queues = []
    for number_of_video in range(len(lengths)):
        left = [i for i in range(number) if video[i] == number_of_video and i not in labeled]
        left = [i for i in left if not any(near(i, other, across) for other in labeled)]
        queue = []
        while left:
            best = max(left, key=lambda i: values[i])
            queue.append(best)
            left = [i for i in left if not near(i, best, within)]
        queues.append(queue)
    expected = [queue[turn] for turn in range(max(lengths)) for queue in queues if turn < len(queue)]
    found = picks(values, lengths, labeled=labeled, budget=len(expected), across=across, within=within)
    assert found == expected


def test_the_whole_pool_and_nothing():
    assert sorted(picks([1, 2, 3, 4], [2, 2], budget=4, across=3)) == [0, 1, 2, 3]
    assert picks([1, 2, 3, 4], [2, 2], budget=0, across=3) == []
    assert picks([], [0], budget=0) == []
    with pytest.raises(ValueError, match=r"budget must be in \[0, 4\] images, got 5"):
        picks([1, 2, 3, 4], [2, 2], budget=5)


def test_ties_are_drawn_and_utilities_told():
    rule = Spaced(Given([1.0] * 40), across=0)
    one, again, other = (rule.select(context([40], budget=5, labeled=[seed])) for seed in (0, 0, 1))
    assert one.index.tolist() == again.index.tolist() != [1, 2, 3, 4, 5]
    assert one.pool_utility.tolist() == [1.0] * 39 and other.utility.tolist() == [1.0] * 5


def test_utilities_that_are_not_finite_are_refused():
    with pytest.raises(ValueError, match="finite"):
        picks([1, float("nan")], [2], budget=1)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"across": -1}, "acquisition.across must be null or >= 0, got -1"),
        ({"within": -2}, "acquisition.within must be"),
        ({"round_ties": "draw"}, "acquisition.round_ties must be utility or name, got 'draw'"),
        ({"never": float("inf")}, "acquisition.never must be null or finite"),
    ],
)
def test_settings_out_of_range_are_refused(settings, message):
    with pytest.raises(ConfigError, match=message):
        Spaced(RandomSampling(), **settings)


def test_set_methods_have_no_utility_to_go_by():
    with pytest.raises(ConfigError, match=r"acquisition\.ranking must give each image a utility, got KCenter"):
        Spaced(KCenter())
    with pytest.raises(ConfigError, match=r"acquisition\.ranking"):
        SpacedByFeature(KCenter())


def test_needs_are_the_ranking_s_and_footage():
    assert Spaced(RandomSampling()).needs == Need.FOOTAGE


# --- by feature


def by_feature(values, angles, labeled_angles, budget, distance):
    number = len(angles) + len(labeled_angles)
    labeled = list(range(len(angles), number))

    def seen(index, degrees):
        radians = torch.deg2rad(torch.tensor(degrees, dtype=torch.float32))
        vectors = 3 * torch.stack([radians.cos(), radians.sin()], 1)
        return Predictions(index, torch.arange(len(index)), image_features=vectors)

    made = context([number], labeled, budget=budget)
    pool = made.pool
    made = Context(pool, budget, 0, unlabeled=seen(pool.unlabeled, angles), labeled=seen(pool.labeled, labeled_angles))
    return SpacedByFeature(Given([*values, *[0] * len(labeled)]), distance).select(made).index.tolist()


def test_near_duplicates_by_hand(caplog):
    """1 - cos 10 degrees is .0152, of 30 degrees .134."""
    angles = [0.0, 10.0, 60.0, 90.0]
    assert by_feature([9, 8, 7, 6], angles, [180.0], 3, 0.1) == [0, 2, 3]
    assert by_feature([9, 8, 7, 6], angles, [180.0], 3, 0.01) == [0, 1, 2]
    assert by_feature([9, 8, 7, 6], angles, [5.0], 2, 0.1) == [2, 3]
    with caplog.at_level(logging.WARNING):
        assert by_feature([9, 8, 7, 6], angles, [5.0], 3, 0.1) == [2, 3, 0]
    assert "1 of 3 images are nearer" in caplog.text


def test_a_distance_out_of_range_is_refused():
    with pytest.raises(ConfigError, match=r"acquisition.distance must be in \[0, 2\], got 2.5"):
        SpacedByFeature(RandomSampling(), 2.5)
