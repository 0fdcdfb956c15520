"""From how many labels on the best row stays ahead of random."""

import json
import random
from pathlib import Path
from types import SimpleNamespace

import pytest
from fake_runs import make_run
from scipy.stats import pearsonr

from alpl.machine.files import write_json, write_text
from alpl.report.drawn.figure.budget_threshold import correlation, draw, points_of, threshold
from alpl.report.drawn.material import Material
from alpl.report.drawn.style import line_styles
from alpl.report.read.aggregate import Point, group
from alpl.report.read.tables import wide_tables
from alpl.runs.results import find_runs


def line(row: str, *points: tuple[int, float, float]) -> SimpleNamespace:
    """A row at one budget: (cycle, labels, mean) each."""
    return SimpleNamespace(row=row, curve=lambda metric: tuple(Point(c, n, mean, None, 1) for c, n, mean in points))


CHANCE = [line("random", (0, 10, 0.3), (1, 20, 0.5), (2, 30, 0.6)), line("random", (0, 100, 0.7), (1, 200, 0.8))]


@pytest.mark.parametrize(
    ("others", "expected"),
    [
        ([line("entropy", (0, 10, 0.3), (1, 20, 0.4), (2, 30, 0.61))], 30),
        ([line("entropy", (1, 20, 0.4), (2, 30, 0.5)), line("entropy", (0, 100, 0.9), (1, 200, 0.81))], 200),
        ([line("entropy", (1, 20, 0.4)), line("kcenter", (1, 20, 0.51))], 20),  # the best row counts
        ([line("entropy", (0, 10, 0.9), (1, 20, 0.5))], None),  # not the first cycle; a tie is not ahead
        ([line("entropy", (1, 25, 0.9))], None),  # chance was not measured there
        ([], None),
        ([line("entropy", (1, 20, 0.6), (2, 30, 0.5))], None),  # ahead once is not ahead from there on
        ([line("entropy", (1, 20, 0.6), (2, 30, 0.7)), line("entropy", (1, 200, 0.7))], None),  # nor over budgets
        ([line("entropy", (1, 20, 0.6), (2, 30, 0.6)), line("entropy", (1, 200, 0.9))], 200),  # a tie in between
        ([line("entropy", (1, 20, 0.6), (2, 30, 0.5)), line("kcenter", (1, 20, 0.1), (2, 30, 0.7))], 20),
    ],
)
def test_threshold(others: list[SimpleNamespace], expected: float | None) -> None:
    assert threshold([*CHANCE, *others], "test/accuracy", "random") == expected


def test_as_many_labels_by_two_schedules_must_both_be_ahead() -> None:
    chance = [line("random", (2, 30, 0.6)), line("random", (1, 30, 0.6), (2, 45, 0.6))]
    others = [line("entropy", (2, 30, 0.5)), line("entropy", (1, 30, 0.9), (2, 45, 0.7))]
    assert threshold([*chance, *others], "test/accuracy", "random") == 45


def test_the_correlation_is_pearsons() -> None:
    # by hand: deviations -1, 0, 1 and -1, -1, 2: 3 / sqrt(2 * 6)
    assert correlation([(1, 0.0), (2, 0.0), (3, 3.0)]) == pytest.approx(3 / 12**0.5)
    drawn = random.Random(0)
    points = [(drawn.randint(2, 200), drawn.uniform(1, 500)) for _ in range(9)]
    assert correlation(points) == pytest.approx(pearsonr(*zip(*points, strict=True)).statistic, abs=1e-12)


@pytest.mark.parametrize(
    "points", [[(1, 2.0), (2, 3.0)], [(5, 1.0), (5, 2.0), (5, 3.0)], [(1, 2.0), (2, 2.0), (3, 2.0)]]
)
def test_nothing_correlates_where_nothing_changes(points: list[tuple[int, float]]) -> None:
    assert correlation(points) is None


def finished(root: Path, row: str, data: str, num_classes: int, accuracies: tuple[float, ...]) -> None:
    """A run whose cycles have 40, 60, 80, ... labels."""
    folder = make_run(root, "t", row, data, num_cycles=len(accuracies))
    about = json.loads((folder / "run.json").read_text())
    write_json(folder / "run.json", {**about, "classes": [str(number) for number in range(num_classes)]})
    lines = [f"{cycle},{40 + 20 * cycle},{value!r}" for cycle, value in enumerate(accuracies)]
    write_text(folder / "metrics.csv", "\n".join(["cycle,num_labeled,test/accuracy", *lines]) + "\n")


def material(root: Path) -> Material:
    tables = wide_tables(group(find_runs([root])))
    return Material(tuple(tables), line_styles(variant.label for table in tables for variant in table.variants))


def test_a_data_set_is_a_point(tmp_path: Path) -> None:
    for data, num_classes, accuracies in (("digits", 10, (0.5, 0.61, 0.8)), ("letters", 20, (0.5, 0.6, 0.71))):
        finished(tmp_path, "random", data, num_classes, (0.5, 0.6, 0.7))
        finished(tmp_path, "entropy", data, num_classes, accuracies)
    assert points_of(material(tmp_path)) == {"digits": (10, 60 / 10), "letters": (20, 80 / 20)}
    drawn = draw(material(tmp_path))
    assert drawn is not None and drawn.startswith(b"\x89PNG")


def test_nothing_where_nothing_is_ahead(tmp_path: Path) -> None:
    for row in ("random", "entropy"):
        finished(tmp_path, row, "digits", 10, (0.5, 0.6))
    assert draw(material(tmp_path)) is None
