import csv
import io

import pytest
from fake_detection import PAPER, make_cycle_paper, make_detection_run, make_detection_sweep, mean_value
from fake_runs import accuracy, make_paper, make_run, make_sweep

from alpl.errors import DataError
from alpl.report.judged.beside import compare
from alpl.report.judged.comparison import paper_csv
from alpl.report.read.aggregate import group
from alpl.report.read.paper import paper_table, unknown_keys
from alpl.runs.results import find_runs


def beside(root):
    """{(paper's row, our label): {data: cell}}."""
    runs = find_runs([root / "runs"])
    table = paper_table(runs)
    (found,) = compare(table, group(runs, tuple(table.rows)), root / "experiments")
    return {(line.paper_row, line.label): {cell.data: cell for cell in line.cells} for line in found.lines}


@pytest.fixture(scope="module")
def cells(tmp_path_factory):
    root = tmp_path_factory.mktemp("sweep")
    make_sweep(root / "runs", report=make_paper(root / "experiments"))
    return beside(root)


def test_the_papers_rows_come_in_its_order_then_ours(cells):
    assert list(cells) == [
        ("All data", "all_data"),
        ("Dispersion", "dispersion (lr=0.02)"),
        ("Dispersion", "dispersion (lr=0.1)"),
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
    assert cells["Dispersion", "dispersion (lr=0.02)"]["digits"].paper_text == "90.74 ± 0.31"


def test_what_there_is_not_says_why(cells):
    assert cells["CoreSet", ""]["digits"].ours_text == "missing: needs a mixed-integer solver"
    assert cells["VAAL", ""]["digits"].ours_text == "not run"
    assert cells["", "bald"]["digits"].ours_text == "failed"
    assert cells["Random sampling", "random"]["letters"].ours_text == "not run"
    assert cells["", "kcenter"]["digits"].difference_text == ""


def test_an_earlier_cycle_is_not_set_beside_the_papers_number(tmp_path):
    make_run(tmp_path / "runs", "t", "random", done=4, report=make_paper(tmp_path / "experiments"))
    cell = beside(tmp_path)["Random sampling", "random"]["digits"]
    assert (cell.ours, cell.ours_text, cell.difference) == (None, "unfinished: 4 of 5 cycles", None)


def test_data_that_the_paper_lacks_gets_a_column(tmp_path):
    make_run(tmp_path / "runs", "t", "random", data="roads", report=make_paper(tmp_path / "experiments"))
    cell = beside(tmp_path)["Random sampling", "random"]["roads"]
    assert (cell.paper_text, cell.ours.num_seeds, cell.difference) == ("", 1, None)


def test_a_row_that_is_run_is_not_missing(tmp_path):
    report = make_paper(tmp_path / "experiments")
    make_run(tmp_path / "runs", "t", "coreset", report={**report, "rows": {"coreset": "CoreSet"}})
    assert beside(tmp_path)["CoreSet", "coreset"]["digits"].status == "run"


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
    found = compare(paper_table(runs), group(runs), tmp_path / "experiments")
    rows = {(row["row"], row["data"]): row for row in csv.DictReader(io.StringIO(paper_csv(found)))}
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
    with pytest.raises(DataError, match=r"holds? the paper's table|must have the columns row,column,mean,std"):
        compare(paper_table(runs), group(runs), tmp_path / "experiments")


# --- a column a cycle


@pytest.fixture(scope="module")
def by_cycle(tmp_path_factory):
    """{data: comparison} of a sweep in which a seed of "elezi" is unfinished, and one run is on other data."""
    root = tmp_path_factory.mktemp("detection")
    make_detection_sweep(root / "runs", report=make_cycle_paper(root / "experiments"))
    return cycles_of(root)


def cycles_of(root):
    runs = find_runs([root / "runs"])
    table = paper_table(runs)
    return {one.data: one for one in compare(table, group(runs, tuple(table.rows)), root / "experiments")}


def cells_of(comparison):
    return {(line.paper_row, line.label): line.cells for line in comparison.lines}


def test_each_cycle_stands_beside_the_papers(by_cycle):
    assert list(by_cycle) == ["voc0712", "digit_scenes"]  # the paper's data first
    voc = by_cycle["voc0712"]
    assert voc.by_cycle and voc.remark == ""
    cells = cells_of(voc)["Random", "random"]
    for cycle, printed in enumerate((60.82, 64.23, 66.33)):
        ours = 100 * sum(mean_value("random", cycle, seed) for seed in range(3)) / 3
        assert cells[cycle].difference == pytest.approx(ours - printed)
        assert cells[cycle].ours_text == f"{ours:.2f} ± 1.00 (n=3)"
        assert cells[cycle].difference_text == f"{ours - printed:+.2f}"
    assert [cell.paper_text for cell in cells] == ["60.82 ± 0.2", "64.23 ± 0.2", "66.33"]


def test_a_cycle_that_the_paper_does_not_print_has_ours_alone(by_cycle):
    first = cells_of(by_cycle["voc0712"])["PL", "pl"][0]
    assert (first.paper_text, first.difference, first.status) == ("", None, "run")


def test_rows_that_were_not_run_and_rows_that_the_paper_lacks_are_there(by_cycle):
    lines = cells_of(by_cycle["voc0712"])
    assert list(lines) == [("Random", "random"), ("PL", "pl"), ("Ours", "elezi"), ("LLAL", ""), ("", "ssl")]
    assert {cell.ours_text for cell in lines["LLAL", ""]} == {"not run"}
    assert {cell.paper_text for cell in lines["", "ssl"]} == {""}


def test_a_partial_row_says_how_many_seeds_a_cycle_has(by_cycle):
    first, last = (cells_of(by_cycle["voc0712"])["Ours", "elezi"][cycle] for cycle in (0, 2))
    assert first.ours_text.endswith("(n=2)") and last.ours_text.endswith("(n=1 of 2)")


@pytest.mark.parametrize(("options", "expected"), [({}, "unfinished"), ({"error": "OSError: full"}, "failed")])
def test_a_cycle_that_no_seed_finished_says_why(tmp_path, options, expected):
    make_detection_run(
        tmp_path / "runs", "t", "random", done=1, report=make_cycle_paper(tmp_path / "experiments"), **options
    )
    cells = cells_of(cycles_of(tmp_path)["voc0712"])["Random", "random"]
    assert [cell.status for cell in cells] == ["run", expected, expected]


def test_numbers_of_other_data_stand_there_with_a_remark_and_no_difference(by_cycle):
    other = by_cycle["digit_scenes"]
    assert "The paper's numbers are about voc0712, these runs about digit_scenes" in other.remark
    cells = cells_of(other)["Ours", "elezi"]
    assert [cell.paper_text for cell in cells] == ["63.25 ± 0.2", "70.95 ± 0.1", "72.88 ± 0.1"]
    assert [cell.difference for cell in cells] == [None] * 3
    assert [cell.status for cell in cells] == ["run", "run", "the run has 2 cycles"]


def test_the_metric_may_be_named(tmp_path):
    report = {**make_cycle_paper(tmp_path / "experiments"), "metric": "map50"}
    make_detection_run(tmp_path / "runs", "t", "random", report=report)
    found = cycles_of(tmp_path)["voc0712"]
    assert found.remark == ""
    assert cells_of(found)["Random", "random"][1].ours.mean == pytest.approx(mean_value("random", 1, 0) + 0.1)


def test_a_named_metric_that_is_not_measured_is_not_compared(tmp_path):
    report = {**make_cycle_paper(tmp_path / "experiments"), "metric": "map75"}
    make_detection_run(tmp_path / "runs", "t", "random", report=report)
    found = cycles_of(tmp_path)["voc0712"]
    assert "numbers are map75, which no run measured; test/map stands beside them" in found.remark
    assert cells_of(found)["Random", "random"][1].difference is None


def test_the_csv_holds_every_cycle(by_cycle):
    rows = list(csv.DictReader(io.StringIO(paper_csv(list(by_cycle.values())))))
    (one,) = [r for r in rows if (r["row"], r["data"], r["column"]) == ("Ours", "voc0712", "cycle_2")]
    assert (one["paper_mean"], one["seeds"]) == ("72.88", "1")
    assert float(one["difference"]) == pytest.approx(100 * mean_value("elezi", 2, 0) - 72.88)
    others = [r for r in rows if r["data"] == "digit_scenes"]
    assert len(others) == 4 * 3 and {r["difference"] for r in others} == {""}


@pytest.mark.parametrize(
    ("changes", "text", "message"),
    [
        ({"data": None}, PAPER, "report.data must name the data set"),
        ({}, "row,column,mean,std\nRandom,last,60,\n", "must be called cycle_0, cycle_1 and so on, got 'last'"),
    ],
)
def test_a_table_by_cycle_that_does_not_fit_is_an_error(tmp_path, changes, text, message):
    report = {**make_cycle_paper(tmp_path / "experiments", text), **changes}
    make_detection_run(tmp_path / "runs", "t", "random", report=report)
    with pytest.raises(DataError, match=message):
        cycles_of(tmp_path)


def test_columns_are_cycles_or_data_sets(tmp_path):
    make_detection_run(tmp_path, "t", "random", report={"columns": "rounds"})
    with pytest.raises(DataError, match=r"report\.columns must be cycles or map data sets to columns, got 'rounds'"):
        paper_table(find_runs([tmp_path]))


def test_keys_that_mean_nothing_are_named(tmp_path):
    report = {**make_cycle_paper(tmp_path), "colums": 1, "reference": "ssl"}
    make_detection_run(tmp_path, "t", "random", report=report)
    runs = find_runs([tmp_path])
    assert unknown_keys(runs) == ["colums"] and paper_table(runs).reference == "ssl"
