"""The papers' 31 tables: printed numbers as they were given, and a page that says truly what of them can be run."""

import hashlib
import os
import re
import shutil
from pathlib import Path

import pytest

from alpl.commands.paper_figures import FigureStatus, figure_names, figure_status
from alpl.commands.paper_rows import RowStatus, TableStatus, missing_rows, swept_rows, table_names, table_status
from alpl.commands.sweep import jobs_of
from alpl.commands.tables import cli, markdown, terminal, totals
from alpl.config.compose import EXPERIMENTS
from alpl.errors import DataError
from alpl.report.read.paper import joined_reports

TABLES = table_names()
STATUS = EXPERIMENTS / "STATUS.md"
PAPERS = "ALPL_PAPERS_ROOT"  # a folder whose tables/ holds the tables as they were given: almdn_table1.csv and so on


def sums() -> dict[str, str]:
    """What `sha256sum --check SHA256SUMS` reads in the folder of the experiments."""
    lines = (EXPERIMENTS / "SHA256SUMS").read_text().splitlines()
    return {path.removesuffix(".paper.csv"): sum_ for sum_, path in (line.split("  ") for line in lines)}


def test_all_tables_of_the_five_works_are_there() -> None:
    assert len(TABLES) == 31 and set(sums()) == set(TABLES)
    papers = [name.split("/")[0] for name in TABLES]
    counts = {paper: papers.count(paper) for paper in papers}
    assert counts == {"almdn": 7, "elezi": 6, "noris": 8, "ppal": 4, "thesis": 6}


@pytest.mark.parametrize("name", TABLES)
def test_printed_numbers_are_unchanged(name: str) -> None:
    content = (EXPERIMENTS / f"{name}.paper.csv").read_bytes()
    assert hashlib.sha256(content).hexdigest() == sums()[name]


@pytest.mark.skipif(PAPERS not in os.environ, reason=f"{PAPERS} does not name the folder of the given tables")
def test_printed_numbers_are_the_given_ones() -> None:
    given = {path.stem.replace("_", "/", 1): path.read_bytes() for path in Path(os.environ[PAPERS], "tables").iterdir()}
    assert given == {name: (EXPERIMENTS / f"{name}.paper.csv").read_bytes() for name in TABLES}


def test_every_paper_says_how_it_was_done() -> None:
    for paper in {name.split("/")[0] for name in TABLES}:
        text = (EXPERIMENTS / paper / "README.md").read_text()
        assert "## Protocol" in text and "leaves open" in text, paper
        for name in (name for name in TABLES if name.startswith(f"{paper}/")):
            number = name.split("/table")[1].replace("_", ".")
            assert re.search(rf"\b{re.escape(number)}\b", text), name


@pytest.mark.slow
def test_the_page_is_up_to_date_and_claims_nothing_that_is_not_so() -> None:
    tables = [table_status(name) for name in TABLES]
    assert {one.name: one.faults for one in tables if one.faults} == {}
    figures = [figure_status(name) for name in figure_names()]
    assert {one.name: one.faults for one in figures if one.faults} == {}
    assert STATUS.read_text() == markdown(tables, figures), "alpl-tables --write experiments/STATUS.md"


# --- what is wrong is found


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """A folder with a table of NORIS to spoil: its six rows are swept, a seventh, made up, is missing."""
    folder = tmp_path / "noris"
    folder.mkdir()
    for suffix in ("yaml", "paper.csv"):
        shutil.copy(EXPERIMENTS / "noris" / f"table5.{suffix}", folder)
    with (folder / "table5.paper.csv").open("a") as stream:
        stream.write("Sage,40%,65.00,0.10\n")
    path = folder / "table5.yaml"
    path.write_text(
        path.read_text().replace("  draws:", "  missing:\n    Sage: the acquisition is not there yet\n  draws:")
    )
    return tmp_path


