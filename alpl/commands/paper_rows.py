"""Which rows of the papers' tables can be run, and why the others cannot. Composes configs; runs nothing."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

from hydra import compose
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf, open_dict
from omegaconf.errors import OmegaConfBaseException

from alpl.commands.sweep import jobs_of
from alpl.config.compose import EXPERIMENTS
from alpl.config.composing import composing
from alpl.config.yaml_files import read_mapping
from alpl.errors import ConfigError, DataError
from alpl.machine.files import reading
from alpl.preflight.config import check_config
from alpl.report.read.paper import PaperTable, joined_reports
from alpl.report.read.printed import read_printed
from alpl.report.read.split import setting_of

PRINTED = ".paper.csv"
ALL_ROWS = "*"


@final
@dataclass(frozen=True)
class RowStatus:
    """One printed row.

    Args:
        name: as the paper has it.
        methods: ours that the experiment's sweep runs for it; empty where it cannot be run.
        reason: why it cannot be run; empty where it can, and (a fault) where nobody said.
    """

    name: str
    methods: tuple[str, ...]
    reason: str = ""


@final
@dataclass(frozen=True)
class TableStatus:
    """One printed table.

    Args:
        name: ``<paper>/<table>``, which is also its experiment's.
        rows: in the paper's order.
        compared: the paper's columns that ours are set beside.
        left_out: its other columns.
        num_runs: of the experiment's sweep; 0 where there is no experiment.
        trial: the ``scale`` of a trial.
        faults: what is claimed and not so, or so and not said.
    """

    name: str
    rows: tuple[RowStatus, ...]
    compared: tuple[str, ...]
    left_out: tuple[str, ...]
    num_runs: int
    trial: str
    faults: tuple[str, ...]

    @property
    def num_runnable(self) -> int:
        """Rows that can be run."""
        return sum(bool(row.methods) for row in self.rows)


def table_names(folder: Path = EXPERIMENTS) -> list[str]:
    """Name all printed tables, ``<paper>/<table>``, in order."""
    paths = folder.rglob(f"*{PRINTED}")
    return sorted(str(path.relative_to(folder)).removesuffix(PRINTED) for path in paths)


def table_status(name: str, folder: Path = EXPERIMENTS) -> TableStatus:
    """Compare what is printed with what the experiment sweeps, and with what is said to be missing.

    Args:
        name: ``<paper>/<table>``.
        folder: where the printed tables and the reasons lie; experiments are always those that come with alpl.

    Raises:
        ConfigError, DataError: the printed table, the list of reasons or the experiment cannot be read.
    """
    printed = read_printed(folder / f"{name}{PRINTED}")
    rows, columns = (tuple(dict.fromkeys(key[axis] for key in printed)) for axis in (0, 1))
    reasons = missing_rows(folder, name)
    if not (folder / f"{name}.yaml").exists():
        states = tuple(RowStatus(row, (), reasons.get(row, reasons.get(ALL_ROWS, ""))) for row in rows)
        return TableStatus(name, states, (), columns, 0, "", (*_unsaid(states), *_unknown(reasons, rows)))
    node = read_mapping(folder / f"{name}.yaml")
    table = report_of(node, folder / f"{name}.yaml")
    jobs = jobs_of([f"experiment={name}"])
    swept, faults = swept_rows(jobs, table)
    if reasons:
        faults.append("it has an experiment, so its reasons stand there and not in missing.csv")
    if table.paper != f"{name}{PRINTED}" or node.get("table") != name:
        faults.append(f"its experiment is of another table: {node.get('table')}, {table.paper}")
    states = tuple(RowStatus(row, tuple(swept.get(row, ())), table.missing.get(row, "")) for row in rows)
    faults += [*_unsaid(states), *_unknown(table.missing, rows), *_unknown(swept, rows)]
    compared, wrong = _compared(table, columns)
    left_out = tuple(column for column in columns if column not in compared)
    return TableStatus(name, states, compared, left_out, len(jobs), table.trial, (*faults, *wrong))


def report_of(node: Mapping[str, Any], path: Path) -> PaperTable:
    """Give what an experiment says about the paper's table.

    Raises:
        DataError: it is of another form; names the file.
    """
    try:
        return joined_reports([{} if node.get("report") is None else node["report"]])
    except DataError as error:
        raise DataError(f"{path}: {error}") from error


def missing_rows(folder: Path, name: str) -> dict[str, str]:
    """Read why rows of a table without an experiment cannot be run: row, or ``*`` for all others -> the reason.

    Raises:
        DataError: ``<paper>/missing.csv`` has other columns than table, row and reason.
    """
    path = (folder / name).parent / "missing.csv"
    if not path.exists():
        return {}
    with reading(path, "the columns table,row,reason"), path.open(encoding="utf-8", newline="") as stream:
        lines = list(csv.reader(stream))
    if not lines or lines[0] != ["table", "row", "reason"] or any(len(line) != 3 for line in lines):
        raise DataError(f"{path} must have the columns table,row,reason")
    return {row: reason for table, row, reason in lines[1:] if table == Path(name).name}


def swept_rows(jobs: Sequence[Sequence[str]], table: PaperTable) -> tuple[dict[str, list[str]], list[str]]:
    """Compose every run of a sweep, one seed of each.

    Args:
        jobs: the overrides of each run, as :func:`alpl.commands.sweep.jobs_of` gives them.
        table: what the experiment says about the paper's table.

    Returns:
        The paper's row -> our methods for it; and what is wrong with the sweep.
    """
    swept: dict[str, list[str]] = {}
    ran, faults = set(), []
    for job in _without_seeds(jobs):
        try:
            method, config = _composed(job)
        except (ConfigError, HydraException, OmegaConfBaseException) as error:
            faults.append(f"{' '.join(job)} does not compose: {' '.join(str(error).split())}")
            continue
        ran.add(method)
        further = [name for name, one in table.metric_rows.items() if one.row == method]
        named = [name for name in (method, *further) if name in table.rows]
        for name in named:  # a row, and those that are another metric of its runs
            methods = swept.setdefault(_row_of(table, name, config), [])
            methods += [method] if method not in methods else []
        if not named and method not in {*table.gain_over.values(), *table.unprinted}:
            faults.append(f"the sweep's method {method} is no row of the table")
    faults += [f"{base}, which {row} is told against, is not swept" for row, base in table.gain_over.items()
               if row in ran and base not in ran]  # fmt: skip
    return swept, faults


def swept_faults(jobs: Sequence[Sequence[str]]) -> list[str]:
    """Say which runs of a sweep do not compose, one seed of each."""
    faults = []
    for job in _without_seeds(jobs):
        try:
            _composed(job)
        except (ConfigError, HydraException, OmegaConfBaseException) as error:
            faults.append(f"{' '.join(job)} does not compose: {' '.join(str(error).split())}")
    return faults


def _composed(job: Sequence[str]) -> tuple[str, DictConfig]:
    """Give the row that a run goes by, and its checked config."""
    with composing():
        config = compose("config", list(job), return_hydra_config=True)
    method = str(config.row or config.hydra.runtime.choices.method)
    with open_dict(config):
        del config["hydra"]
    check_config(config)
    return method, config


def _row_of(table: PaperTable, method: str, config: DictConfig) -> str:
    if table.split is None:
        return table.rows[method]
    value = setting_of(OmegaConf.to_container(config, resolve=True), table.split.key)
    return table.rows[method].format(table.split.values.get(str(value), value))


def _without_seeds(jobs: Sequence[Sequence[str]]) -> list[list[str]]:
    """Keep the first job of those that differ in the seed alone."""
    first: dict[tuple[str, ...], list[str]] = {}
    for job in jobs:
        first.setdefault(tuple(text for text in job if not text.startswith("seed=")), list(job))
    return list(first.values())


def _compared(table: PaperTable, columns: Sequence[str]) -> tuple[tuple[str, ...], list[str]]:
    """Give the paper's columns that the report shows ours beside, and those named that are not printed."""
    if not table.by_cycle:
        named = tuple((table.by_setting.values if table.by_setting else table.columns).values())
    else:
        named = tuple(table.cycles.values()) or tuple(column for column in columns if column.startswith("cycle_"))
    named += tuple(column for further in table.metrics.values() for column in further.values())
    named += tuple(column for measure in table.derived for column in sorted(measure.printed))
    named += tuple(sorted(table.cost.columns)) if table.cost else ()
    named += tuple(table.overlap.columns.values()) if table.overlap else ()
    unknown = [f"its experiment names a column that is not printed: {name}" for name in named if name not in columns]
    return tuple(column for column in columns if column in named), unknown


def _unsaid(rows: Sequence[RowStatus]) -> list[str]:
    faults = [f"row {row.name} can neither be run nor is it said why not" for row in rows
              if not row.methods and not row.reason]  # fmt: skip
    return faults + [f"row {row.name} is said to be missing and is swept" for row in rows if row.methods and row.reason]


def _unknown(named: Mapping[str, Any], rows: Sequence[str]) -> list[str]:
    return [f"{name} is named and is no printed row" for name in named if name not in rows and name != ALL_ROWS]
