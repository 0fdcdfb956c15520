"""`alpl-workspace`: save a wandb workspace for every table found among run folders."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from alpl.commands.messages import told
from alpl.errors import ConfigError
from alpl.machine.extras import installing
from alpl.machine.files import write_text
from alpl.runs.results import RunResult, find_runs

if TYPE_CHECKING:
    from alpl.loggers.workspace import Logged


def cli(arguments: Sequence[str] | None = None) -> None:
    """Run the command; exit with 2 and one line where there is nothing to show or nobody is logged in."""
    options = _parser().parse_args(arguments)
    with told("alpl-workspace"):
        _run(options)


def _run(options: argparse.Namespace) -> None:
    runs = _chosen(options)
    try:
        from alpl.loggers.workspace import find_logged
    except ImportError as error:
        raise ConfigError(f"the extra wandb is missing: {installing('wandb')}: {error}") from error
    tables = find_logged(runs)
    if options.out is None:
        _save(tables, options.entity, options.project)
    else:
        _write(tables, options.entity, options.project, options.out)


def _chosen(options: argparse.Namespace) -> list[RunResult]:
    runs = find_runs(options.runs)
    tables = sorted({run.table for run in runs})
    if not runs:
        places = " ".join(str(path) for path in options.runs)
        raise ConfigError(f"RUNS must hold run folders (with a run.json), got none in {places}")
    if options.table is not None and options.table not in tables:
        raise ConfigError(f"--table must be one of {', '.join(tables)}, got {options.table}")
    return [run for run in runs if options.table in (None, run.table)]


def _write(tables: Sequence[Logged], entity: str | None, project: str, out: str) -> None:
    """Write the specs as JSON, without network."""
    from alpl.loggers.workspace import make_workspace, spec

    specs = [spec(make_workspace(logged, entity or "", project)) for logged in tables]
    text = json.dumps(specs, indent=2) + "\n"
    if out == "-":
        print(text, end="")
    else:
        write_text(Path(out), text)
        print(out)


def _save(tables: Sequence[Logged], entity: str | None, project: str) -> None:
    """Save to the account, a new view each; print their addresses."""
    import wandb

    from alpl.loggers.wandb_run import nobody_to_ask
    from alpl.loggers.workspace import make_workspace

    try:
        with nobody_to_ask():
            owner = entity or str(wandb.Api().default_entity)
            for logged in tables:
                print(make_workspace(logged, owner, project).save().url)
    except wandb.errors.UsageError as error:
        raise ConfigError(
            "nobody is logged in: run `wandb login`, or set WANDB_API_KEY; --out FILE needs no account"
        ) from error
    except (wandb.errors.Error, OSError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise ConfigError(f"wandb refused (has {project} a run yet? see `wandb sync`): {reason}") from error


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="alpl-workspace",
        description="Save a wandb workspace for every table and data set found among run folders: acquisitions over "
        "labeled images, best and last, seconds by stage, average precision by class. The runs themselves are "
        "uploaded by wandb (logger.mode=online, or wandb sync).",
    )
    parser.add_argument(
        "runs", nargs="*", type=Path, default=[Path("runs")], metavar="RUNS", help="folders of runs (default: runs)"
    )
    parser.add_argument("--table", metavar="NAME", help="only this table, for example thesis/table3_1")
    parser.add_argument("--entity", metavar="NAME", help="user or team (default: the account's own)")
    parser.add_argument("--project", metavar="NAME", default="alpl", help="wandb project (default: alpl)")
    parser.add_argument(
        "--out", metavar="FILE", help="write the specs as JSON instead, without account or network; - prints them"
    )
    return parser
