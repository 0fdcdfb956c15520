"""Difficulty of classes beside their precision: ranks against scipy's, what is left out, what is read."""

import numpy as np
import pytest
from fake_detection import make_detection_run
from scipy.stats import spearmanr

from alpl.report.drawn.declared import declared_figures
from alpl.report.drawn.figure.difficulty import shown
from alpl.report.drawn.figures import draw_all
from alpl.report.drawn.material import Material
from alpl.report.drawn.style import line_styles
from alpl.report.read.aggregate import group
from alpl.report.read.difficulty import Difficulties, difficulties, rank_correlation
from alpl.report.read.tables import wide_tables
from alpl.runs.results import find_runs


@pytest.mark.parametrize("seed", range(5))
def test_rho_is_scipys_also_of_equal_values(seed: int) -> None:
    draw = np.random.default_rng(seed)
    first, second = draw.integers(0, 6, 12).astype(float), draw.normal(size=12)
    assert rank_correlation(first, second) == pytest.approx(spearmanr(first, second).statistic)


def test_rho_by_hand() -> None:
    falling = rank_correlation(np.array([1.0, 2, 3, 4]), np.array([9.0, 8, 1, 5]))
    assert falling == pytest.approx(-0.8)  # 1 - 6 * (9 + 1 + 4 + 4) / 60
    assert rank_correlation(np.array([1.0, 1, 2]), np.array([5.0, 3, 1])) == pytest.approx(-(3**0.5) / 2)
    for nothing in ([], [1.0], [2.0, 2.0]):
        assert np.isnan(rank_correlation(np.array(nothing), np.arange(float(len(nothing)))))


def test_classes_fall_and_those_without_objects_are_left_out() -> None:
    one = Difficulties(np.array([0.2, 0.9, 0.5, 0.9]), np.array([0.8, np.nan, 0.5, 0.1]))
    assert one.order == [3, 2, 0] and one.correlation == pytest.approx(-1)
    assert Difficulties(np.array([0.5]), np.array([np.nan])).order == []


def test_of_many_classes_the_hardest_and_the_easiest_are_shown() -> None:
    many = Difficulties(np.linspace(0, 1, 21), np.linspace(1, 0, 21))
    assert shown(many) == [20, 19, 18, 2, 1, 0]
    assert shown(Difficulties(np.linspace(0, 1, 20), np.linspace(1, 0, 20))) == list(range(20))[::-1]
    few = np.full(21, np.nan)
    few[:4] = 0.5
    assert shown(Difficulties(np.linspace(0, 1, 21), few)) == [3, 2, 1, 0]


@pytest.fixture
def root(tmp_path):
    """Two seeds that watched three classes, the last without objects in the test, and a row that did not."""
    for seed in range(2):
        folder = make_detection_run(tmp_path, "t", "dcus", seed=seed, num_cycles=2)
        for cycle in range(2):
            hard = (0.9 - 0.2 * seed, 0.5, 0.7 + 0.1 * cycle)
            lines = [f"{name},{value},0.99,5" for name, value in zip("abc", hard, strict=True)]
            text = "\n".join(["class,difficulty,momentum,positives", *lines, ""])
            (folder / f"cycle_0{cycle}" / "difficulty.csv").write_text(text)
    make_detection_run(tmp_path, "t", "random", num_cycles=2)
    return tmp_path


def variants(root):
    return {variant.row: variant for variant in group(find_runs([root]))}


def test_what_runs_left_is_read(root) -> None:
    notes: list[str] = []
    told = difficulties(variants(root)["dcus"], notes)
    assert list(told) == [0, 1] and notes == [] and difficulties(variants(root)["random"], notes) == {}
    np.testing.assert_allclose(told[1].difficulty, [0.8, 0.5, 0.8])
    assert np.isnan(told[0].precision[2]) and told[0].precision[1] > told[0].precision[0]  # see class_values
    assert told[0].order == [0, 1] and told[0].correlation == -1


@pytest.mark.parametrize("text", ["class,momentum\na,1\n", "class,difficulty\na,hard\n", "class,difficulty\na,0.5\n"])
def test_what_cannot_be_read_is_named(root, text) -> None:
    (path,) = root.glob("t/dcus/*seed1*/cycle_00/difficulty.csv")
    path.write_text(text)
    notes: list[str] = []
    told = difficulties(variants(root)["dcus"], notes)
    assert len(notes) == 1 and "difficulties of cycle 0 are left out" in notes[0]
    np.testing.assert_allclose(told[0].difficulty, [0.9, 0.5, 0.7])  # of the other seed alone


def test_rows_that_watched_it_are_drawn(root) -> None:
    tables = wide_tables(group(find_runs([root])))
    material = Material(tuple(tables), line_styles([v.label for table in tables for v in table.variants]))
    (one,) = draw_all(material, declared_figures(["difficulty"]))
    assert one.kind == "difficulty" and "dcus" in one.heading and one.png.startswith(b"\x89PNG")
    assert draw_all(material, declared_figures([{"draw": "difficulty", "rows": ["random"]}])) == []
