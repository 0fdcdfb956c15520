"""Further metrics of a paper's table beside ours: columns in a table by data, tables in one by cycle."""

import csv
import io

import pytest
from fake_detection import make_cycle_paper, make_detection_run, mean_value
from fake_runs import make_run

from alpl.errors import DataError
from alpl.machine.files import write_text
from alpl.report import write_report
from alpl.report.judged.beside import compare
from alpl.report.judged.comparison import paper_csv
from alpl.report.judged.judging import with_verdicts
from alpl.report.judged.paper_curves import paper_curves
from alpl.report.read.aggregate import group
from alpl.report.read.paper import joined_reports, paper_table
from alpl.report.read.tables import wide_tables
from alpl.runs.results import find_runs

PAPER = """row,column,mean,std
Plain,VOC AP,43,1
Plain,VOC AP50,53.5,
Plain,COCO AP,11.9,
Plain,COCO AP50,25.6,
Mixed,VOC AP,45,
Mixed,VOC AP50,58.5,
"""
REPORT = {
    "paper": "p/table1.paper.csv", "rows": {"random": "Plain", "pl": "Mixed"}, "scale": 100, "metric": "map",
    "columns": {"voc0712": "VOC AP", "coco": "COCO AP"}, "reference": "random",
    "metrics": {"map50": {"voc0712": "VOC AP50", "coco": "COCO AP50"}},
}  # fmt: skip


def compared(root):
    """{data: comparison}, with verdicts."""
    runs = find_runs([root / "runs"])
    about = paper_table(runs)
    found = compare(about, group(runs, tuple(about.rows)), root / "experiments")
    return {one.data: with_verdicts(one, about) for one in found}


@pytest.fixture
def by_data(tmp_path):
    write_text(tmp_path / "experiments" / "p" / "table1.paper.csv", PAPER)
    for seed in range(3):
        for row in ("random", "pl"):
            make_detection_run(tmp_path / "runs", "t", row, seed=seed, report=REPORT)
    make_detection_run(tmp_path / "runs", "t", "pl", "digit_scenes", report=REPORT)
    return tmp_path


def ours(row):
    """Our mean after the last cycle, in percent; map50 is 10 points more in the fake runs."""
    return 100 * mean_value(row, 2, 1)


def test_each_data_set_has_a_table_of_its_metrics(by_data):
    found = compared(by_data)
    assert list(found) == ["voc0712", "coco", "digit_scenes"]
    voc = found["voc0712"]
    assert voc.headings == ("map", "map50")
    cells = {line.label: line.cells for line in voc.lines}
    assert [cell.column for cell in cells["random"]] == ["VOC AP", "VOC AP50"]
    assert [cell.difference for cell in cells["random"]] == [
        pytest.approx(ours("random") - 43), pytest.approx(ours("random") + 10 - 53.5),
    ]  # fmt: skip
    assert cells["pl"][1].ours_text == f"{ours('pl') + 10:.2f} ± 1.00 (n=3)"


def test_a_metric_is_judged_by_its_own_gains(by_data):
    """Our deviation is 1 over 3 seeds, so the half width is 2.48; the paper's gains are 2 and 5."""
    random, pl = compared(by_data)["voc0712"].lines
    assert ours("random") == pytest.approx(43) and ours("pl") == pytest.approx(46.75)
    assert [cell.verdict.word for cell in random.cells] == ["cannot tell", "reproduced"]
    assert [cell.verdict.word for cell in pl.cells] == ["cannot tell", "reproduced"]
    assert "is wider than ± 2" in random.cells[0].verdict.reason and "wider" not in random.cells[1].verdict.reason


def test_data_without_runs_and_data_that_the_paper_lacks(by_data):
    found = compared(by_data)
    assert {cell.ours_text for line in found["coco"].lines for cell in line.cells} == {"not run"}
    assert found["coco"].headings == ("map", "map50")
    (mixed,) = [line for line in found["digit_scenes"].lines if line.label == "pl"]
    assert [(cell.paper_text, cell.column) for cell in mixed.cells] == [("", "")] * 2
    assert [cell.ours.mean for cell in mixed.cells] == [pytest.approx(v) for v in (0.4575, 0.5575)]


def test_a_run_that_did_not_measure_it_says_so(by_data):
    folder = next((by_data / "runs" / "t" / "pl").glob("digit*"))
    for run in (by_data / "runs" / "t" / "random").iterdir():
        text = (run / "metrics.csv").read_text().splitlines()
        (run / "metrics.csv").write_text("".join(line.rpartition(",")[0] + "\n" for line in text))
    text = (folder / "metrics.csv").read_text().splitlines()
    (folder / "metrics.csv").write_text("".join(line.rpartition(",")[0] + "\n" for line in text))
    found = compared(by_data)
    first, second = (line.cells[1] for line in found["voc0712"].lines)
    assert (first.ours_text, first.paper_text) == ("not measured", "53.5") and second.status == "run"
    assert found["digit_scenes"].headings == ("map",)  # neither printed nor measured


