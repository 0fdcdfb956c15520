"""Parameters and forward seconds beside the paper's, cell by cell."""

import csv
import io

import pytest
from fake_detection import make_cycle_paper, make_detection_run
from fake_runs import make_run

from alpl.errors import DataError
from alpl.report import write_report
from alpl.report.judged.network_cost import network_cost_csv, network_costs
from alpl.report.page.network_cost_text import cost_sheet
from alpl.report.read.aggregate import group
from alpl.report.read.paper import joined_reports, paper_table
from alpl.report.read.printed import read_printed
from alpl.runs.network_cost import NetworkCost
from alpl.runs.results import find_runs

PAPER = """row,column,mean,std
Random,cycle_0,60.82,0.2
Random,params_M,52.35,
Random,forward_s,0.031,
PL,params_M,52.35,
PL,forward_s,0.689,
Ours,params_M,41.12,
Ours,forward_s,0.029,
LLAL,params_M,52.71,
LLAL,forward_s,0.036,
"""
COST = {"parameters": "params_M", "seconds": "forward_s"}


def measure(folder, seconds, parameters=2_000_000, trainable=None, device="a CPU, 1 thread", precision="32-true"):
    trainable = parameters if trainable is None else trainable
    NetworkCost(parameters, trainable, seconds, 7, 300, 300, "VIEWS", device, precision).save(folder / "cost.json")


def costs_of(root):
    runs = find_runs([root / "runs"])
    about = paper_table(runs)
    printed = read_printed(root / "experiments" / about.paper) if about.paper else {}
    return network_costs(about, group(runs, tuple(about.rows)), printed)


def make_sweep(root, cost=COST, **report):
    """Two seeds of two rows; a row that was not run, and one whose run was made before costs were measured."""
    about = {**make_cycle_paper(root / "experiments", PAPER), "cost": cost, **report}
    for seed in range(2):
        measure(make_detection_run(root / "runs", "t", "random", seed=seed, report=about), 0.2 + 0.1 * seed)
        measure(make_detection_run(root / "runs", "t", "pl", seed=seed, report=about), 5 + seed, 6_000_000)
    make_detection_run(root / "runs", "t", "elezi", report=about)
    measure(make_detection_run(root / "runs", "t", "ssl", report=about), 0.5, 500_000)


@pytest.fixture
def lines(tmp_path):
    make_sweep(tmp_path)
    (found,) = costs_of(tmp_path)
    assert (found.data, found.reference) == ("voc0712", "random")
    return {line.label or line.paper_row: line for line in found.lines}


def cells(line, quantity):
    cell = line.cells[quantity]
    return cell.printed, cell.printed_ratio, cell.ours and cell.ours.mean, cell.ratio


def test_each_quantity_by_hand(lines):
    assert list(lines) == ["random", "pl", "elezi", "LLAL", "ssl"]  # the paper's order, then ours that it lacks
    assert cells(lines["random"], "parameters") == ("52.35", 1, 2, 1)
    assert cells(lines["random"], "seconds") == ("0.031", 1, pytest.approx(0.25), 1)
    assert cells(lines["pl"], "parameters") == ("52.35", 1, 6, 3)
    assert cells(lines["pl"], "seconds") == ("0.689", pytest.approx(0.689 / 0.031), 5.5, pytest.approx(5.5 / 0.25))
    assert lines["pl"].cells["seconds"].ours.std == pytest.approx(0.5**0.5)
    assert lines["pl"].cells["seconds"].ours.num_seeds == 2
    assert cells(lines["ssl"], "seconds") == ("", None, 0.5, pytest.approx(2)) and lines["ssl"].paper_row == ""


def test_what_was_not_measured_or_not_run_has_the_papers_numbers_alone(lines):
    assert (lines["elezi"].status, lines["LLAL"].status) == ("not measured", "not run")
    assert cells(lines["elezi"], "seconds") == ("0.029", pytest.approx(0.029 / 0.031), None, None)
    assert cells(lines["LLAL"], "parameters") == ("52.71", pytest.approx(52.71 / 52.35), None, None)


def test_the_reference_row_may_be_named_and_is_not_replaced(tmp_path):
    make_sweep(tmp_path, {**COST, "reference": "pl"})
    (found,) = costs_of(tmp_path)
    line = found.lines[0]
    assert found.reference == "pl" and cells(line, "seconds")[1::2] == (
        pytest.approx(0.031 / 0.689), pytest.approx(0.25 / 5.5),
    )  # fmt: skip
    for row in ("elezi", "nothing"):  # one was not measured, the other is not there
        make_sweep(tmp_path, {**COST, "reference": row})
        (found,) = costs_of(tmp_path)
        assert found.reference == "" and {line.cells["seconds"].ratio for line in found.lines} == {None}


def test_the_tables_reference_is_the_default(tmp_path):
    make_sweep(tmp_path, reference="pl")
    assert costs_of(tmp_path)[0].reference == "pl"


