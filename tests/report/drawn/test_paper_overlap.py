"""The paper's shares of common images beside ours (AL-MDN, Table 3)."""

import csv

import pytest
from fake_runs import make_run, save_query

from alpl.errors import DataError
from alpl.machine.files import write_text
from alpl.report import write_report
from alpl.report.drawn.overlap import overlap_tables
from alpl.report.drawn.paper_overlap import compare_overlaps
from alpl.report.read.aggregate import group
from alpl.report.read.paper import PrintedOverlap, joined_reports, paper_table
from alpl.runs.results import find_runs

PAPER = "row,column,mean,std\n" + "".join(
    f"{row},{column},{value},\n"
    for row, values in {"u_a": (100, 48, 6), "u_b": (48, 100, 7), "u_c": (6, 7, 100)}.items()
    for column, value in zip(("a", "b", "c"), values, strict=True)
)


def make(root, rows=("one", "two"), **changes):
    """400 images, 40 labeled at first; the first queries have 3 of 4 images in common, then 4 of 8."""
    write_text(root / "experiments" / "p" / "table3.paper.csv", PAPER)
    report = {"paper": "p/table3.paper.csv", "data": "digits", "scale": 100}
    report |= {"rows": {"one": "u_a", "two": "u_b", "three": "u_c"}}
    report |= {"overlap": {"columns": {"one": "a", "two": "b", "three": "c"}}, **changes}
    for row in rows:
        for seed in range(2):
            folder = make_run(root / "runs", "t", row, seed=seed, report=report)
            first = [100, 101, 102, 103] if row == "one" else [101, 102, 103, 104 + seed]
            second = [110, 111, 112, 113] if row == "one" else [113, 200, 201, 202]
            for cycle, chosen in enumerate((first, second)):
                save_query(folder, cycle, chosen)


def compared(root):
    runs = find_runs([root / "runs"])
    about = paper_table(runs)
    variants = group(runs, tuple(about.rows))
    return compare_overlaps(about, overlap_tables(variants, []), variants, root / "experiments")


def test_shares_stand_beside_the_papers(tmp_path):
    make(tmp_path)
    (one,) = compared(tmp_path)
    assert [(line.paper_row, line.label) for line in one.lines] == [("u_a", "one"), ("u_b", "two"), ("u_c", "")]
    assert one.headings == ("one", "two", "three") and not one.is_judged and not one.is_main
    assert one.title == "common images of the first query (by chance: 1.1)"  # 4 of 360
    first, second, third = one.lines
    assert [cell.paper_text for cell in first.cells] == ["100", "48", "6"]
    assert [cell.ours_text for cell in first.cells] == ["itself", "75.00 ± 0.00 (n=2)", "not run"]
    assert [cell.difference_text for cell in first.cells] == ["", "+27.00", ""]
    assert [cell.ours_text for cell in second.cells] == ["75.00 ± 0.00 (n=2)", "itself", "not run"]
    assert [cell.ours_text for cell in third.cells] == ["not run"] * 3


def test_a_later_cycle_may_be_meant(tmp_path):
    make(tmp_path, overlap={"columns": {"one": "a", "two": "b"}, "cycle": 1})
    (one,) = compared(tmp_path)
    assert one.lines[0].cells[1].ours_text == "50.00 ± 0.00 (n=2)" and "queries of cycles 0 to 1" in one.title
    assert [cell.column for cell in one.lines[0].cells] == ["a", "b"]


def test_rows_that_did_not_begin_alike_have_no_share(tmp_path):
    make(tmp_path, rows=("one",))
    report = find_runs([tmp_path / "runs"])[0].report
    folder = make_run(tmp_path / "runs", "t", "two", seed=5, report=report)
    save_query(folder, 0, [1, 2])
    (one,) = compared(tmp_path)
    assert one.lines[0].cells[1].ours_text == "no common seed and initial set" and "chance" not in one.title


def test_other_data_is_told_and_not_compared(tmp_path):
    make(tmp_path, data="voc07")
    (one,) = compared(tmp_path)
    assert "about voc07, these runs about digits" in one.remark
    assert one.lines[0].cells[1].ours is not None and one.lines[0].cells[1].difference is None
    page = write_report("t", find_runs([tmp_path / "runs"]), tmp_path / "out", tmp_path / "experiments").read_text()
    assert "<th>difference</th>" not in page and 'colspan="2"' in page


def test_the_report_has_it_everywhere(tmp_path):
    make(tmp_path)
    out = tmp_path / "out"
    page = write_report("t", find_runs([tmp_path / "runs"]), out, tmp_path / "experiments").read_text()
    assert "Beside the paper: digits, common images of the first query (by chance: 1.1)" in page
    assert page.count("<th>difference</th>") == 3 and 'colspan="3"' in page
    assert page.count("Beside the paper: digits, common") == 2 and "How the verdicts are found" not in page
    assert "| u_a (one) | 100 | — | 48 | 75.00 ± 0.00 | 6 | — |" in (out / "table.md").read_text()
    assert r"u\_a (one) & 100 & -- & 48 & 75.00 $\pm$ 0.00 & 6 & -- \\" in (out / "table.tex").read_text()
    (line,) = [
        line for line in csv.DictReader((out / "paper.csv").open()) if (line["row"], line["column"]) == ("u_b", "a")
    ]
    assert (line["metric"], line["paper_mean"], line["mean"], line["difference"], line["verdict"]) == (
        "one", "48", "75", "27", "",
    )  # fmt: skip


def test_a_table_without_the_key_has_no_such_part(tmp_path):
    make(tmp_path, overlap=None)
    assert compared(tmp_path) == []


def test_the_key_is_checked():
    assert joined_reports([{"overlap": {"columns": {"x": "y"}}}]).overlap == PrintedOverlap({"x": "y"}, 0)
    for given in ("x", {"cycle": 0}, {"columns": {}, "cycles": 1}):
        with pytest.raises(DataError, match=r"report\.overlap must have columns \(our row: column\)"):
            joined_reports([{"overlap": given}])
