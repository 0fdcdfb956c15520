import re
from fractions import Fraction
from math import floor

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from alpl.errors import ConfigError
from alpl.labeling.schedule import (
    BalancedInitial,
    Candidates,
    IndexFileInitial,
    RandomInitial,
    ReservedInitial,
    Schedule,
    balanced_draw,
    num_images_of,
)
from alpl.pool import Pool

DRAWN = [RandomInitial, BalancedInitial]


def _candidates(num_classes=5, per_class=20, **fields):
    """Every third dataset index takes part, so that a position is never an index."""
    targets = torch.arange(num_classes).repeat(per_class)
    return Candidates(3 * torch.arange(len(targets)) + 7, targets, **fields)


# --- amounts


@pytest.mark.parametrize(
    ("amount", "total", "expected"),
    [
        (1, 1, 1),
        (2000, 50_000, 2000),
        (50_000, 50_000, 50_000),
        (1.0, 7, 7),
        (0.1, 50_000, 5000),
        ("10%", 50_000, 5000),
        (" 0.1 % ", 50_000, 50),
        (".5%", 1000, 5),
        ("100%", 16_551, 16_551),
        ("30%", 16_551, 4965),  # 4965.3, the VOC pool of noris
        ("10%", 16_551, 1655),  # 1655.1
        ("10%", 15, 2),  # 1.5: halves up
        ("30%", 5, 2),  # 1.5
        ("50%", 5, 3),  # 2.5: halves up, not to even
        (0.29, 100, 29),  # 28.999999999999996 in floats
        (0.285, 100, 29),  # 28.499999999999996 in floats
        ("1.15%", 10_000, 115),  # 114.99999999999999 in floats
    ],
)
def test_amounts_by_hand(amount, total, expected):
    assert num_images_of(amount, total) == expected


@given(st.integers(1, 100_000), st.integers(1, 2_000_000))
def test_fractions_are_rounded_as_exact_numbers_are(thousandths, total):
    percent = Fraction(thousandths, 1000)
    expected = floor(percent / 100 * total + Fraction(1, 2))
    text, decimal = f"{thousandths / 1000:.3f}%", float(f"{thousandths / 100_000:.5f}")
    if expected == 0:
        for amount in (text, decimal):
            with pytest.raises(ConfigError, match="must come to 1 to"):
                num_images_of(amount, total)
    else:
        assert num_images_of(text, total) == num_images_of(decimal, total) == expected


@pytest.mark.parametrize("amount", ["10", "ten%", "-10%", "10%%", "1e1%", "", "%", "150%", "0%"])
@pytest.mark.parametrize("name", ["reserved", "schedule.budget[2]"])
def test_texts_that_are_no_percentage_are_errors(amount, name):
    expected = "must be an int (images), a float in (0, 1] (a fraction) or a text such as '10%' (at most 100%)"
    with pytest.raises(ConfigError, match=re.escape(f"{name} {expected}, got {amount!r}")):
        num_images_of(amount, 100, name)


@pytest.mark.parametrize("amount", [0.0, -0.1, 1.0001, 2000.0, float("nan"), float("inf"), True, None, [3]])
def test_numbers_that_are_no_amount_are_errors(amount):
    with pytest.raises(ConfigError, match=re.escape(f"or a text such as '10%' (at most 100%), got {amount!r}")):
        num_images_of(amount, 100)


@pytest.mark.parametrize(
    ("amount", "total", "number"), [(0, 10, 0), (-1, 10, -1), (11, 10, 11), (0.001, 10, 0), ("0.1%", 10, 0), (1, 0, 1)]
)
def test_amounts_that_come_to_nothing_or_too_much_are_errors(amount, total, number):
    came_to = "" if isinstance(amount, int) else f" = {number} images"
    with pytest.raises(
        ConfigError, match=re.escape(f"amount must come to 1 to {total} images, got {amount!r}{came_to}") + "$"
    ):
        num_images_of(amount, total)


# --- initial sets


@pytest.mark.parametrize("kind", DRAWN)
def test_an_initial_set_is_drawn_from_the_candidates(kind):
    candidates = _candidates()
    index = kind("23%", seed=1).draw(candidates)
    assert index.numel() == 23 and index.dtype == torch.long
    assert torch.isin(index, candidates.index).all()
    assert (index.diff() > 0).all()  # ascending, no repeats
    assert Pool.create(400, index).num_labeled == 23


