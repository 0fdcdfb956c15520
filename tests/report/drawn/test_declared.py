"""Figures as the yaml declares them: what is drawn, in which order, and what is refused."""

import io
import sys

import numpy as np
import pytest
from fake_runs import make_run
from matplotlib.axes import Axes
from PIL import Image

from alpl.errors import DataError
from alpl.machine.files import write_json
from alpl.report import write_report
from alpl.report.drawn.declared import DEFAULT, check_report, declared_figures
from alpl.report.drawn.figures import draw_all, unknown_rows
from alpl.report.drawn.material import Material
from alpl.report.drawn.style import line_styles
from alpl.report.read.aggregate import group
from alpl.report.read.paper import joined_reports
from alpl.report.read.split import split_runs
from alpl.report.read.tables import wide_tables
from alpl.runs.results import find_runs

OWN = '''
def sizes(material, *, of):
    """How many rows there are."""
    return ", ".join([material.data, of, *(variant.label for variant in material.variants)]).encode()

def nothing(material):
    return None
'''


@pytest.fixture
def own(tmp_path, monkeypatch):
    (tmp_path / "own_figures_of_a_test.py").write_text(OWN)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield "own_figures_of_a_test"
    sys.modules.pop("own_figures_of_a_test", None)


@pytest.fixture
def runs(tmp_path):
    for row in ("random", "entropy"):
        make_run(tmp_path / "runs", "t", row, num_cycles=2)
        make_run(tmp_path / "runs", "t", row, "letters", num_cycles=2)
    return tmp_path / "runs"


def material_of(root, split=None):
    tables = wide_tables(group(split_runs(find_runs([root]), split)))
    labels = [variant.label for table in tables for variant in table.variants]
    return Material(tuple(tables), line_styles(labels))


def drawn(root, *entries):
    return draw_all(material_of(root), declared_figures(entries))


def test_what_declares_nothing_is_the_default_set():
    assert [one.name for one in declared_figures(None)] == list(DEFAULT)
    names = [one.name for one in declared_figures(["class_counts", "default"])]
    assert names == ["class_counts", *DEFAULT]


def test_figures_stand_in_the_declared_order_data_set_by_data_set(runs, own):
    found = drawn(runs, {"draw": f"{own}.sizes", "of": "x"}, "curves", {"draw": f"{own}.nothing"})
    assert [(one.data, one.name) for one in found] == [
        ("digits", "sizes_digits.png"), ("digits", "curves_digits.png"),
        ("letters", "sizes_letters.png"), ("letters", "curves_letters.png"),
    ]  # fmt: skip
    assert found[0].png == b"digits, x, entropy, random"
    assert found[0].alt == "How many rows there are. (digits)"


def test_rows_data_and_title_choose_what_a_figure_is_of(runs, own):
    entry = {"draw": f"{own}.sizes", "of": "x", "rows": ["random"], "data": "letters", "title": "One {row"}
    (one,) = drawn(runs, entry)
    assert (one.png, one.heading) == (b"letters, x, random", "One {row")
    declared = declared_figures([{**entry, "rows": ["random", "bald"]}])
    assert unknown_rows(material_of(runs), declared) == ["figure sizes: no run yet of bald"]


def test_budgets_are_joined_in_one_figure(tmp_path):
    for lr in (0.1, 0.2):
        make_run(tmp_path, "t", "random", num_cycles=2, lr=lr)
    split = joined_reports([{"split": {"key": "model.optimizer.lr", "values": {0.1: "small", 0.2: "large"}}}]).split
    material = material_of(tmp_path, split)
    entries = [{"draw": "curves", "join": True, "log": True, "dashed": ["random"], "data": ["digits"]}, "curves"]
    found = draw_all(material, declared_figures(entries))
    assert [(one.kind, one.data) for one in found] == [
        ("curves", "digits, large"), ("curves", "digits, large"), ("curves", "digits, small"),
    ]  # fmt: skip
    assert "digits, large, digits, small" in found[0].alt and found[0].png != found[1].png


