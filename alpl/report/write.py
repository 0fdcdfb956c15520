"""Write the report of one table: CSV and Markdown for machines and papers, figures, one page for people."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from alpl.errors import DataError
from alpl.files import whole_file, write_text
from alpl.report.aggregate import Variant, group
from alpl.report.figures import draw_all
from alpl.report.page import render
from alpl.report.paper import Line, PaperTable, beside_paper, paper_csv, paper_table
from alpl.report.tables import long_csv, markdown, seconds_csv, terminal, wide_tables
from alpl.results import RunResult


def write_report(table: str, runs: Sequence[RunResult], out: Path, experiments: Path | None = None) -> Path:
    """Write the report of one table; the same runs give the same bytes.

    Args:
        table: the table's name.
        runs: runs as :func:`alpl.results.find_runs` gives them; those of other tables are left out.
        out: the folder to write into. Files of an earlier report are replaced, other files are left alone.
        experiments: where the papers' CSV files lie; the experiments that come with alpl if None.

    Returns:
        The page, ``out / "index.html"``.

    Raises:
        ValueError: there is no run of the table.
    """
    chosen = _of_table(table, runs)
    about = paper_table(chosen)
    variants = group(chosen, tuple(about.rows))
    tables = wide_tables(variants)
    notes: list[str] = []
    figures = draw_all(tables, notes)
    lines = _beside(about, variants, experiments, notes)
    for figure in figures:
        with whole_file(out / figure.name, "wb") as stream:
            stream.write(figure.png)
    write_text(out / "table.csv", long_csv(variants))
    write_text(out / "table.md", markdown(tables))
    write_text(out / "seconds.csv", seconds_csv(variants))
    if lines:
        write_text(out / "paper.csv", paper_csv(lines))
    page = render(table, chosen, tables, figures, about.caption, lines, notes, out)
    write_text(out / "index.html", page)  # last: where the page is, the rest is too
    return out / "index.html"


def summary(runs: Sequence[RunResult]) -> str:
    """Give the wide tables as plain text, with how many runs are finished and why others failed.

    Args:
        runs: runs of one table or of several.
    """
    tables = sorted({run.table for run in runs})
    return "\n\n".join(_summary(table, _of_table(table, runs)) for table in tables)


def _summary(table: str, runs: Sequence[RunResult]) -> str:
    finished = sum(run.status == "finished" for run in runs)
    parts = [f"{table}: {finished} of {len(runs)} runs are finished"]
    parts.append(terminal(wide_tables(group(runs, tuple(paper_table(runs).rows)))))
    if failed := [run for run in runs if run.status == "failed"]:
        lines = [f"failed: {run.row} on {run.data}, seed {run.seed}: {run.error}" for run in failed]
        parts.append("\n".join(lines))
    return "\n\n".join(parts)


def _of_table(table: str, runs: Sequence[RunResult]) -> list[RunResult]:
    chosen = [run for run in runs if run.table == table]
    if not chosen:
        found = sorted({run.table for run in runs})
        raise ValueError(f"runs must hold a run of table {table!r}, got {found}")
    return chosen


def _beside(about: PaperTable, variants: Sequence[Variant], experiments: Path | None, notes: list[str]) -> list[Line]:
    if about.paper is None:
        return []
    if experiments is None:
        from alpl.config import EXPERIMENTS  # here: a report without a paper needs no hydra

        experiments = EXPERIMENTS
    try:
        return beside_paper(about, variants, experiments)
    except DataError as error:
        notes.append(str(error))
        return []
