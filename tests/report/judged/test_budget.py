import numpy as np
import pytest

from alpl.report.judged.budget import Curve, common_range, images_saved, objects_saved


def curve(labeled, values, objects=None):
    as_array = None if objects is None else np.array(objects, float)
    return Curve(np.array(labeled, float), np.array(values, float), as_array)


def random_curve(random):
    labeled = np.cumsum(random.integers(1, 50, random.integers(2, 7))).astype(float)
    return Curve(labeled, random.random(len(labeled)), np.cumsum(random.integers(1, 90, len(labeled))).astype(float))


def slow_area(one, low, high, steps=2000):
    """The mean height, by midpoints of many narrow strips."""
    places = low + (np.arange(steps) + 0.5) * (high - low) / steps
    return float(np.mean([one.at(place) for place in places]))


def slow_reach(one, value, low, high, steps=4000):
    """The first of many places at which the curve has the value."""
    for place in np.linspace(low, high, steps):
        if one.at(place) >= value:
            return place
    return high


def test_area_and_reach_against_the_slow_ones():
    random = np.random.default_rng(0)
    for _ in range(40):
        one = random_curve(random)
        low, high = sorted(random.uniform(one.labeled[0], one.labeled[-1], 2))
        assert one.area(low, high) == pytest.approx(slow_area(one, low, high), abs=2e-3)
        value = random.random()
        assert one.reach(value, low, high) == pytest.approx(slow_reach(one, value, low, high), abs=(high - low) / 3000)


def test_area_by_hand():
    one = curve([10, 20, 40], [0.5, 0.7, 0.8])
    assert one.area(10, 40) == pytest.approx((0.6 * 10 + 0.75 * 20) / 30)
    assert one.area(15, 30) == pytest.approx((0.65 * 5 + 0.725 * 10) / 15)
    assert curve([1, 9], [0.3, 0.3]).area(1, 9) == pytest.approx(0.3)


def test_reach_is_the_first_time_even_where_the_curve_falls_again():
    one = curve([0, 10, 20, 30], [0.1, 0.5, 0.2, 0.9])
    assert one.reach(0.3, 0, 30) == pytest.approx(5)
    assert one.reach(0.05, 0, 30) == 0 and one.reach(0.95, 0, 30) == 30
    assert one.reach(0.5, 12, 30) == pytest.approx(20 + 10 * 3 / 7)


def test_saved_labels_by_hand():
    better = curve([20, 40, 60], [0.4, 0.8, 0.9], [100, 300, 700])
    worse = curve([20, 40, 60], [0.4, 0.5, 0.6], [100, 200, 300])
    # the better one has 0.6 at 30 images, that is at 200 objects; the worse one ends with 300
    assert images_saved(better, worse, 20, 60) == pytest.approx(30)
    assert objects_saved(better, worse, 20, 60) == pytest.approx(100)
    assert images_saved(worse, better, 20, 60) == pytest.approx(-30)
    assert objects_saved(worse, better, 20, 60) == pytest.approx(-100)


def test_saved_labels_turn_their_sign_with_the_sides():
    random = np.random.default_rng(1)
    for _ in range(60):
        one, other = random_curve(random), random_curve(random)
        limits = common_range([one, other])
        if limits is not None:
            assert images_saved(one, other, *limits) == pytest.approx(-images_saved(other, one, *limits))
            assert objects_saved(one, other, *limits) == pytest.approx(-objects_saved(other, one, *limits))
            assert abs(images_saved(one, other, *limits)) <= limits[1] - limits[0]


def test_equal_ends_are_told_by_who_had_them_first():
    one, early = curve([10, 20, 30], [0.2, 0.3, 0.6]), curve([10, 20, 30], [0.2, 0.6, 0.6])
    assert images_saved(one, one, 10, 30) == 0
    assert (images_saved(early, one, 10, 30), images_saved(one, early, 10, 30)) == (10, -10)


def test_the_common_range():
    assert common_range([curve([10, 50], [0, 1]), curve([20, 80], [0, 1])]) == (20, 50)
    assert common_range([curve([10, 20], [0, 1]), curve([20, 80], [0, 1])]) is None


def test_labeled_images_must_ascend():
    with pytest.raises(ValueError, match="labeled must ascend"):
        curve([10, 10], [0.1, 0.2])
    with pytest.raises(ValueError, match="labeled must ascend"):
        curve([10, 20], [0.1, 0.2, 0.3])