@pytest.mark.parametrize("kind", DRAWN)
def test_the_seed_alone_decides(kind):
    first = kind(20, seed=3).draw(_candidates())
    torch.manual_seed(99)
    torch.rand(17)
    again = kind(20, seed=3)
    assert torch.equal(again.draw(_candidates(reserved=torch.tensor([7]))), first)
    assert torch.equal(again.draw(_candidates()), first), "a second draw must not go on from the first"
    others = {tuple(kind(20, seed=seed).draw(_candidates()).tolist()) for seed in range(20)}
    assert len(others) == 20


def test_a_random_set_does_not_look_at_the_classes():
    candidates = _candidates()
    assert torch.equal(RandomInitial(9, 0).draw(candidates), RandomInitial(9, 0).draw(Candidates(candidates.index)))


@pytest.mark.parametrize("kind", DRAWN)
def test_every_image_has_the_same_chance(kind):
    candidates = _candidates(num_classes=2, per_class=5)
    drawn = torch.cat([kind(4, seed).draw(candidates) for seed in range(1000)])
    counts = ((drawn - 7) // 3).bincount(minlength=10).double()
    assert counts.sum() == 4000
    assert (counts - 400).abs().max() < 5 * (1000 * 0.4 * 0.6) ** 0.5


def test_the_whole_pool_may_be_the_initial_set():
    candidates = _candidates()
    for kind in DRAWN:
        assert torch.equal(kind("100%", 0).draw(candidates), candidates.index)


@given(
    st.lists(st.integers(0, 4), min_size=1, max_size=60).map(lambda labels: torch.tensor(labels) * 3 + 1),
    st.integers(1, 60),
    st.integers(0, 5),
)
def test_a_balanced_set_has_equal_counts_or_says_why_not(targets, number, seed):
    index = torch.arange(len(targets)) + 100
    classes, sizes = targets.unique(return_counts=True)
    share, remainder = divmod(number, len(classes))
    if number > len(targets) or sizes.min() < share:
        with pytest.raises(ConfigError):
            BalancedInitial(number, seed).draw(Candidates(index, targets))
        return
    if remainder and sizes.min() < share + 1:
        return  # whether a class is too small depends on which classes the remainder goes to
    counts = targets[BalancedInitial(number, seed).draw(Candidates(index, targets)) - 100].bincount(minlength=14)
    assert sorted(counts[classes].tolist()) == [share] * (len(classes) - remainder) + [share + 1] * remainder


def test_the_remainder_goes_to_classes_drawn_at_random():
    candidates = _candidates(num_classes=4)
    wins = torch.zeros(4)
    for seed in range(200):
        position = (BalancedInitial(9, seed).draw(candidates) - 7) // 3
        wins += candidates.targets[position].bincount(minlength=4) == 3
    assert wins.sum() == 200 and (wins - 50).abs().max() < 5 * (200 * 0.25 * 0.75) ** 0.5


def test_balanced_draw_gives_positions():
    targets = torch.tensor([9, 9, 9, 4, 4])
    position = balanced_draw(targets, 4, seed=0)
    assert targets[position].sort().values.tolist() == [4, 4, 9, 9] and position.unique().numel() == 4


def test_a_class_that_is_too_small_is_named():
    targets = torch.tensor([0] * 10 + [6] * 2)
    message = "a balanced initial set of 8 images needs 4 of class 6, which has 2"
    with pytest.raises(ConfigError, match=message):
        BalancedInitial(8, 0).draw(Candidates(torch.arange(12), targets))


def test_a_task_without_classes_has_no_balanced_set():
    with pytest.raises(ConfigError, match="the data set has no class per image"):
        BalancedInitial(2, 0).draw(Candidates(torch.arange(12)))


@pytest.mark.parametrize("kind", DRAWN)
def test_a_set_larger_than_the_pool_is_an_error(kind):
    with pytest.raises(ConfigError, match=r"schedule.initial.size must come to 1 to 100 images, got 101$"):
        kind(101, 0).draw(_candidates())


def test_a_reserved_set_is_given_as_it_is():
    assert ReservedInitial().draw(_candidates(reserved=torch.tensor([10, 7]))).tolist() == [7, 10]
    with pytest.raises(ConfigError, match="the data set reserves no initial set"):
        ReservedInitial().draw(_candidates())


@pytest.mark.parametrize("text", ["13\n7\n10\n", " 13\n\n# a note\n7 \n10", "index\n13\n10\n7\n"])
def test_an_index_file_is_one_index_a_line(tmp_path, text):
    (tmp_path / "initial.txt").write_text(text)
    assert IndexFileInitial(str(tmp_path / "initial.txt")).draw(_candidates()).tolist() == [7, 10, 13]


def test_the_pool_file_of_another_run_gives_all_that_are_labeled_in_it(tmp_path):
    pool = Pool.create(310, torch.tensor([13, 10]), excluded=torch.tensor([0, 1])).reveal(torch.tensor([7, 16]))
    pool.save(tmp_path / "pool.csv")
    assert IndexFileInitial(str(tmp_path / "pool.csv")).draw(_candidates()).tolist() == [7, 10, 13, 16]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"7\n8\n9\n", r"names images outside the pool: \[8, 9\] in"),
        (b"7\n-1\n", r"names images outside the pool: \[-1\] in"),
        (b"7\n10\n7\n", "names an image more than once"),
        (b"7\n4.5\n", "must hold one index a line"),
        (b"rank,index,utility\n0,7,0.5\n", "must hold one index a line"),
        (b"", "must name a labeled image"),
        (b"# num_images=400 num_labeled=1\nindex,cycle\n7,-2\n", "must name a labeled image"),
        (b"\xff\xfe\x00\x01", "must be a readable text file"),
        (None, "must be a readable text file"),
    ],
)
def test_files_that_are_no_index_file_are_errors(tmp_path, content, message):
    path = tmp_path / "initial.txt"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfigError, match=f"schedule.initial.path {message}") as caught:
        IndexFileInitial(str(path)).draw(_candidates())
    assert str(path) in str(caught.value)