def spoil(root: Path, suffix: str, old: str, new: str) -> tuple[str, ...]:
    path = root / "noris" / f"table5.{suffix}"
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
    return table_status("noris/table5", root).faults


def test_a_table_that_is_right_has_no_fault(table: Path) -> None:
    one = table_status("noris/table5", table)
    assert one.faults == () and one.num_runs == 18 and one.trial == "smoke_centernet"
    assert [row.name for row in one.rows if not row.methods] == ["Sage"]
    assert one.rows[0].methods == ("random",) and one.rows[-1].reason == "the acquisition is not there yet"
    assert one.compared == ("40%", "50%", "60%", "70%", "80%", "90%") and one.left_out == ()


@pytest.mark.parametrize(
    ("suffix", "old", "new", "fault"),
    [
        ("paper.csv", "90%,72.40,", "90%,72.40,\nNew,40%,1,", "row New can neither be run nor is it said why not"),
        ("yaml", "  missing:\n", "  missing:\n    DBAL: not yet\n", "row DBAL is said to be missing and is swept"),
        ("yaml", "    Sage:", "    COLD:", "COLD is named and is no printed row"),
        ("yaml", "cdal: CDAL", "cdal: CDAL-CS", "CDAL-CS is named and is no printed row"),
        ("yaml", "    cdal: CDAL\n", "    core_set: CDAL\n", "the sweep's method cdal is no row of the table"),
        ("yaml", "{1: 40%,", "{1: 41%,", "its experiment names a column that is not printed: 41%"),
        ("yaml", "  missing:\n", "  gain_over: {cdal: margin}\n  missing:\n",
         "margin, which cdal is told against, is not swept"),
        ("yaml", "table: noris/table5", "table: noris/table3",
         "its experiment is of another table: noris/table3, noris/table5.paper.csv"),
    ],
)  # fmt: skip
@pytest.mark.slow
def test_each_fault_is_found(table: Path, suffix: str, old: str, new: str, fault: str) -> None:
    assert fault in spoil(table, suffix, old, new)


def test_a_run_that_does_not_compose_is_a_fault() -> None:
    (job, *_) = jobs_of(["experiment=thesis/table5_1", "seed=0"])
    rows, faults = swept_rows([[*job, "method=telepathy"], [*job, "model.optimizer.momentun=1"]], joined_reports([{}]))
    assert rows == {} and len(faults) == 2
    assert all("does not compose: " in fault for fault in faults)
    assert "telepathy" in faults[0] and "momentun" in faults[1]


def test_reasons_of_a_table_without_an_experiment(table: Path) -> None:
    (table / "noris" / "table5.yaml").unlink()
    assert "row CALD can neither be run nor is it said why not" in table_status("noris/table5", table).faults
    reasons = table / "noris" / "missing.csv"
    reasons.write_text('table,row,reason\ntable5,*,"too, early"\ntable5,CALD,no CALD\ntable9,x,y\n')
    one = table_status("noris/table5", table)
    assert one.faults == () and one.num_runs == 0 and one.num_runnable == 0
    assert [row.reason for row in one.rows] == ["too, early"] * 4 + ["no CALD"] + ["too, early"] * 2
    reasons.write_text("table,row,reason\ntable5,COLD,no CALD\n")
    assert "COLD is named and is no printed row" in table_status("noris/table5", table).faults


@pytest.mark.slow
def test_reasons_beside_an_experiment_are_a_fault(table: Path) -> None:
    reasons = table / "noris" / "missing.csv"
    reasons.write_text("table,row,reason\ntable5,*,no\n")
    assert any("its reasons stand there" in fault for fault in table_status("noris/table5", table).faults)
    reasons.write_text("table,reason\ntable5,no\n")
    with pytest.raises(DataError, match="must have the columns table,row,reason"):
        missing_rows(table, "noris/table5")


# --- the page


MADE_UP = [
    TableStatus("a/table1", (RowStatus("X|Y", ("x", "y")), RowStatus("Z", (), "no z")), ("c",), ("d",), 6, "smoke", ()),
    TableStatus("a/table5_1", (RowStatus("W", (), "no w"),), (), ("c",), 0, "", ("a fault",)),
]


