import json
import re
from dataclasses import replace

import pytest
from fake_detection import make_cycle_paper, make_detection_run, make_detection_sweep, mean_value
from fake_runs import make_paper, make_run, make_sweep

from alpl.report import write_report
from alpl.report.judged.beside import compare
from alpl.report.judged.judging import with_verdicts
from alpl.report.page.sheets import latex_text, paper_sheet, sheet_latex, sheet_markdown, wide_sheet
from alpl.report.read.aggregate import group
from alpl.report.read.paper import paper_table
from alpl.report.read.tables import wide_tables
from alpl.runs.network_cost import NetworkCost
from alpl.runs.results import find_runs


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
        found += [paper_sheet(with_verdicts(one, about)) for one in compared]
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
    for metric, name in (("l1_score", "PL (pl)"), ("map", "Random (random)")):
        lines = (replace(line, cells=tuple(replace(cell, metric=metric) for cell in line.cells)) for line in one.lines)
        sheet = paper_sheet(replace(one, lines=tuple(lines)))
        assert [line[0].text for line in sheet.lines if line[1].text == "paper" and line[2].is_best] == [name]


def test_equal_numbers_have_no_best(tmp_path):
    for row in ("a", "b"):
        make_run(tmp_path, "t", row, all_data=True, num_cycles=1)
    (table,) = wide_tables(group(find_runs([tmp_path])))
    assert not any(entry.is_best for line in wide_sheet(table).lines for entry in line)


def test_latex_escapes_everything_that_means_something():
    assert latex_text(r"a\b{c}~^") == r"a\textbackslash{}b\{c\}\textasciitilde{}\textasciicircum{}"
    assert latex_text("50 % of $5 & #1_2 — <x>") == r"50 \% of \$5 \& \#1\_2 -- \textless{}x\textgreater{}"


# --- the whole LaTeX file

NASTY = r"50%_a&b #1 {x} $y$ ~^ \textbf [z] * <w> | \"q\""


def latex_faults(text):
    """Read LaTeX as far as tables use it, and say what a compiler would stop at or print otherwise than meant."""
    faults, stack = [], []
    for number, line in enumerate(text.splitlines(), 1):
        if line.startswith("%"):
            continue
        here = [f"line {number}: {what}" for what in _line_faults(line)]
        for kind, name in re.findall(r"\\(begin|end)\{(\w+)\}", line):
            if kind == "begin":
                stack.append(name)
            elif not stack or stack.pop() != name:
                here.append(f"line {number}: \\end{{{name}}} closes something else")
        if spec := re.search(r"\\begin\{tabular\}\{([lcr]+)\}", line):
            columns = len(spec.group(1))
        if line.endswith(r"\\") and len(re.findall(r"(?<!\\)&", line)) != columns - 1:
            here.append(f"line {number}: not {columns} columns")
        faults += here
    return faults + [f"{name} is not closed" for name in stack]


def _line_faults(line):
    known = {"begin", "end", "centering", "caption", "toprule", "midrule", "bottomrule", "addlinespace", "textbf", "pm",
             "textbackslash", "textasciitilde", "textasciicircum", "textless", "textgreater", "textbar"}  # fmt: skip
    depth, math, place = 0, False, 0
    while place < len(line):
        if found := re.match(r"\\([A-Za-z]+|.)", line[place:]):
            name = found.group(1)
            if name.isalpha() and name not in known:
                yield f"unknown command {name}"
            if name == "pm" and not math:
                yield "\\pm outside of mathematics"
            place += len(found.group())
            continue
        character = line[place]
        depth += {"{": 1, "}": -1}.get(character, 0)
        if depth < 0:
            yield "} without {"
        math ^= character == "$"
        if character in "#%_^~" and not math:
            yield f"bare {character}"
        if not character.isascii():
            yield f"{character} is not ASCII"
        place += 1
    if depth or math:
        yield "a brace or $ is open"
    if re.match(r"\s*[\[*]", line):
        yield "an argument of the line break before"


def test_the_reader_finds_what_is_wrong():
    good = "\\begin{tabular}{lr}\na \\& b & \\textbf{1 $\\pm$ 2} \\\\\n\\end{tabular}\n"
    assert latex_faults(good) == []
    for old, new in (
        ("\\&", "&"), ("a ", "a_"), ("a ", "[a] "), ("a ", "* "), ("1 ", "1% "), ("$ 2", " 2"), ("2}", "2"),
        ("\\end{tabular}", ""), ("a ", "± "), ("textbf", "bold"), ("a ", "#1 "),
    ):  # fmt: skip
        assert latex_faults(good.replace(old, new)), (old, new)


def test_every_table_of_a_report_can_be_compiled(tmp_path):
    """Names with all that LaTeX treats otherwise, in every place where a name can stand."""
    columns = 'row,column,mean,std\n"{0}",cycle_0,60.8,0.2\n"{0}",cycle_1,64.2,\n"{0}",size,5.5,\nPL,size,6,\n'
    report = make_cycle_paper(tmp_path / "experiments", columns.format(NASTY.replace('"', '""')))
    report |= {"data": NASTY, "rows": {NASTY: NASTY, "[pl]": "PL"}, "cost": {"parameters": "size"}}
    for seed in range(2):
        for row in (NASTY, "[pl]", "*"):
            folder = make_detection_run(tmp_path / "runs", "t", "x", NASTY.replace("/", ""), seed=seed, report=report)
            about = json.loads((folder / "run.json").read_text())
            (folder / "run.json").write_text(json.dumps(about | {"row": row, "changes": [NASTY]}))
            NetworkCost(2_000_000, 1_000_000, 0.1, 7, 96, 96, "VIEWS", NASTY, "32-true").save(folder / "cost.json")
            folder.rename(folder.with_name(f"{len(row)}-{seed}"))
    write_report("t", find_runs([tmp_path / "runs"]), tmp_path / "out", tmp_path / "experiments")
    text = (tmp_path / "out" / "table.tex").read_text()
    assert latex_faults(text) == [] and text.count(r"\begin{tabular}") == 3
    assert text.count(latex_text(NASTY)) > 6 and "{[}pl{]}" not in text and "{[}pl]" in text
