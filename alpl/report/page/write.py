"""Write the report of one table: CSV and Markdown for machines and papers, figures, one page for people."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from alpl.errors import DataError
from alpl.machine.files import whole_file, write_text
from alpl.report.drawn.declared import declared_figures
from alpl.report.drawn.figures import draw_all, unknown_rows
from alpl.report.drawn.gallery import galleries
from alpl.report.drawn.material import Material, leading
from alpl.report.drawn.overlap import OverlapTable, overlap_csv, overlap_tables
from alpl.report.drawn.paper_overlap import compare_overlaps
from alpl.report.drawn.pseudo_labels import pseudo_csv, pseudo_points
from alpl.report.drawn.style import MOST_ROWS, line_styles
from alpl.report.judged.acquisitions import acquisition_tables
from alpl.report.judged.beside import compare
from alpl.report.judged.claims import judged_claims
from alpl.report.judged.comparison import Comparison, paper_csv
from alpl.report.judged.cost import cost_csv, cost_tables
from alpl.report.judged.derived import derived_tables
from alpl.report.judged.judging import with_verdicts
from alpl.report.judged.network_cost import network_cost_csv, network_costs
from alpl.report.page.acquisition_text import acquisition_csv, acquisition_markdown
from alpl.report.page.claims_text import claims_csv, claims_sheet
from alpl.report.page.measured_text import measured_sheet
from alpl.report.page.network_cost_text import cost_sheet
from alpl.report.page.page import Contents, render
from alpl.report.page.sheets import paper_sheet, sheet_latex, sheet_markdown, wide_sheet
from alpl.report.read.aggregate import Variant, group, is_named
from alpl.report.read.classes import class_tables, classes_csv
from alpl.report.read.data_sets import notes_on_data, told_apart
from alpl.report.read.measured import Measured, measured_path, read_measured
from alpl.report.read.metric_rows import with_metric_rows
from alpl.report.read.paper import PaperTable, paper_table, unknown_keys
from alpl.report.read.partial import gaps
from alpl.report.read.printed import Printed, read_printed
from alpl.report.read.split import split_runs
from alpl.report.read.tables import WideTable, long_csv, seconds_csv, terminal, wide_tables
from alpl.runs.results import RunResult


def write_report(table: str, runs: Sequence[RunResult], out: Path, experiments: Path | None = None) -> Path:
    """Write the report of one table; the same runs give the same bytes.

    Args:
        table: the table's name.
        runs: runs as :func:`alpl.runs.results.find_runs` gives them; those of other tables are left out.
        out: the folder to write into. Files of an earlier report are replaced, other files are left alone.
        experiments: where the papers' CSV files lie; the experiments that come with alpl if None.

    Returns:
        The page, ``out / "index.html"``.

    Raises:
        ValueError: there is no run of the table.
        DataError: the experiment's report declares something that there is not; nothing is written then.
    """
    chosen = _of_table(table, runs)
    about = paper_table(chosen)
    declared = declared_figures(about.figures)
    variants = group(chosen, tuple(about.rows))
    lines = with_metric_rows(variants, about.metric_rows, about.metric)
    tables = wide_tables(lines, about.metric)
    notes = [*(f"the experiment's report has an unknown key: {key}" for key in unknown_keys(chosen))]
    notes += notes_on_data([run for run in runs if run.table == table]) + _other_metrics(about, tables)
    classes = class_tables(variants, about.reference, notes)
    overlaps, costs = overlap_tables(variants, notes), cost_tables(wide_tables(variants, about.metric))
    comparisons, printed = _beside(about, lines, overlaps, experiments, notes)
    before = _measured(about, experiments, notes)
    values = [] if about.gain_over else [one for one in comparisons if one.is_main]
    styles = line_styles(_styled(lines, tables, about.reference))
    material = Material(
        tuple(tables), styles, tuple(classes), tuple(overlaps), tuple(values), notes, reference=about.reference
    )
    notes += unknown_rows(material, declared) if about.figures is not None else []
    figures = draw_all(material, declared)
    parts = galleries(variants, notes)
    acquisitions = acquisition_tables(tables, about.reference, notes)
    for figure in figures:
        with whole_file(out / figure.name, "wb") as stream:
            stream.write(figure.png)
    contents = Contents(
        runs=chosen,
        tables=tables,
        figures=figures,
        caption=about.caption,
        paper=comparisons,
        acquisitions=acquisitions,
        claims=judged_claims(about.claims, lines, about.metric),
        classes=classes,
        galleries=parts,
        costs=costs,
        network_costs=network_costs(about, variants, printed),
        measured=measured_sheet(before, printed) if before else None,
        partial=gaps(variants),
        notes=notes,
    )
    for name, text in _texts(contents, variants, overlaps).items():
        write_text(out / name, text)
    page = render(table, contents, out)
    write_text(out / "index.html", page)  # last: where the page is, the rest is too
    return out / "index.html"


def summary(runs: Sequence[RunResult]) -> str:
    """Give the wide tables as plain text, with how many runs are finished and why others failed.

    Args:
        runs: runs of one table or of several.
    """
    tables = sorted({run.table for run in runs})
    return "\n\n".join(_summary(table, _of_table(table, runs)) for table in tables)


def _styled(lines: Sequence[Variant], tables: Sequence[WideTable], reference: str | None) -> list[str]:
    """Order the labels for their looks: those that figures show first, as looks repeat.

    All data is a dotted level and comes last, so that it takes no color from the others.
    """
    shown = {label for table in tables for label in leading([table], reference)[:MOST_ROWS]}
    order = sorted(lines, key=lambda one: (one.is_all_data, one.label not in shown))
    return [variant.label for variant in order]


def _texts(contents: Contents, variants: Sequence[Variant], overlaps: Sequence[OverlapTable]) -> dict[str, str]:
    """Give the report's files of text by name; those that would be empty are not there."""
    tables, partial = contents.tables, contents.partial
    sheets = [wide_sheet(one) for one in tables] + [paper_sheet(one) for one in contents.paper]
    sheets += [cost_sheet(one) for one in contents.network_costs]
    sheets += [claims_sheet(contents.claims)] if contents.claims else []
    sheets += [contents.measured] if contents.measured else []
    lacking = ["## What the sweep lacks\n\n" + "".join(f"- {sentence}\n" for sentence in partial)] if partial else []
    texts = {
        "table.csv": long_csv(variants),
        "table.md": "\n".join([*map(sheet_markdown, sheets), *lacking]),
        "table.tex": "\n".join(["% needs \\usepackage{booktabs}", *map(sheet_latex, sheets)]),
        "seconds.csv": seconds_csv(variants),
    }
    if contents.acquisitions:
        texts["comparison.csv"] = acquisition_csv(contents.acquisitions)
        texts["comparison.md"] = acquisition_markdown(contents.acquisitions)
    if contents.paper:
        texts["paper.csv"] = paper_csv(contents.paper)
    if contents.claims:
        texts["claims.csv"] = claims_csv(contents.claims)
    if contents.costs:
        texts["cost.csv"] = cost_csv(contents.costs)
    if contents.network_costs:
        texts["network_cost.csv"] = network_cost_csv(contents.network_costs)
    if overlaps:
        texts["overlap.csv"] = overlap_csv(overlaps)
    if contents.classes:
        texts["classes.csv"] = classes_csv(contents.classes)
    if any(pseudo_points(one) for one in tables):
        texts["pseudo_labels.csv"] = pseudo_csv(tables)
    return texts


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
    return split_runs(told_apart(chosen), paper_table(chosen).split)


