"""`alpl-tables`: the page that says which rows of which paper's table can be run."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from alpl.commands.messages import told
from alpl.commands.paper_figures import FigureStatus, figure_names, figure_status, figures_section
from alpl.commands.paper_rows import RowStatus, TableStatus, table_names, table_status
from alpl.errors import DataError
from alpl.machine.files import write_text

_INTRO = """\
# What of the papers' tables can be run

Made by `alpl-tables --write experiments/STATUS.md`, which composes every run of every sweep. A row can be run where
the sweep of its experiment runs it. That it can says nothing about its numbers: the report sets ours beside the
printed ones.
"""


def markdown(tables: Sequence[TableStatus], figures: Sequence[FigureStatus] = ()) -> str:
    """Give the page: one line a table, the figures, then each table with its rows."""
    lines = ["| table | rows that can be run | runs | columns compared |", "| --- | ---: | ---: | --- |"]
    for one in tables:
        cells = (f"[{one.name}](#{_anchor(one.name)})", f"{one.num_runnable} of {len(one.rows)}")
        columns = f"{len(one.compared)} of {len(one.compared) + len(one.left_out)}" if one.compared else "none"
        lines.append(_line(*cells, str(one.num_runs or ""), columns))
    sections = [*figures_section(figures), *(_section(one) for one in tables)]
    return "\n".join([_INTRO, f"{totals(tables)}\n", *lines, *sections]) + "\n"


def terminal(tables: Sequence[TableStatus], figures: Sequence[FigureStatus] = ()) -> str:
    """Give the same in short, as plain text."""
    width = max(len(name) for name in [*(one.name for one in tables), *(one.name for one in figures)])
    lines = []
    for one in tables:
        start = f"alpl +experiment={one.name}" if one.num_runs else "no experiment yet"
        lines.append(f"{one.name:{width}}  {one.num_runnable:2} of {len(one.rows):2} rows  {start}")
        lines += [f"{'':{width}}    {text}" for text in _why(one.rows)]
        lines += [f"{'':{width}}    fault: {fault}" for fault in one.faults]
    for figure in figures:
        runs = "" if figure.has_table else f"  alpl +experiment={figure.name}"
        lines.append(f"{figure.name:{width}}  draws {', '.join(figure.draws) or 'no figure of a paper'}{runs}")
        lines += [f"{'':{width}}    fault: {fault}" for fault in figure.faults]
    return "\n".join([*lines, *([totals(tables)] if tables else [])])


def totals(tables: Sequence[TableStatus]) -> str:
    """Count tables and rows in a sentence."""
    rows = [row for one in tables for row in one.rows]
    count = sum(bool(row.methods) for row in rows)
    with_experiment = sum(one.num_runs > 0 for one in tables)
    return (
        f"{len(tables)} tables, {with_experiment} of them with an experiment; "
        f"{count} of {len(rows)} rows can be run, {len(rows) - count} are missing."
    )


def cli(arguments: Sequence[str] | None = None) -> None:
    """Run the command; exit with 1 where something is claimed that is not so, or the checked page is out of date."""
    options = _parser().parse_args(arguments)
    with told("alpl-tables"):
        _run(options)


def _run(options: argparse.Namespace) -> None:
    names = [name for name in table_names() if _is_asked_for(name, options.tables)]
    drawn = [name for name in figure_names() if _is_asked_for(name, options.tables)]
    if not names and not drawn:
        raise DataError(f"TABLE must be a paper or a table, got {' '.join(options.tables)}")
    tables, figures = [table_status(name) for name in names], [figure_status(name) for name in drawn]
    print(terminal(tables, figures))
    if options.write is not None:
        write_text(options.write, markdown(tables, figures))
    is_old = options.check is not None and not _is_up_to_date(options.check, markdown(tables, figures))
    if is_old:
        print(f"alpl-tables: {options.check} is out of date: alpl-tables --write {options.check}", file=sys.stderr)
    if is_old or any(one.faults for one in tables) or any(one.faults for one in figures):
        raise SystemExit(1)


def _section(one: TableStatus) -> str:
    lines = [f"\n## {one.name}\n"]
    if one.num_runs:
        lines.append(
            f"`alpl +experiment={one.name}`, a trial: `alpl +experiment={one.name} scale={one.trial} seed=0`\n"
        )
        columns = f"Compared: {', '.join(one.compared) or 'no column'}."
        lines.append(columns + (f" Left out: {', '.join(one.left_out)}.\n" if one.left_out else "\n"))
    if len(reasons := {row.reason for row in one.rows}) == 1 and not one.num_runnable:
        lines.append(f"No row can be run: {reasons.pop()}.")
    else:
        lines += ["| row | |", "| --- | --- |"]
        lines += [_line(row.name, _methods(row) or f"missing: {row.reason}") for row in one.rows]
    lines += [f"\nFault: {fault}" for fault in one.faults]
    return "\n".join(lines)


def _why(rows: Sequence[RowStatus]) -> list[str]:
    """Group the rows that are missing by the reason."""
    by_reason: dict[str, list[str]] = {}
    for row in rows:
        if not row.methods:
            by_reason.setdefault(row.reason, []).append(row.name)
    if len(by_reason) == 1 and all(not row.methods for row in rows):
        return [f"all rows missing: {reason}" for reason in by_reason]
    return [f"missing: {', '.join(names)}: {reason}" for reason, names in by_reason.items()]


def _methods(row: RowStatus) -> str:
    return ", ".join(f"`method={method}`" for method in row.methods)


def _line(*cells: str) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _anchor(name: str) -> str:
    """The anchor that Markdown viewers make of a heading."""
    return name.lower().replace("/", "")


def _is_asked_for(name: str, asked: Sequence[str]) -> bool:
    return not asked or any(name == one or name.startswith(f"{one}/") for one in asked)


def _is_up_to_date(path: Path, page: str) -> bool:
    return path.is_file() and path.read_text(encoding="utf-8") == page


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="alpl-tables", description="Say which rows of which paper's table can be run, and why the others cannot."
    )
    parser.add_argument("tables", nargs="*", metavar="TABLE", help="papers or tables, for example thesis/table3_1")
    parser.add_argument("--write", type=Path, metavar="FILE", help="write the page as Markdown")
    parser.add_argument("--check", type=Path, metavar="FILE", help="exit with 1 if this page is out of date")
    return parser