def test_seconds_of_two_places_are_kept_apart(tmp_path):
    make_sweep(tmp_path)
    folder = next(path.parent for path in (tmp_path / "runs" / "t" / "pl").rglob("cost.json") if "seed1" in str(path))
    measure(folder, 0.01, 6_000_000, device="a GPU")
    (found,) = costs_of(tmp_path)
    first, second = [line for line in found.lines if line.label == "pl"]
    assert (first.place.device, second.place.device) == ("a CPU, 1 thread", "a GPU")
    assert cells(first, "seconds")[2:] == (5, pytest.approx(5 / 0.25))
    assert cells(second, "seconds")[2:] == (0.01, None)  # the reference row was not measured there
    sheet = cost_sheet(found)
    assert sheet.head[-1] == "measured on" and [line[-1].text for line in sheet.lines][:4] == [
        "a CPU, 1 thread, 32-true, an image of 300 x 300", "a CPU, 1 thread, 32-true, an image of 300 x 300",
        "a GPU, 32-true, an image of 300 x 300", "—",
    ]  # fmt: skip


def test_the_sheet_has_no_empty_columns_and_names_the_machine(tmp_path):
    make_sweep(tmp_path)
    sheet = cost_sheet(costs_of(tmp_path)[0])
    parts = ("paper", "ours", "paper x", "ours x")
    assert sheet.head == ("row", *(f"{name}, {part}" for name in ("parameters (M)", "forward (s)") for part in parts))
    texts = [[entry.text for entry in line] for line in sheet.lines]
    assert texts[1] == ["PL (pl)", "52.35", "6.00", "1", "3", "0.689", "5.5 ± 0.71 (n=2)", "22.2", "22"]
    assert texts[2] == ["Ours (elezi): not measured", "41.12", "—", "0.785", "—", "0.029", "—", "0.935", "—"]
    assert texts[4] == ["ssl", "—", "0.5000", "—", "0.25", "—", "0.5 (n=1)", "—", "2"]
    assert "Measured on a CPU, 1 thread, 32-true, an image of 300 x 300." in sheet.notes
    assert any("of another machine" in note for note in sheet.notes)
    assert not any("command line" in note for note in sheet.notes)


def test_frozen_parameters_have_a_column_of_their_own(tmp_path):
    make_sweep(tmp_path, {"trainable": "params_M"})
    measure(next((tmp_path / "runs" / "t" / "pl").iterdir()), 5, 6_000_000, 4_000_000)
    sheet = cost_sheet(costs_of(tmp_path)[0])
    assert sheet.head[1:7] == (
        "parameters (M), ours", "parameters (M), ours x", "trainable (M), paper", "trainable (M), ours",
        "trainable (M), paper x", "trainable (M), ours x",
    )  # fmt: skip


def test_a_table_without_a_paper_has_ours_alone(tmp_path):
    measure(make_run(tmp_path / "runs", "t", "entropy", changes=("model.lr=1 (2)",)), 0.5)
    measure(make_run(tmp_path / "runs", "t", "entropy", data="letters"), 0.25)
    make_run(tmp_path / "runs", "t", "entropy", data="roads")
    digits, letters = costs_of(tmp_path)
    assert (digits.data, letters.data) == ("digits", "letters") and letters.reference == "entropy"
    sheet = cost_sheet(digits)
    assert [entry.text for entry in sheet.lines[0]] == ["entropy", "2.00", "1", "0.5 (n=1)", "1"]
    assert not any("of another machine" in note for note in sheet.notes)
    assert any("command line" in note for note in sheet.notes)
    assert not any("command line" in note for note in cost_sheet(letters).notes)


def test_the_file_has_every_quantity(tmp_path):
    make_sweep(tmp_path)
    rows = list(csv.DictReader(io.StringIO(network_cost_csv(costs_of(tmp_path)))))
    assert len(rows) == 5 * 3
    assert rows[5] == {
        "data": "voc0712", "row": "PL", "ours": "pl", "quantity": "seconds", "paper": "0.689",
        "paper_ratio": "22.225806", "mean": "5.5", "std": "0.70710678", "seeds": "2", "ratio": "22",
        "reference": "random", "status": "run", "device": "a CPU, 1 thread", "precision": "32-true", "height": "300",
        "width": "300",
    }  # fmt: skip
    assert (rows[6]["status"], rows[6]["mean"], rows[6]["device"]) == ("not measured", "", "")


def test_the_report_has_it_everywhere(tmp_path):
    make_sweep(tmp_path)
    out = tmp_path / "out"
    page = write_report("t", find_runs([tmp_path / "runs"]), out, tmp_path / "experiments").read_text()
    assert "Cost of the networks" in page and "5.5 ± 0.71 (n=2)" in page
    assert "5.5 ± 0.71 (n=2)" in (out / "table.md").read_text()
    assert r"5.5 $\pm$ 0.71 (n=2)" in (out / "table.tex").read_text()
    assert (out / "network_cost.csv").read_text().count("\n") == 16
    # the columns of costs are no cycles
    assert "cannot be read" not in page and "must be called cycle_0" not in page and "60.82" in page


def test_runs_without_a_cost_have_no_section(tmp_path):
    folder = make_run(tmp_path / "runs", "t", "entropy")
    (folder / "cost.json").write_text("{}")  # broken: told in the log, and left out
    out = tmp_path / "out"
    page = write_report("t", find_runs([tmp_path / "runs"]), out).read_text()
    assert "Cost of the networks" not in page and not (out / "network_cost.csv").exists()


@pytest.mark.parametrize("given", ["params_M", {"seconds": "a", "params": "b"}])
def test_a_cost_has_keys_of_its_own(given):
    with pytest.raises(DataError, match=r"report\.cost must have some of parameters, reference, seconds, trainable"):
        joined_reports([{"cost": given}])