def _other_metrics(about: PaperTable, tables: Sequence[WideTable]) -> list[str]:
    """Say where the metric that the experiment names was not measured."""
    wanted = about.metric
    shown = {one.data: one.metric for one in tables if one.metric is not None}
    others = {data: metric for data, metric in shown.items() if wanted is not None and not is_named(metric, wanted)}
    return [f"{data}: no run measured {wanted}, so {metric} is shown" for data, metric in others.items()]


def _beside(
    about: PaperTable,
    variants: Sequence[Variant],
    overlaps: Sequence[OverlapTable],
    experiments: Path | None,
    notes: list[str],
) -> tuple[list[Comparison], Printed]:
    """Give ours beside the paper's numbers, and these; nothing where they cannot be read, which the notes then say."""
    if about.paper is None:
        return derived_tables(about, {}, variants), {}
    experiments = _folder(experiments)
    try:
        found = compare(about, variants, experiments) + compare_overlaps(about, overlaps, variants, experiments)
        printed = read_printed(experiments / about.paper)
        told = derived_tables(replace(about, gain_over={}), printed, variants)
        return [with_verdicts(one, about) for one in found + told], printed
    except DataError as error:
        notes.append(str(error))
        return [], {}


def _measured(about: PaperTable, experiments: Path | None, notes: list[str]) -> list[Measured]:
    """Give what was measured before; nothing where it cannot be read, which the notes then say."""
    if about.paper is None:
        return []
    try:
        return read_measured(measured_path(_folder(experiments) / about.paper))
    except DataError as error:
        notes.append(str(error))
        return []


def _folder(experiments: Path | None) -> Path:
    if experiments is not None:
        return experiments
    from alpl.config.compose import EXPERIMENTS  # here: a report without a paper needs no hydra

    return EXPERIMENTS
