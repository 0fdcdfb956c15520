"""The sentence on top: who is ahead, by how much, and what the seeds cannot tell."""

import pytest

from alpl.report.judged.acquisitions import AcquisitionLine, AcquisitionTable, Paired
from alpl.report.judged.intervals import Sample
from alpl.report.judged.result import results


def line(label, gains, adjusted):
    gain = Paired(gains) if gains else None
    return AcquisitionLine(label, Sample(0.8, 0.01, 3), Sample(0.9, 0.01, 3), len(gains), gain, adjusted=adjusted)


def table(*lines, metric="test/accuracy"):
    return AcquisitionTable("digits", metric, "random", 30, 130, (line("random", (), None), *lines))


def test_a_row_that_is_told_to_be_ahead():
    lines = [line("entropy", (0.02, 0.03, 0.04), 0.012), line("margin", (-0.02, -0.03, -0.04), 0.02)]
    (sentence,) = results([table(*lines, line("bald", (0.0, 0.01, 0.02), 0.3))])
    assert sentence == (
        "On digits, entropy is ahead of random by 3.00 points of accuracy as a mean over the curve, in 3 seeds "
        "(p = 0.012 after Holm's correction). Of 3 rows, 1 can be told to be ahead of random, 1 behind; of 1 the seeds "
        "cannot tell."
    )


@pytest.mark.parametrize(
    ("gains", "adjusted", "words"),
    [
        ((0.0, 0.01, 0.02), 0.2, "1.00 points of accuracy above random as a mean over the curve, but 3 seeds cannot "
         "tell the two apart (p = 0.2 after Holm's correction)."),
        ((0.01, 0.01), None, "but 2 seeds cannot tell, which takes 3 at least."),
        ((0.01,), None, "but 1 seed cannot tell, which takes 3 at least."),
        ((-0.01, -0.01, -0.01), 0.01, "no row is ahead of random; entropy comes next, 1.00 points of accuracy behind"),
    ],
)  # fmt: skip
def test_what_the_seeds_cannot_tell_is_said(gains, adjusted, words):
    (sentence,) = results([table(line("entropy", gains, adjusted))])
    assert words in sentence and "can be told" not in sentence


def test_of_a_loss_the_lower_is_ahead():
    lines = [line("entropy", (-0.2, -0.2, -0.2), 0.01), line("margin", (0.2, 0.2, 0.2), 0.01)]
    (sentence,) = results([table(*lines, metric="test/loss")])
    assert sentence.startswith("On digits, entropy is ahead of random by 0.2 of loss")


def test_rows_none_of_which_is_told():
    lines = [line("entropy", (0.0, 0.1, 0.2), 0.4), line("margin", (0.0, 0.1, 0.1), 0.4)]
    (sentence,) = results([table(*lines)])
    assert sentence.endswith("None of 2 rows can be told from random.")


def test_without_a_pair_nothing_is_said():
    assert results([table(line("entropy", (), None))]) == []
