"""Write the report of one table: CSV and Markdown for machines and papers, figures, one page for people."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from alpl.errors import DataError
from alpl.files import whole_file, write_text
from alpl.report.aggregate import Variant, group
from alpl.report.classes import class_tables, classes_csv
from alpl.report.comparison import Comparison, compare, paper_csv
from alpl.report.figures import draw_all
from alpl.report.gallery import galleries
from alpl.report.page import Contents, render
from alpl.report.paper import PaperTable, paper_table, unknown_keys
from alpl.report.pseudo_labels import pseudo_csv, pseudo_points
from alpl.report.tables import WideTable, long_csv, markdown, seconds_csv, terminal, wide_tables
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
    tables = wide_tables(variants, about.metric)
    notes = [*(f"the experiment's report has an unknown key: {key}" for key in unknown_keys(chosen))]
    notes += _other_metrics(about, tables)
    classes = class_tables(variants, about.reference, notes)
    figures = draw_all(tables, classes, notes)
    comparisons = _beside(about, variants, experiments, notes)
    parts = galleries(variants, notes)
    for figure in figures:
        with whole_file(out / figure.name, "wb") as stream:
            stream.write(figure.png)
    write_text(out / "table.csv", long_csv(variants))
    write_text(out / "table.md", markdown(tables))
    write_text(out / "seconds.csv", seconds_csv(variants))
    if comparisons:
        write_text(out / "paper.csv", paper_csv(comparisons))
    if classes:
        write_text(out / "classes.csv", classes_csv(classes))
    if any(pseudo_points(one) for one in tables):
        write_text(out / "pseudo_labels.csv", pseudo_csv(tables))
    page = render(table, Contents(chosen, tables, figures, about.caption, comparisons, classes, parts, notes), out)
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
    about = paper_table(runs)
    parts.append(terminal(wide_tables(group(runs, tuple(about.rows)), about.metric)))
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


def _other_metrics(about: PaperTable, tables: Sequence[WideTable]) -> list[str]:
    """Say where the metric that the experiment names was not measured."""
    wanted = f"test/{about.metric}"
    others = [one for one in tables if about.metric is not None and one.metric not in (None, wanted)]
    return [f"{one.data}: no run measured {wanted}, so {one.metric} is shown" for one in others]


def _beside(
    about: PaperTable, variants: Sequence[Variant], experiments: Path | None, notes: list[str]
) -> list[Comparison]:
    if about.paper is None:
        return []
    if experiments is None:
        from alpl.config import EXPERIMENTS  # here: a report without a paper needs no hydra

        experiments = EXPERIMENTS
    try:
        return compare(about, variants, experiments)
    except DataError as error:
        notes.append(str(error))
        return []