def test_a_subset_of_rows_keeps_the_colors(runs):
    material = material_of(runs).of(["digits"])
    only = material.only(["entropy"])
    assert [variant.row for variant in only.variants] == ["entropy"] and only.styles == material.styles
    assert len(only.table.cells) == 1 and only.table.cells[0] == material.table.cells[0]


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ("curvs", r"report.figures\[1\].draw: there is no figure 'curvs'; did you mean 'curves'"),
        ({"draw": "curves", "dahsed": ["x"]}, r"report.figures\[1\].dahsed: .* did you mean 'dashed'"),
        ({"draw": "by_setting"}, r"report.figures\[1\].key must be given: by_setting needs it"),
        ({"draw": "no_module_like_this.f"}, r"report.figures\[1\].draw must name something that can be imported"),
        ({"draw": "alpl.report.drawn"}, r"report.figures\[1\].draw must name a function"),
        ({"rows": ["x"]}, r"report.figures\[1\] must be a figure's name or have draw"),
        ({"draw": "curves", "rows": []}, r"report.figures\[1\].rows must be a list of names"),
        ({"draw": "curves", "join": "yes"}, r"report.figures\[1\].join must be true or false"),
    ],
)
def test_what_there_is_not_is_refused_by_its_key(entry, message):
    with pytest.raises(DataError, match=message):
        check_report({"figures": ["default", entry]})


def test_nothing_is_written_where_a_figure_is_unknown(tmp_path):
    make_run(tmp_path / "runs", "t", "random", num_cycles=1, report={"figures": ["curvs"]})
    with pytest.raises(DataError, match="no figure 'curvs'"):
        write_report("t", find_runs([tmp_path / "runs"]), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_an_experiment_without_printed_numbers_has_a_report(tmp_path):
    figures = {"mine": {"draw": "curves", "rows": ["random"], "title": "Fig. 3.8"}}
    make_run(tmp_path / "runs", "t", "random", num_cycles=2, report={"draws": ["Fig. 3.8"], "figures": figures})
    page = write_report("t", find_runs([tmp_path / "runs"]), tmp_path / "out").read_text()
    assert "<h3>Fig. 3.8</h3>" in page and "Beside the paper" not in page and "unknown key" not in page
    assert (tmp_path / "out" / "curves_digits.png").exists()


def test_class_counts_are_a_panel_a_row(tmp_path):
    for row, step in (("random", 2), ("entropy", 5)):
        folder = make_run(tmp_path, "t", row, num_cycles=2)
        for cycle in range(2):
            write_json(folder / f"cycle_{cycle:02d}" / "metrics.json", {"class_counts": [3, 3 + step * cycle]})
    make_run(tmp_path, "t", "all_data", num_cycles=1, all_data=True)
    (both,) = drawn(tmp_path, "class_counts")
    (one,) = drawn(tmp_path, {"draw": "class_counts", "rows": ["random"]})
    heights = [Image.open(io.BytesIO(figure.png)).size[1] for figure in (both, one)]
    assert heights[0] - heights[1] == pytest.approx(1.7 * 150, abs=2)
    assert both.heading == "What is labeled of each class of digits"
    assert not np.array_equal(*(np.asarray(Image.open(io.BytesIO(figure.png)))[:300] for figure in (both, one)))


def test_there_are_no_class_counts_of_old_runs(runs):
    assert drawn(runs, "class_counts") == []


def test_the_metric_against_a_setting(tmp_path):
    for lr in (0.1, 0.02):
        make_run(tmp_path, "t", "random", num_cycles=2, lr=lr)
    (one,) = drawn(tmp_path, {"draw": "by_setting", "key": "model.optimizer.lr", "cycle": 0})
    assert one.kind == "by_setting" and drawn(tmp_path, {"draw": "by_setting", "key": "model.nothing"}) == []


def test_the_share_of_right_pseudo_labels_is_a_line_a_row_that_made_some(tmp_path, monkeypatch):
    for row in ("random", "ceal"):
        folder = make_run(tmp_path, "t", row, num_cycles=3)
        if row == "ceal":
            lines = (folder / "metrics.csv").read_text().splitlines()
            shares = ("share_pseudo_right", "", "0.75", "0.5")  # none in the first cycle
            text = "\n".join(f"{line},{share}" for line, share in zip(lines, shares, strict=True))
            (folder / "metrics.csv").write_text(f"{text}\n")
    seen = []
    monkeypatch.setattr(Axes, "plot", lambda axes, x, y, **look: seen.append((look["label"], x, y)))
    (one,) = drawn(tmp_path, "pseudo_right")
    assert seen == [("ceal", [1, 2], [75.0, 50.0])] and "Right pseudo-labels on digits" in one.heading
    assert drawn(tmp_path, {"draw": "pseudo_right", "rows": ["random"]}) == []
