import re

import pytest
from fake_detection import make_cycle_paper, make_detection_sweep, mean_value
from fake_runs import make_paper, make_run, make_sweep

from alpl.report.aggregate import group
from alpl.report.comparison import compare
from alpl.report.judging import with_verdicts
from alpl.report.paper import paper_table
from alpl.report.sheets import latex_text, paper_sheet, sheet_latex, sheet_markdown, wide_sheet
from alpl.report.tables import wide_tables
from alpl.results import find_runs


@pytest.fixture(scope="module")
def sheets(tmp_path_factory):
    """Sheets of a table by cycle (of two data sets) and of one by data."""
    root = tmp_path_factory.mktemp("sheets")
    make_detection_sweep(root / "a" / "runs", report=make_cycle_paper(root / "a" / "experiments"))
    make_sweep(root / "b" / "runs", report=make_paper(root / "b" / "experiments"))
    found = []
    for part in ("a", "b"):
        runs = find_runs([root / part / "runs"])
        about = paper_table(runs)
        variants = group(runs, tuple(about.rows))
        found += [wide_sheet(one) for one in wide_tables(variants)]
        compared = compare(about, variants, root / part / "experiments")
        found += [paper_sheet(with_verdicts(one, about), None) for one in compared]
    return {sheet.title: sheet for sheet in found}


def test_every_line_fits_the_head(sheets):
    assert len(sheets) == 6
    for sheet in sheets.values():
        assert {len(line) for line in sheet.lines} == {len(sheet.head)}


def test_latex_is_well_formed(sheets):
    for sheet in sheets.values():
        text = sheet_latex(sheet)
        (columns,) = re.findall(r"\\begin\{tabular\}\{([lr]+)\}", text)
        body = [line for line in text.splitlines() if line.endswith(r" \\")]
        assert len(columns) == len(sheet.head) and len(body) == len(sheet.lines) + 1
        assert {len(re.findall(r"(?<!\\)&", line)) for line in body} == {len(columns) - 1}
        assert [text.count(rule) for rule in (r"\toprule", r"\midrule", r"\bottomrule")] == [1, 1, 1]
        plain = "\n".join(line for line in text.splitlines() if not line.startswith("%"))
        assert plain.count("{") == plain.count("}") and not re.search(r"(?<!\\)[_%#]", plain)
        assert plain.isascii()


def test_ours_stands_under_the_papers_with_the_best_in_bold(sheets):
    text = sheet_markdown(sheets["voc0712: ours and the paper's numbers"])
    lines = [[cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines() if line.startswith("|")]
    place = [line[0] for line in lines].index("Ours (elezi)")
    assert lines[place][1:5] == ["paper", "**63.25 ± 0.2**", "**70.95 ± 0.1**", "**72.88 ± 0.1**"]
    ours = 100 * mean_value("elezi", 2, 0)
    assert lines[place + 1][1:5] == [
        "ours",
        "**38.50 ± 0.71**",
        f"**{43:.2f} (n=1 of 2)**",
        f"**{ours:.2f} (n=1 of 2)**",
    ]
    assert sum(line.count("**") for line in text.splitlines()) == 2 * 6


def test_bold_is_a_macro_of_latex(sheets):
    text = sheet_latex(sheets["voc0712: ours and the paper's numbers"])
    assert r"\textbf{72.88 $\pm$ 0.1}" in text and r"\addlinespace" in text


def test_what_the_reader_must_know_goes_along(sheets):
    sheet = sheets["digit_scenes: ours and the paper's numbers"]
    assert "these runs about digit_scenes" in sheet_markdown(sheet)
    assert sheet_latex(sheet).startswith("% The paper's numbers are about voc0712")


def test_columns_of_data_sets_have_paper_ours_and_verdict(sheets):
    sheet = sheets["Ours and the paper's numbers"]
    assert sheet.head[:4] == ("row", "digits paper", "digits ours", "digits verdict")
    (line,) = [one for one in sheet.lines if one[0].text == "All data (all_data)"]
    assert [entry.text for entry in line[1:4]] == ["93.61", "93.10 ± 0.10", "trend only"]
    assert line[1].is_best and line[2].is_best


def test_where_low_is_good_the_lowest_is_bold(tmp_path):
    about = make_cycle_paper(tmp_path / "e", "row,column,mean,std\nRandom,cycle_0,3,\nPL,cycle_0,2,\n")
    make_detection_sweep(tmp_path / "runs", report=about)
    runs = [run for run in find_runs([tmp_path / "runs"]) if run.data == "voc0712"]
    table = paper_table(runs)
    (one,) = compare(table, group(runs), tmp_path / "e")
    best = {line[0].text: line[2].is_best for line in paper_sheet(one, "l1_score").lines if line[1].text == "paper"}
    assert best["PL (pl)"] and not best["Random (random)"]
    assert {entry[2].is_best for entry in paper_sheet(one, "map").lines if entry[0].text == "Random (random)"} == {True}


def test_equal_numbers_have_no_best(tmp_path):
    for row in ("a", "b"):
        make_run(tmp_path, "t", row, all_data=True, num_cycles=1)
    (table,) = wide_tables(group(find_runs([tmp_path])))
    assert not any(entry.is_best for line in wide_sheet(table).lines for entry in line)


def test_latex_escapes_everything_that_means_something():
    assert latex_text(r"a\b{c}~^") == r"a\textbackslash{}b\{c\}\textasciitilde{}\textasciicircum{}"
    assert latex_text("50 % of $5 & #1_2 — <x>") == r"50 \% of \$5 \& \#1\_2 -- \textless{}x\textgreater{}"
