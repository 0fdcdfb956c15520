import pytest
from fake_runs import make_run

from alpl.errors import DataError
from alpl.machine.files import write_text
from alpl.report.page.measured_text import measured_sheet
from alpl.report.page.write import write_report
from alpl.report.read.measured import COLUMNS, read_measured
from alpl.runs.results import find_runs

LINE = "Entropy,CIFAR10 acc,91.23,0.1,3,NVIDIA H200,bf16-mixed,0123456789abcdef,321.5"


def _written(path, *lines, columns=COLUMNS):
    write_text(path, "\n".join([",".join(columns), *lines]) + "\n")
    return path


def test_they_are_read_as_they_were_written(tmp_path):
    (one,) = read_measured(_written(tmp_path / "t.measured.csv", LINE))
    assert (one.row, one.mean, one.std, one.seeds, one.device, one.seconds) == (
        "Entropy", "91.23", "0.1", "3", "NVIDIA H200", "321.5",
    )  # fmt: skip
    assert read_measured(tmp_path / "nowhere.measured.csv") == []


@pytest.mark.parametrize(
    ("line", "columns"), [(LINE.replace("91.23", "many"), COLUMNS), (LINE, ("row", *COLUMNS[2:], "column"))]
)
def test_what_cannot_be_is_refused(tmp_path, line, columns):
    with pytest.raises(DataError, match=r"t\.measured\.csv"):
        read_measured(_written(tmp_path / "t.measured.csv", line, columns=columns))


def test_the_papers_number_stands_beside(tmp_path):
    measured = read_measured(_written(tmp_path / "t.measured.csv", LINE, LINE.replace("Entropy", "Ours alone")))
    sheet = measured_sheet(measured, {("Entropy", "CIFAR10 acc"): ("92.0", "")})
    texts = [[entry.text for entry in line] for line in sheet.lines]
    assert texts[0][4:] == ["01234567", "92.0", "91.23 ± 0.1", "3", "321.5"] and texts[1][5] == "—"


def test_a_report_shows_what_lies_beside_the_papers_numbers(tmp_path):
    paper = tmp_path / "experiments" / "t.paper.csv"
    write_text(paper, "row,column,mean,std\nEntropy,CIFAR10 acc,92.0,\n")
    report = {"paper": "t.paper.csv", "rows": {"entropy": "Entropy"}, "columns": {"digits": "CIFAR10 acc"}}
    make_run(tmp_path / "runs", "t", "entropy", report=report)
    runs, out = find_runs([tmp_path / "runs"]), tmp_path / "out"
    page = write_report(runs[0].table, runs, out, tmp_path / "experiments").read_text()
    assert "Measured before" not in page
    _written(tmp_path / "experiments" / "t.measured.csv", LINE)
    page = write_report(runs[0].table, runs, out, tmp_path / "experiments").read_text()
    assert "Measured before" in page and "NVIDIA H200" in page and "NVIDIA H200" in (out / "table.md").read_text()
    _written(tmp_path / "experiments" / "t.measured.csv", LINE.replace("91.23", "many"))
    page = write_report(runs[0].table, runs, out, tmp_path / "experiments").read_text()
    assert "t.measured.csv" in page and "NVIDIA H200" not in page
