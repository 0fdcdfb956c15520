import itertools
import math

import numpy as np
import pytest
from scipy import stats

from alpl.report.judged.intervals import Sample, bootstrap_interval, holm, paired_p_value, welch_half_width


def sample(values):
    return Sample(float(np.mean(values)), float(np.std(values, ddof=1)), len(values))


def test_the_welch_interval_is_scipys():
    random = np.random.default_rng(0)
    for _ in range(50):
        a = random.normal(0, random.uniform(0.1, 3), random.integers(2, 7))
        b = random.normal(1, random.uniform(0.1, 3), random.integers(2, 7))
        found = stats.ttest_ind(a, b, equal_var=False).confidence_interval(0.95)
        assert welch_half_width(sample(a), sample(b)) == pytest.approx((found.high - found.low) / 2)


def test_the_welch_interval_by_hand():
    # s^2/n = 1/4 + 1/4; equal variances: 2 (n - 1) = 6 degrees of freedom, t = 2.4469
    both = welch_half_width(Sample(0, 1.0, 4), Sample(0, 1.0, 4))
    assert both == pytest.approx(2.446912 * math.sqrt(0.5), rel=1e-5)
    assert welch_half_width(Sample(0, 0.0, 3), Sample(0, 0.0, 3)) == 0.0


@pytest.mark.parametrize("other", [None, Sample(5.0, None, 3), Sample(5.0, 0.2, 0), Sample(5.0, 0.2, 1)])
def test_what_is_not_known_of_the_paper_does_not_count(other):
    alone = 4.302653 * 0.6 / math.sqrt(3)  # t with 2 degrees of freedom
    assert welch_half_width(Sample(1.0, 0.6, 3), other) == pytest.approx(alone, rel=1e-5)


@pytest.mark.parametrize("ours", [Sample(1.0, None, 1), Sample(1.0, 0.1, 1), Sample(1.0, None, 3)])
def test_a_single_seed_has_no_interval(ours):
    with pytest.raises(ValueError, match="at least 2 seeds"):
        welch_half_width(ours)


def test_the_bootstrap_lists_all_resamples_of_few():
    values = [0.0, 3.0, 9.0]
    means = sorted(sum(one) / 3 for one in itertools.product(values, repeat=3))
    # 27 resamples: the first whose share of smaller or equal ones reaches 2.5 %, and 97.5 %
    low, high = means[math.ceil(0.025 * 27) - 1], means[math.ceil(0.975 * 27) - 1]
    assert bootstrap_interval(values) == (low, high) == (0.0, 9.0)
    four = [0.0, 1.0, 2.0, 10.0]
    means = sorted(sum(one) / 4 for one in itertools.product(four, repeat=4))
    assert bootstrap_interval(four) == pytest.approx(
        (means[math.ceil(0.025 * 256) - 1], means[math.ceil(0.975 * 256) - 1])
    )


def test_the_bootstrap_of_many_is_drawn_with_a_seed():
    values = list(np.random.default_rng(1).normal(2, 1, 40))
    low, high = bootstrap_interval(values)
    assert (low, high) == bootstrap_interval(values) != bootstrap_interval(values, seed=1)
    error = np.std(values) / math.sqrt(40)
    assert (low, high) == pytest.approx((np.mean(values) - 1.96 * error, np.mean(values) + 1.96 * error), abs=0.06)


def test_two_differences_have_neither_interval_nor_test():
    assert bootstrap_interval([1.0, 2.0]) is None
    assert paired_p_value([1.0, 2.0]) is None


def test_the_p_value_is_scipys():
    random = np.random.default_rng(2)
    for number in (3, 4, 8):
        a, b = random.normal(0.5, 1, number), random.normal(0, 1, number)
        assert paired_p_value(list(a - b)) == pytest.approx(stats.ttest_rel(a, b).pvalue)
    assert (paired_p_value([0.0] * 3), paired_p_value([0.25] * 3)) == (1.0, 0.0)


def slow_holm(values):
    """Holm, 1979: sort, multiply the j-th of m by m - j + 1, keep ascending."""
    present = sorted(value for value in values if value is not None)
    adjusted = [min(1.0, max((len(present) - i) * present[i] for i in range(j + 1))) for j in range(len(present))]
    return [None if value is None else adjusted[present.index(value)] for value in values]


def test_holm_against_the_slow_one():
    random = np.random.default_rng(3)
    for _ in range(100):
        values = [None if random.random() < 0.2 else float(random.random()) ** 3 for _ in range(random.integers(1, 9))]
        assert holm(values) == pytest.approx(slow_holm(values))
    assert holm([]) == [] and holm([None]) == [None]


def test_holm_by_hand_with_ties():
    assert holm([0.02, 0.02, 0.5]) == pytest.approx([0.06, 0.06, 0.5])
    assert holm([0.9, 0.8]) == [1.0, 1.0]
