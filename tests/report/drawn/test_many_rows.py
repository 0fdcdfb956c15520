"""What a figure shows of more rows than it has a place for."""

import io
import re

import pytest
import torch
from fake_runs import make_run
from matplotlib.figure import Figure
from PIL import Image

from alpl.acquisition import Query
from alpl.machine.files import write_text
from alpl.report import write_report
from alpl.report.drawn.figure import by_setting
from alpl.report.drawn.material import Material, leading
from alpl.report.drawn.style import MOST_PIXELS, MOST_ROWS, house_style, line_styles, png
from alpl.report.read.aggregate import group
from alpl.report.read.tables import wide_tables
from alpl.runs.results import find_runs

NUM_ROWS = 20


def set_accuracy(folder, value):
    write_text(folder / "metrics.csv", f"cycle,num_labeled,test/accuracy\n0,40,0.5\n1,60,{value!r}\n")


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """Rows of ascending accuracy, random the worst, each with a query of its own."""
    root = tmp_path_factory.mktemp("many")
    for place, row in enumerate(["random", *(f"row{number:02d}" for number in range(1, NUM_ROWS))]):
        folder = make_run(root, "t", row, num_cycles=2)
        set_accuracy(folder, 0.5 + 0.01 * place)
        index = torch.arange(40 + place, 60 + place)
        Query(index, torch.zeros(len(index))).save(folder / "cycle_00" / "query.csv")
    set_accuracy(make_run(root, "t", "all_data", num_cycles=1, all_data=True), 0.1)
    return root


def material(root):
    variants = group(find_runs([root]))
    return Material(tuple(wide_tables(variants)), line_styles(variant.label for variant in variants))


def test_the_reference_all_data_and_the_best_rows_lead(root):
    best = [f"row{number:02d}" for number in range(NUM_ROWS - 1, 0, -1)]
    assert leading(material(root).tables, None) == ["random", "all_data", *best]
    assert leading(material(root).tables, "row05")[:3] == ["row05", "all_data", best[0]]


def test_the_rows_that_are_kept_stand_in_the_order_of_the_table(root):
    kept = [variant.label for variant in material(root).most(4).variants]
    assert kept == ["all_data", "random", "row18", "row19"]
    table = material(root).most(4).table
    assert [cells[-1].mean for cells in table.cells[1:]] == pytest.approx([0.5, 0.68, 0.69])


def test_few_rows_are_all_kept(root):
    whole = material(root)
    assert whole.most(NUM_ROWS + 1) is whole


def test_a_row_counts_once_with_all_its_settings(tmp_path):
    for row, value in (("random", 0.5), ("a", 0.6), ("b", 0.7)):
        for rate in (0.1, 0.2, 0.3):
            set_accuracy(make_run(tmp_path, "t", row, num_cycles=2, lr=rate), value)
    kept = material(tmp_path).most(2, by_row=True).variants
    assert [variant.row for variant in kept] == ["b"] * 3 + ["random"] * 3


def test_a_report_of_many_rows_says_what_its_figures_leave_out(root):
    out = write_report("t", find_runs([root]), root / "out").parent
    text = (out / "index.html").read_text(encoding="utf-8")
    left_out = re.findall(r"Of 21 rows the 16 that lead are shown[^<]*", text)
    assert len(left_out) == 2  # the curves, the overlaps
    assert left_out[0].endswith("5 are left out; table.csv has all.")
    assert left_out[1].endswith("5 are left out; overlap.csv has all.")
    assert (out / "overlap.csv").read_text(encoding="utf-8").count("\n") == 1 + NUM_ROWS * (NUM_ROWS - 1) / 2
    assert {f",row{number:02d}," in (out / "table.csv").read_text(encoding="utf-8") for number in range(1, 20)} == {
        True
    }
    for path in out.glob("*.png"):
        assert max(Image.open(path).size) <= MOST_PIXELS


def test_a_larger_figure_has_fewer_dots():
    with house_style():
        sizes = [Image.open(io.BytesIO(png(Figure(figsize=side)))).size for side in ((4, 3), (3, 100))]
    assert sizes == [(600, 450), (108, MOST_PIXELS)]


def test_values_of_a_setting_that_do_not_fit_have_no_name(tmp_path, monkeypatch):
    rates = [number / 100 for number in range(1, 31)]
    for rate in rates:
        make_run(tmp_path, "t", "random", num_cycles=2, lr=rate)
    seen = {}
    monkeypatch.setattr(by_setting, "png", lambda figure: seen.update(axes=figure.axes[0]) or b"")
    by_setting.draw(material(tmp_path), key="model.optimizer.lr")
    names = [text.get_text() for text in seen["axes"].get_xticklabels()]
    assert names == [f"{rate:g}" for rate in rates[::3]]
    assert list(seen["axes"].get_lines()[0].get_xdata()) == list(range(len(rates)))


def test_as_many_rows_as_a_figure_holds_are_drawn_without_a_word(tmp_path):
    for number in range(MOST_ROWS):
        make_run(tmp_path, "t", f"row{number:02d}", num_cycles=2)
    assert "left out" not in write_report("t", find_runs([tmp_path]), tmp_path / "out").read_text(encoding="utf-8")