# --- budgets


@pytest.mark.parametrize(
    ("budget", "cycles", "num_images", "num_initial", "expected"),
    [
        ("5%", 4, 50_000, 5000, [2500] * 4),  # thesis sec. 3.4.1: 10 % and four times 5 % are 30 %
        (2500, 4, 34_250, 5000, [2500] * 4),  # thesis ch. 4, long-tailed
        (["10%"] * 6, None, 16_551, 4965, [1655] * 6),  # noris: 30 % to 90 %
        (1000, 8, 50_000, 2000, [1000] * 8),
        ([2000, 1000, 0.1, "0.1 %"], 4, 10_000, 100, [2000, 1000, 1000, 10]),
        (None, None, 100, 100, []),
        (None, 0, 100, 100, []),
        (5, 0, 100, 10, []),
        (10, 9, 100, 10, [10] * 9),  # the last image too
    ],
)
def test_budgets_of_the_works(budget, cycles, num_images, num_initial, expected):
    assert Schedule(RandomInitial(1, 0), budget, cycles).budgets(num_images, num_initial) == expected


def test_budgets_that_exceed_the_pool_are_errors():
    message = (
        "schedule.budget must leave the pool large enough: 20 initial images and budgets of [41, 40] come to 101, "
        "but only 100 images take part"
    )
    with pytest.raises(ConfigError, match=re.escape(message)):
        Schedule(RandomInitial(20, 0), [41, "40%"]).budgets(100, 20)
    with pytest.raises(
        ConfigError, match=r"20 initial images and budgets of \[5, 5, 5\] and 997 more come to 5020, but"
    ):
        Schedule(RandomInitial(20, 0), 5, 1000).budgets(100, 20)


def test_a_wrong_amount_is_named_by_its_place():
    with pytest.raises(ConfigError, match=r"schedule\.budget\[1\] must be an int .*, got '5 percent'"):
        Schedule(RandomInitial(1, 0), ["5%", "5 percent"]).budgets(100, 20)


@pytest.mark.parametrize("cycles", [None, -1, 2.0, True, "4"])
def test_one_budget_needs_a_number_of_cycles(cycles):
    with pytest.raises(ConfigError, match=f"schedule.cycles must be an int >= 0 beside one budget, got {cycles!r}"):
        Schedule(RandomInitial(1, 0), "5%", cycles)


@pytest.mark.parametrize(("budget", "cycles", "number"), [([5, 5], 3, 2), ([], 1, 0), (None, 4, 0)])
def test_a_list_of_budgets_brings_its_number_of_cycles(budget, cycles, number):
    with pytest.raises(ConfigError, match=f"schedule.cycles must be null or {number} .*, got {cycles}"):
        Schedule(RandomInitial(1, 0), budget, cycles)


def test_fractions_that_fit_are_not_refused_for_their_rounding():
    # 16,555 images: 30 % is 4966.5, 10 % is 1655.5, both rounded up
    schedule = Schedule(RandomInitial("30%", 0), "10%", 7)
    budgets = schedule.budgets(16_555, 4967)
    assert budgets == [1656] * 6 + [1652] and 4967 + sum(budgets) == 16_555
    with pytest.raises(ConfigError, match="must leave the pool large enough"):
        Schedule(RandomInitial("30%", 0), "10%", 8).budgets(16_555, 4967)
