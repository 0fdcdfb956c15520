import math

import pytest

from alpl.report.judged.intervals import Sample
from alpl.report.judged.verdict import WORDS, Gain, Verdict, judge, judge_row

# three seeds with a deviation of 0.3: ours alone has a half width of 4.3027 * 0.3 / sqrt(3) = 0.7453
OURS = Sample(70.0, 0.3, 3)
UP = Gain(paper=2.0, ours=1.5, half_width=1.0)


def word(paper, ours=OURS, **options):
    return judge(ours, paper, **{"bound": 1.0, "gain": UP, **options}).word


def exact(mean):
    return Sample(mean, None, 0)


def test_an_interval_that_contains_zero_is_a_reproduction():
    assert word(exact(70.74)) == "reproduced"
    assert word(exact(70.76)) == "trend only"
    assert word(exact(69.26)) == "reproduced"


def test_rounding_of_the_printed_number_counts():
    assert word(exact(70.76), digit=0.05) == "reproduced"


def test_the_papers_own_spread_counts_where_its_seeds_are_known():
    # 0.3^2 / 3 twice: 4 degrees of freedom, t = 2.7764, half width 2.7764 * sqrt(0.06) = 0.6801
    assert word(Sample(70.67, 0.3, 3)) == "reproduced"
    assert word(Sample(70.69, 0.3, 3)) == "trend only"
    assert word(Sample(70.69, 0.3, 0)) == "reproduced"  # seeds not known: ours alone, 0.7453


def test_a_wide_interval_is_no_reproduction():
    assert word(exact(70.0), bound=0.75) == "reproduced"
    assert word(exact(70.0), bound=0.74) == "cannot tell"
    assert word(exact(70.0), bound=None) == "cannot tell"
    wide = Sample(70.0, 10.0, 3)
    assert word(exact(80.0), ours=wide) == "cannot tell"
    assert word(exact(99.0), ours=wide, bound=0.1) == "trend only"  # a wide one that leaves 0 out does tell


@pytest.mark.parametrize(
    ("gain", "expected"),
    [
        (Gain(2.0, 1.01, 1.0), "trend only"),
        (Gain(2.0, 0.99, 1.0), "not reproduced"),  # our gain may be none
        (Gain(2.0, -5.0, 1.0), "not reproduced"),
        (Gain(-2.0, -5.0, 1.0), "trend only"),
        (Gain(-2.0, 5.0, 1.0), "not reproduced"),
        (Gain(0.0, 5.0, 1.0), "not reproduced"),  # no sign to agree with
        (None, "cannot tell"),
    ],
)
def test_the_trend_is_the_sign_of_the_gain(gain, expected):
    assert word(exact(75.0), gain=gain) == expected


def test_the_reference_row_has_no_trend():
    assert word(exact(75.0), gain=Gain(0.0, 0.0, 0.5), is_reference=True) == "not reproduced"
    assert word(exact(70.1), gain=None, is_reference=True) == "reproduced"


@pytest.mark.parametrize("ours", [Sample(70.0, None, 1), Sample(math.nan, 0.1, 3)])
def test_too_little_to_tell(ours):
    assert word(exact(70.0), ours=ours) == "cannot tell"


def test_the_reason_has_the_figures():
    found = judge(OURS, exact(75.0), bound=1.0, gain=UP)
    assert found.reason == "-5 ± 0.75; gain +1.5 ± 1, the paper's +2"
    assert judge(OURS, exact(70.0), bound=0.5, gain=UP).reason == "+0 ± 0.75 is wider than ± 0.5"


R, T, N, C = (Verdict(one, "") for one in WORDS)


@pytest.mark.parametrize(
    ("cells", "expected"),
    [
        ([R, R, R], "reproduced"),
        ([R, R, C], "reproduced"),
        ([R, C, C], "cannot tell"),
        ([R, C], "cannot tell"),  # half is not enough
        ([R, R, None, None, None], "cannot tell"),
        ([R, R, T], "trend only"),
        ([T, T, N], "trend only"),
        ([T, N], "not reproduced"),
        ([R, T, N, N], "not reproduced"),
        ([R, R, R, N, N], "trend only"),
        ([N], "not reproduced"),
        ([None], "cannot tell"),
    ],
)
def test_rows(cells, expected):
    assert judge_row(cells).word == expected


def test_a_row_says_what_it_counted():
    assert judge_row([R, T, C, None]).reason == "1 reproduced, 1 trend only, 1 cannot tell, 1 without a number of ours"
    with pytest.raises(ValueError, match="cells must hold"):
        judge_row([])