def test_a_main_metric_that_was_not_measured_is_not_compared(by_data):
    for run in (by_data / "runs" / "t").glob("*/voc*"):
        path = run / "metrics.csv"
        path.write_text(path.read_text().replace("test/map,", "test/recall,"))
    cell, further = compared(by_data)["voc0712"].lines[0].cells
    assert cell.difference is None and cell.verdict.word == "cannot tell" and cell.ours is not None
    assert further.difference is not None


def test_an_unfinished_run_counts_its_cycles(tmp_path):
    write_text(tmp_path / "experiments" / "p" / "table1.paper.csv", PAPER)
    make_detection_run(tmp_path / "runs", "t", "random", done=2, report=REPORT)
    cells = compared(tmp_path)["voc0712"].lines[0].cells
    assert [cell.ours_text for cell in cells] == ["unfinished: 2 of 3 cycles"] * 2


def test_the_csv_names_the_metric(by_data):
    rows = list(csv.DictReader(io.StringIO(paper_csv(list(compared(by_data).values())))))
    (row,) = [one for one in rows if (one["row"], one["column"]) == ("Mixed", "VOC AP50")]
    assert (row["metric"], row["data"], row["paper_mean"]) == ("map50", "voc0712", "58.5")
    assert float(row["mean"]) == pytest.approx(ours("pl") + 10)


def test_the_page_heads_its_tables_with_the_data(by_data):
    out = by_data / "out"
    page = write_report("t", find_runs([by_data / "runs"]), out, by_data / "experiments").read_text()
    assert "Beside the paper: voc0712<" in page and 'map50 <span class="soft">(VOC AP50)</span>' in page
    assert "| row | map paper | map ours | map verdict | map50 paper |" in (out / "table.md").read_text()


# --- by cycle

CYCLES = """row,column,mean,std
Random,2k,40,
Random,3k,41,
Random,2k AP50,50,
Random,4k AP50,52,
Random,params_M,52.35,
"""


@pytest.mark.parametrize("columns", ["named", "cycle_0"])
def test_a_further_metric_by_cycle_has_a_table_of_its_own(tmp_path, columns):
    text = CYCLES if columns == "named" else CYCLES.replace("2k,", "cycle_0,").replace("3k,", "cycle_1,")
    report = {**make_cycle_paper(tmp_path / "experiments", text), "metric": "map"}
    report |= {"metrics": {"map50": {0: "2k AP50", 2: "4k AP50"}}, "cost": {"parameters": "params_M"}}
    report |= {"cycles": {0: "2k", 1: "3k"}} if columns == "named" else {}
    for seed in range(2):
        make_detection_run(tmp_path / "runs", "t", "random", seed=seed, report=report)
    runs = find_runs([tmp_path / "runs"])
    about = paper_table(runs)
    variants = group(runs)
    main, further = compare(about, variants, tmp_path / "experiments")
    assert (main.title, further.title, main.is_main, further.is_main) == ("", "map50", True, False)
    assert [cell.paper_text for cell in main.lines[0].cells] == ["40", "41", ""]
    assert [cell.paper_text for cell in further.lines[0].cells] == ["50", "", "52"]
    half = sum(mean_value("random", 2, seed) for seed in range(2)) / 2
    assert further.lines[0].cells[2].ours.mean == pytest.approx(half + 0.1)
    # the learning curves are of the table's own metric
    (table,) = wide_tables(variants, about.metric)
    assert paper_curves(table, [main])["random"] == [(20, pytest.approx(40)), (30, pytest.approx(41))]
    page = write_report("t", runs, tmp_path / "out", tmp_path / "experiments").read_text()
    assert "Beside the paper: voc0712, map50" in page


def test_metrics_of_a_table_by_cycle_are_by_cycle(tmp_path):
    report = make_cycle_paper(tmp_path / "experiments") | {"metrics": {"map50": {"voc0712": "AP50"}}}
    make_detection_run(tmp_path / "runs", "t", "random", report=report)
    with pytest.raises(DataError, match=r"report\.metrics\.map50 must map cycles to columns"):
        compared(tmp_path)


@pytest.mark.parametrize("given", ["map75", {"map75": "AP75"}])
def test_metrics_are_a_map_of_maps(given):
    with pytest.raises(DataError, match=r"report\.metrics must map metrics to columns"):
        joined_reports([{"metrics": given}])


def test_metrics_of_several_reports_are_joined(tmp_path):
    make_run(tmp_path, "t", "a", report={"metrics": {"map50": {"x": "1"}}})
    make_run(tmp_path, "t", "b", report={"metrics": {"map75": {"x": "2"}}})
    assert paper_table(find_runs([tmp_path])).metrics == {"map50": {"x": "1"}, "map75": {"x": "2"}}
