import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from alpl.losses.difficulty import training_difficulty, update_difficulty
from alpl.losses.positives import Losses, Positives

BATCHES = [[(0, 0.2), (0, 0.4)], [(1, 0.5)], []]  # class and difficulty of each positive


def sums_of(batch, num_classes=2):
    """Sums and counts of one batch, positive by positive."""
    sums, counts = [0.0] * num_classes, [0] * num_classes
    for label, value in batch:
        sums[label] += value
        counts[label] += 1
    return torch.tensor(sums, dtype=torch.float64), torch.tensor(counts)


def followed(batches, absent, base=0.9, num_classes=2):
    """Difficulty and momentum after each batch."""
    difficulty = torch.ones(num_classes, dtype=torch.float64)
    momentum = torch.full_like(difficulty, base)
    found = []
    for batch in batches:
        sums, counts = sums_of(batch, num_classes)
        difficulty, momentum = update_difficulty(difficulty, momentum, sums, counts, base, absent)
        found.append((difficulty.tolist(), momentum.tolist()))
    return found


def reference(batches, absent, base, num_classes):
    """Eq. 2 and 3, class by class and positive by positive."""
    d, m = [1.0] * num_classes, [base] * num_classes
    for batch in batches:
        for i in range(num_classes):
            own = [value for label, value in batch if label == i]
            if absent == "as_written":
                if own:
                    d[i] = m[i] * d[i] + (1 - m[i]) * sum(own) / len(own)
                m[i] = base if own else base * m[i]
            else:
                quality = sum(1 - value for value in own) / (len(own) + 1e-5)
                d[i] = 1 - (m[i] * (1 - d[i]) + (1 - m[i]) * quality)
                m[i] = base if quality > 0 else base * m[i]
    return d, m


def test_the_difficulty_of_a_box_is_the_equation():
    found = training_difficulty(torch.tensor([0.5, 1.0, 0.3]), torch.tensor([0.8, 1.0, 0.9]), 0.6)
    assert found.tolist() == pytest.approx([0.396582, 0.0, 1 - 0.3**0.6 * 0.9**0.4], abs=1e-6)


@pytest.mark.parametrize("xi", [0.0, 0.6, 1.0])
def test_nothing_right_is_as_hard_as_it_can_be_where_it_counts(xi):
    probs, ious = torch.tensor([0.0, 0.0, 0.7]), torch.tensor([0.0, 0.4, 0.0])
    expected = [1.0, 1 - 0.4 if xi == 0 else 1.0, 1 - 0.7 if xi == 1 else 1.0]  # 0^0 = 1
    assert training_difficulty(probs, ious, xi).tolist() == pytest.approx(expected)


def test_the_averages_by_hand_as_written():
    found = followed(BATCHES, "as_written")
    for (d, m), expected in zip(
        found, [((0.93, 1), (0.9, 0.81)), ((0.93, 0.905), (0.81, 0.9)), ((0.93, 0.905), (0.729, 0.81))], strict=True
    ):
        assert d == pytest.approx(expected[0]) and m == pytest.approx(expected[1])


def test_the_averages_by_hand_as_released():
    found = followed(BATCHES, "as_released")
    assert found[1][0] == pytest.approx([0.937, 0.905], abs=1e-5)
    assert found[2][0][1] == pytest.approx(0.9145, abs=1e-5)
    assert found[2][1] == pytest.approx([0.729, 0.81])


def test_a_batch_of_hopeless_boxes_is_none_as_released():
    batch = [[(0, 1.0), (0, 1.0)]]
    assert followed(batch, "as_released", num_classes=1)[0] == ([1.0], pytest.approx([0.81]))
    assert followed(batch, "as_written", num_classes=1)[0] == ([1.0], [0.9])


def test_no_batch_moves_a_class_that_was_never_there():
    for absent in ("as_written", "as_released"):
        d, m = followed([[]] * 50, absent, num_classes=1)[-1]
        assert d == [1.0] and m == pytest.approx([0.9**51])


positives = st.tuples(st.integers(0, 2), st.floats(0, 0.999))


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.lists(positives, max_size=8), min_size=1, max_size=12),
    st.floats(0, 0.99),
    st.sampled_from(["as_written", "as_released"]),
)
def test_the_averages_are_those_of_a_loop(batches, base, absent):
    d, m = followed(batches, absent, base, 3)[-1]
    expected_d, expected_m = reference(batches, absent, base, 3)
    assert d == pytest.approx(expected_d, abs=1e-12) and m == pytest.approx(expected_m, abs=1e-12)
    assert all(0 <= value <= 1 for value in d) and all(0 <= value <= base for value in m)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.lists(positives, max_size=8), min_size=1, max_size=12), st.floats(0, 0.99))
def test_both_readings_agree_where_every_batch_has_every_class(batches, base):
    """Up to what the released code adds to a count."""
    full = [[*batch, (0, 0.25), (1, 0.5), (2, 0.75)] for batch in batches]
    written, released = (followed(full, absent, base, 3) for absent in ("as_written", "as_released"))
    for one, other in zip(written, released, strict=True):
        assert one[0] == pytest.approx(other[0], abs=1e-5) and one[1] == other[1]


def test_positives_compare_each_box_with_its_object():
    boxes = torch.tensor([[0.0, 0, 4, 4], [0, 0, 2, 2], [1, 1, 1, 1], [0, 0, math.inf, math.inf]]).half()
    objects = torch.tensor([[0.0, 0, 4, 2], [2, 2, 4, 4], [3, 3, 3, 3], [0, 0, 2, 2]])
    probs = torch.rand(4, requires_grad=True)
    found = Positives.of_boxes(torch.tensor([0, 0, 1, 2]), torch.arange(4), probs, boxes, objects)
    assert found.ious.tolist() == [0.5, 0.0, 0.0, 0.0] and found.ious.dtype == torch.float32
    assert not found.probs.requires_grad and torch.equal(found.probs, probs)
    chosen = found.of_images(torch.tensor([True, False, True]))
    assert chosen.row.tolist() == [0, 0, 2] and chosen.labels.tolist() == [0, 1, 3]
    assert torch.equal(chosen.probs, probs[[0, 1, 3]]) and torch.equal(chosen.ious, found.ious[[0, 1, 3]])


def test_a_step_has_the_sum_of_the_losses_and_the_positives_of_labeled_images():
    boxes = torch.tensor([[0.0, 0, 1, 1]]).repeat(2, 1)
    positives = Positives.of_boxes(torch.tensor([0, 1]), torch.tensor([4, 5]), torch.tensor([0.5, 0.25]), boxes, boxes)
    parts = {"a": torch.tensor(1.0), "b": torch.tensor(2.5)}
    step = Losses(parts, None, positives).step(torch.tensor([False, True]))
    assert step["loss"] == 3.5 and step["positives"] is not None and step["positives"].labels.tolist() == [5]
    assert Losses(parts, None, None).step(torch.tensor([True]))["positives"] is None
