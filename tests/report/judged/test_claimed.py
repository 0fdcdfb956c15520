import math

import numpy as np
import pytest

from alpl.report.judged.claimed import judge_claim, paired_power


def judged(differences, difference=1.0, **more):
    ours = {seed: 50.0 + value for seed, value in enumerate(differences)}
    other = dict.fromkeys(range(len(differences)), 50.0)
    return judge_claim(ours, other, **{"seeds": range(len(differences)), "difference": difference, **more})


def slow_interval(differences):
    """Of three seeds, by the printed table of Student's t: 4.303 with 2 degrees of freedom."""
    mean = sum(differences) / 3
    std = math.sqrt(sum((value - mean) ** 2 for value in differences) / 2)
    return mean - 4.303 * std / math.sqrt(3), mean + 4.303 * std / math.sqrt(3)


@pytest.mark.parametrize(
    ("differences", "word"),
    [((2.0, 3.0, 4.0), "holds"), ((1.0, 2.0, 3.0), "cannot tell"), ((-3.0, -2.0, -1.0), "does not hold")],
)  # by hand: mean ± 4.303 / sqrt(3) = mean ± 2.484, so from 0.516, from -0.484, and up to 0.484
def test_three_seeds_by_hand(differences, word):
    found = judged(differences)
    assert found.word == word
    assert found.interval == pytest.approx(slow_interval(differences), abs=1e-3)
    assert found.differences == pytest.approx(differences)


def test_no_difference_that_matters_is_told_from_too_few_seeds():
    values = (-0.2, 0.3, 0.1, -0.1)  # mean 0.025, std 0.2217, half 3.182 * 0.2217 / 2 = 0.353
    small, large = judged(values, difference=0.3), judged(values, difference=0.5)
    assert (small.word, large.word) == ("cannot tell", "does not hold")
    assert small.reason == f"with 4 seeds a difference of 0.3 would have been seen with probability {small.power:.2f}"
    assert "-0.3278 to 0.3778, below 0.5" in large.reason


@pytest.mark.parametrize(
    ("difference", "std", "number"), [(1.0, 1.0, 5), (0.5, 1.0, 10), (2.0, 1.0, 3), (0.01, 1.0, 5)]
)
def test_power_is_how_often_simulated_seeds_show_the_difference(difference, std, number):
    rng = np.random.default_rng(0)
    drawn = rng.normal(difference, std, (20_000, number))
    critical = {3: 4.302653, 5: 2.776445, 10: 2.262157}[number]
    t = drawn.mean(1) / drawn.std(1, ddof=1) * math.sqrt(number)
    assert paired_power(difference, std, number) == pytest.approx((t > critical).mean(), abs=0.012)


def test_the_verdict_errs_as_rarely_as_it_says():
    rng = np.random.default_rng(1)
    none = [judged(row).word for row in rng.normal(0.0, 1.0, (2000, 5))]
    just = [judged(row).word for row in rng.normal(1.0, 1.0, (2000, 5))]
    assert none.count("holds") / 2000 == pytest.approx(0.025, abs=0.012)
    assert just.count("does not hold") / 2000 == pytest.approx(0.025, abs=0.012)
    assert just.count("holds") / 2000 == pytest.approx(paired_power(1.0, 1.0, 5), abs=0.035)


def test_power_grows_with_seeds_and_difference_to_the_end():
    assert paired_power(1.0, 1.0, 5) < paired_power(1.0, 1.0, 10) < paired_power(1.0, 0.5, 10) <= 1
    powers = [paired_power(1.0, std, number) for std in np.logspace(-9, 3, 100) for number in (3, 10)]
    assert all(0 < power <= 1 for power in powers)


@pytest.mark.parametrize(("value", "word"), [(0.25, "holds"), (0.0, "does not hold"), (-0.25, "does not hold")])
def test_differences_without_spread(value, word):
    found = judged([value] * 5)
    assert (found.word, found.power, found.interval) == (word, 1.0, (value, value))
    assert found.p_value == (0.0 if value else 1.0)


@pytest.mark.parametrize("number", [1, 2])
def test_too_few_seeds_are_not_tested(number):
    found = judged([5.0] * number)
    assert (found.word, found.interval, found.p_value, found.power) == ("cannot tell", None, None, None)
    assert found.reason == f"{number} of {number} seeds are there, a test needs 3"


def test_a_claim_waits_for_the_seeds_that_were_planned():
    found = judged([2.0, 2.1, 1.9], seeds=[0, 1, 2, 7, 8])
    assert (found.word, found.missing) == ("cannot tell", (7, 8))
    assert found.reason.startswith("seeds 7, 8 are missing; with 3 seeds a difference of 1 would")
    assert judged([2.0, 2.1, 1.9]).word == "holds"


def test_seeds_of_tuning_and_those_of_one_row_alone_do_not_count():
    ours, other = {0: 9.0, 1: 2.0, 2: 2.1, 3: 1.9, 4: 3.0}, {0: 0.0, 1: 0.0, 2: 0.0, 3: 0.0}
    found = judge_claim(ours, other, seeds=[1, 2, 3, 4], difference=1.0)
    assert (found.differences, found.missing) == ((2.0, 2.1, 1.9), (4,))
    nothing = judge_claim({}, other, seeds=[1], difference=1.0)
    assert (nothing.word, nothing.differences, nothing.missing) == ("cannot tell", (), (1,))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"difference": 0.0}, "difference must be a finite number > 0, got 0.0"),
        ({"difference": math.nan}, "difference must be a finite number > 0, got nan"),
        ({"seeds": []}, r"seeds must be at least one and each named once, got \[\]"),
        ({"seeds": [1, 1]}, r"seeds must be at least one and each named once, got \[1, 1\]"),
    ],
)
def test_what_cannot_be_judged_is_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        judged([1.0, 2.0, 3.0], **arguments)


def test_a_metric_that_is_not_a_number_is_named_with_its_seed():
    with pytest.raises(ValueError, match=r"ours must be finite in every seed, got \{1: nan\}"):
        judged([1.0, math.nan, 3.0])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [((0.0, 1.0, 5), "difference must"), ((1.0, -1.0, 5), "std must"), ((1.0, 1.0, 1), "num_seeds must be at least 2")],
)
def test_power_names_what_is_out_of_range(arguments, message):
    with pytest.raises(ValueError, match=message):
        paired_power(*arguments)
