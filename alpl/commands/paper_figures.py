"""Which figures of the papers an experiment draws, and which experiments are of figures alone. Composes configs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

from alpl.commands.paper_rows import PRINTED, report_of, swept_faults
from alpl.commands.sweep import jobs_of
from alpl.config.compose import EXPERIMENTS
from alpl.config.yaml_files import read_mapping
from alpl.errors import DataError


@final
@dataclass(frozen=True)
class FigureStatus:
    """The figures of one experiment.

    Args:
        name: ``<paper>/<experiment>``.
        caption: what its numbers are.
        draws: the paper's figures, as the experiment names them.
        has_table: whether the paper prints numbers of it.
        num_runs: of its sweep, where it is of figures alone; a table's are told with the table.
        trial: the ``scale`` of a trial.
        faults: what is claimed and not so.
    """

    name: str
    caption: str
    draws: tuple[str, ...]
    has_table: bool
    num_runs: int
    trial: str
    faults: tuple[str, ...] = ()


def figure_names(folder: Path = EXPERIMENTS) -> list[str]:
    """Name the experiments that draw figures of a paper, or have no printed table, ``<paper>/<experiment>``.

    Those of claims are neither.
    """
    names = (str(path.relative_to(folder).with_suffix("")) for path in folder.glob("*/*.yaml"))
    return sorted(
        name for name in names if _draws(folder, name) or not (_has_table(folder, name) or _claims(folder, name))
    )


def figure_status(name: str, folder: Path = EXPERIMENTS) -> FigureStatus:
    """Say what an experiment draws, and whether it runs: every run of a sweep without a table is composed."""
    from alpl.report.drawn.declared import check_report  # here: plotting takes a second to import

    node = _node(folder, name)
    faults, num_runs = [], 0
    try:
        check_report(node.get("report") or {})
    except DataError as error:
        faults.append(str(error))
    table = report_of(node, folder / f"{name}.yaml")
    if not (has_table := _has_table(folder, name)):
        jobs = jobs_of([f"experiment={name}"])
        num_runs = len(jobs)
        faults += swept_faults(jobs)
        faults += [f"report.paper names {table.paper}, which there is not"] if table.paper is not None else []
        faults += [] if table.draws else ["it is of no printed table, and report.draws names no figure"]
    return FigureStatus(name, table.caption, table.draws, has_table, num_runs, table.trial, tuple(faults))


def figures_section(figures: Sequence[FigureStatus]) -> list[str]:
    """Give the part of the page that is about figures; nothing where there is none."""
    if not figures:
        return []
    lines = ["\n## Figures\n", "Of these no numbers are printed: the report draws ours, without verdicts.\n"]
    lines += ["| figures | experiment | runs | what it shows |", "| --- | --- | ---: | --- |"]
    for one in figures:
        runs = "with its table" if one.has_table else str(one.num_runs)
        cells = (", ".join(one.draws), f"`alpl +experiment={one.name}`", runs, one.caption)
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return lines + [f"\nFault: {one.name}: {fault}" for one in figures for fault in one.faults]


def _draws(folder: Path, name: str) -> bool:
    return bool(report_of(_node(folder, name), folder / f"{name}.yaml").draws)


def _claims(folder: Path, name: str) -> bool:
    return bool(report_of(_node(folder, name), folder / f"{name}.yaml").claims)


def _has_table(folder: Path, name: str) -> bool:
    return (folder / f"{name}{PRINTED}").exists()


def _node(folder: Path, name: str) -> dict[str, Any]:
    return read_mapping(folder / f"{name}.yaml")
