import csv
import io

import pytest
from fake_runs import accuracy, make_paper, make_run, make_sweep

from alpl.errors import DataError
from alpl.report.aggregate import group
from alpl.report.paper import beside_paper, paper_csv, paper_table
from alpl.results import find_runs


def compare(root):
    """{(paper's row, our label): {data: cell}}."""
    runs = find_runs([root / "runs"])
    table = paper_table(runs)
    lines = beside_paper(table, group(runs, tuple(table.rows)), root / "experiments")
    return {(line.paper_row, line.label): {cell.data: cell for cell in line.cells} for line in lines}


@pytest.fixture(scope="module")
def cells(tmp_path_factory):
    root = tmp_path_factory.mktemp("sweep")
    make_sweep(root / "runs", report=make_paper(root / "experiments"))
    return compare(root)


def test_the_papers_rows_come_in_its_order_then_ours(cells):
    assert list(cells) == [
        ("All data", "all_data"),
        ("Dispersion", "dispersion (model.optimizer.lr=0.02)"),
        ("Dispersion", "dispersion (model.optimizer.lr=0.1)"),
        ("CoreSet", ""),
        ("VAAL", ""),
        ("Random sampling", "random"),
        ("", "bald"),
        ("", "entropy"),
        ("", "kcenter"),
        ("", "oracle"),
    ]


def test_ours_is_the_last_cycle_in_the_papers_unit(cells):
    cell = cells["Random sampling", "random"]["digits"]
    mean = 100 * sum(accuracy("random", 4, seed) for seed in range(3)) / 3
    assert cell.difference == pytest.approx(mean - 87.65)
    assert cell.ours_text.startswith(f"{mean:.2f} ± ") and cell.ours_text.endswith("(n=3)")
    assert cell.difference_text == f"{mean - 87.65:+.2f}"
    assert (cell.paper_text, cell.column) == ("87.65", "Digits acc")
    assert cells["Dispersion", "dispersion (model.optimizer.lr=0.02)"]["digits"].paper_text == "90.74 ± 0.31"


def test_what_there_is_not_says_why(cells):
    assert cells["CoreSet", ""]["digits"].ours_text == "missing: needs a mixed-integer solver"
    assert cells["VAAL", ""]["digits"].ours_text == "not run"
    assert cells["", "bald"]["digits"].ours_text == "failed"
    assert cells["Random sampling", "random"]["letters"].ours_text == "not run"
    assert cells["", "kcenter"]["digits"].difference_text == ""


def test_an_earlier_cycle_is_not_set_beside_the_papers_number(tmp_path):
    make_run(tmp_path / "runs", "t", "random", done=4, report=make_paper(tmp_path / "experiments"))
    cell = compare(tmp_path)["Random sampling", "random"]["digits"]
    assert (cell.ours, cell.ours_text, cell.difference) == (None, "unfinished: 4 of 5 cycles", None)


def test_data_that_the_paper_lacks_gets_a_column(tmp_path):
    make_run(tmp_path / "runs", "t", "random", data="roads", report=make_paper(tmp_path / "experiments"))
    cell = compare(tmp_path)["Random sampling", "random"]["roads"]
    assert (cell.paper_text, cell.ours.num_seeds, cell.difference) == ("", 1, None)


def test_a_row_that_is_run_is_not_missing(tmp_path):
    report = make_paper(tmp_path / "experiments")
    make_run(tmp_path / "runs", "t", "coreset", report={**report, "rows": {"coreset": "CoreSet"}})
    assert compare(tmp_path)["CoreSet", "coreset"]["digits"].status == "run"


def test_reports_of_several_runs_are_joined(tmp_path):
    report = make_paper(tmp_path / "experiments")
    make_run(tmp_path, "t", "a", report={**report, "rows": {"a": "VAAL"}})
    make_run(tmp_path, "t", "b", report={**report, "rows": {"b": "CoreSet"}, "caption": "later"})
    make_run(tmp_path, "t", "c")
    table = paper_table(find_runs([tmp_path / "t"]))
    assert (table.rows, table.caption, table.scale) == ({"a": "VAAL", "b": "CoreSet"}, "later", 100.0)


def test_the_csv_says_the_same(tmp_path):
    report = make_paper(tmp_path / "experiments")
    make_run(tmp_path / "runs", "t", "random", report=report)
    runs = find_runs([tmp_path / "runs"])
    lines = beside_paper(paper_table(runs), group(runs), tmp_path / "experiments")
    rows = {(row["row"], row["data"]): row for row in csv.DictReader(io.StringIO(paper_csv(lines)))}
    ours = rows["Random sampling", "digits"]
    assert float(ours["mean"]) == pytest.approx(100 * accuracy("random", 4, 0))
    assert (ours["std"], ours["seeds"], ours["status"]) == ("", "1", "run")
    assert float(ours["difference"]) == pytest.approx(float(ours["mean"]) - 87.65)
    assert rows["CoreSet", "letters"]["status"] == "missing: needs a mixed-integer solver"
    assert (rows["VAAL", "digits"]["mean"], rows["VAAL", "digits"]["status"]) == ("", "not run")


@pytest.mark.parametrize("text", [None, "row,column,value\na,b,1\n", "row,column,mean,std\na,b,high,\n"])
def test_a_broken_paper_table_is_an_error(tmp_path, text):
    make_run(tmp_path / "runs", "t", "random", report=make_paper(tmp_path / "experiments"))
    path = tmp_path / "experiments" / "thesis" / "table3_1.paper.csv"
    path.unlink() if text is None else path.write_text(text)
    runs = find_runs([tmp_path / "runs"])
    with pytest.raises(DataError, match="the paper's table cannot be read"):
        beside_paper(paper_table(runs), group(runs), tmp_path / "experiments")