def test_the_page_says_it_all() -> None:
    page = markdown(MADE_UP).splitlines()
    assert "2 tables, 1 of them with an experiment; 1 of 3 rows can be run, 2 are missing." in page
    assert "| [a/table1](#atable1) | 1 of 2 | 6 | 1 of 2 |" in page
    assert "| [a/table5_1](#atable5_1) | 0 of 1 |  | none |" in page
    assert "`alpl +experiment=a/table1`, a trial: `alpl +experiment=a/table1 scale=smoke seed=0`" in page
    assert "Compared: c. Left out: d." in page
    assert "| X\\|Y | `method=x`, `method=y` |" in page and "| Z | missing: no z |" in page
    assert "No row can be run: no w." in page and "Fault: a fault" in page


def test_the_terminal_says_the_same_in_short() -> None:
    lines = terminal(MADE_UP).splitlines()
    assert lines[0] == "a/table1     1 of  2 rows  alpl +experiment=a/table1"
    assert [line.strip() for line in lines[1:]] == [
        "missing: Z: no z", "a/table5_1   0 of  1 rows  no experiment yet", "all rows missing: no w", "fault: a fault",
        totals(MADE_UP),
    ]  # fmt: skip


@pytest.mark.slow
def test_the_command_writes_and_checks_the_page(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = tmp_path / "page.md"
    cli(["thesis/table2_2", "--write", str(page)])
    assert capsys.readouterr().out.startswith("thesis/table2_2   8 of  9 rows  alpl +experiment=thesis/table2_2\n")
    cli(["thesis/table2_2", "--check", str(page)])
    page.write_text(page.read_text() + "more\n")
    with pytest.raises(SystemExit, match="1"):
        cli(["thesis/table2_2", "--check", str(page)])
    assert f"{page} is out of date: alpl-tables --write {page}" in capsys.readouterr().err
    with pytest.raises(SystemExit, match="2"):
        cli(["nori"])
    assert "TABLE must be a paper or a table, got nori" in capsys.readouterr().err


# --- figures


def test_experiments_of_figures_are_listed_with_what_they_draw() -> None:
    names = figure_names()
    assert {"almdn/figure4", "almdn/figure4_acquire", "elezi/table3"} <= set(names)
    assert "quickstart" not in names
    one = figure_status("elezi/table3")
    assert one.has_table and one.num_runs == 0 and one.faults == () and "Fig. 3" in one.draws


def test_a_figure_experiment_that_draws_nothing_or_something_unknown_is_a_fault(tmp_path: Path) -> None:
    (tmp_path / "almdn").mkdir()
    path = tmp_path / "almdn" / "figure4_acquire.yaml"
    path.write_text("report:\n  figures: [curvs]\n")
    faults = figure_status("almdn/figure4_acquire", tmp_path).faults
    assert "report.figures[0].draw: there is no figure 'curvs'; did you mean 'curves'?" in faults
    assert "it is of no printed table, and report.draws names no figure" in faults


def test_the_page_lists_figures() -> None:
    figures = [
        FigureStatus("a/figure1", "mAP|AP", ("Fig. 1", "Fig. 2"), False, 6, "smoke"),
        FigureStatus("a/table1", "x", ("Fig. 3",), True, 0, "smoke", ("a fault",)),
    ]
    page = markdown(MADE_UP, figures).splitlines()
    assert "| Fig. 1, Fig. 2 | `alpl +experiment=a/figure1` | 6 | mAP\\|AP |" in page
    assert "| Fig. 3 | `alpl +experiment=a/table1` | with its table | x |" in page
    assert "Fault: a/table1: a fault" in page
    lines = terminal(MADE_UP, figures).splitlines()
    assert "a/figure1   draws Fig. 1, Fig. 2  alpl +experiment=a/figure1" in lines
