"""`alpl-matrix`: every acquisition against every model and task: run at smoke scale, declared possible, or refused."""

from __future__ import annotations

import argparse
import datetime
import random
import sys
import tempfile
import time
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from alpl.commands.matrix_cells import Cell, Column
from alpl.commands.matrix_page import write_pages
from alpl.commands.messages import one_line, told
from alpl.config.compose import CONF
from alpl.errors import ConfigError
from alpl.machine.progress import quiet_libraries


def acquisitions() -> list[str]:
    """Name the configs of all acquisitions."""
    return sorted(path.stem for path in (CONF / "acquisition").glob("*.yaml"))


def columns() -> list[Column]:
    """Give the small classifiers, and every detector that has a config for small scenes (``<detector>_tiny``)."""
    classifiers = ("digits_cnn", "small_cifar")
    detectors = sorted(path.stem for path in (CONF / "model").glob("*_tiny*.yaml"))
    digits = ("data=digits", "schedule=smoke", "trainer.max_epochs=2")
    return [
        *(Column("classification", model, (*digits, f"model={model}")) for model in classifiers),
        *(Column("detection", model, ("scale=smoke", f"model={model}")) for model in detectors),
    ]


def run_cell(cell: Cell, runs: Path) -> Cell:
    """Run a cell at smoke scale, its run folder in ``runs``."""
    from alpl.commands.matrix_plan import composed  # here: they bring torch, which --help needs not
    from alpl.commands.one_run import run_experiment

    begin = time.perf_counter()
    try:
        config = composed([*cell.overrides, "table=matrix", f"row={cell.acquisition}", f"paths.runs={runs}"])
        folder = run_experiment(config)
    except Exception as error:  # whatever it is, the page says it, and the other cells run
        return replace(cell, state="failed", reason=one_line(error))
    if not folder.is_finished:
        return replace(cell, state="failed", reason=f"the run in {folder.path} did not finish")
    return replace(cell, state="ran", seconds=time.perf_counter() - begin)


def sample(cells: Sequence[Cell], number: int, seed: int) -> list[Cell]:
    """Draw cells that can run.

    Raises:
        ConfigError: ``number`` is below 1 or exceeds them.
    """
    possible = [cell for cell in cells if cell.state == "declared"]
    if not 1 <= number <= len(possible):
        raise ConfigError(f"--sample must be in [1, {len(possible)}], got {number}")
    return random.Random(seed).sample(possible, number)


def cli(arguments: Sequence[str] | None = None) -> None:
    """Run the command; exit with 0, with 1 where a cell failed that should have run, with 2 where it is refused."""
    options = _parser().parse_args(arguments)
    from alpl.commands.matrix_plan import plan  # here: it brings torch, which --help needs not

    quiet_libraries()
    with told("alpl-matrix"):
        _run(options, plan(acquisitions(), columns()))


def _run(options: argparse.Namespace, cells: Sequence[Cell]) -> None:
    chosen = _chosen(options, cells)
    with tempfile.TemporaryDirectory() as temporary:
        done = {cell.overrides: run_cell(cell, options.runs or Path(temporary)) for cell in chosen}
    cells = [done.get(cell.overrides, cell) for cell in cells]
    for path in write_pages(cells, options.out):
        print(path)
    print(counts(cells))
    failed = [cell for cell in cells if cell.state == "failed"]
    for cell in failed:
        print(f"alpl-matrix: failed: alpl {' '.join(cell.overrides)}: {cell.reason}", file=sys.stderr)
    raise SystemExit(1 if failed else 0)


def counts(cells: Iterable[Cell]) -> str:
    """Count the cells by state, in one line."""
    states = [cell.state for cell in cells]
    parts = {"ran": "ran", "failed": "failed", "declared": "are declared and were not run", "cannot": "cannot"}
    shown = (f"{states.count(state)} {text}" for state, text in parts.items() if state in states)
    return f"{len(states)} cells: {', '.join(shown)}"


def _chosen(options: argparse.Namespace, cells: Sequence[Cell]) -> list[Cell]:
    if options.all:
        return [cell for cell in cells if cell.state == "declared"]
    if options.sample is None:
        return []
    seed = int(f"{datetime.date.today():%Y%m%d}") if options.seed is None else options.seed
    print(f"a sample of {options.sample} cells, --seed {seed}")
    return sample(cells, options.sample, seed)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="alpl-matrix",
        description="Write a page of every acquisition against every model and task. All cells are checked as a run "
        "checks itself before training; those that are asked for are run at smoke scale.",
    )
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("--plan", action="store_true", help="run none: say which are possible")
    which.add_argument("--sample", type=int, metavar="N", help="run N of the possible cells")
    which.add_argument("--all", action="store_true", help="run all possible cells")
    parser.add_argument("--seed", type=int, metavar="S", help="of the sample (default: the date, so a fresh one a day)")
    parser.add_argument("--out", type=Path, default=Path("matrix"), metavar="DIR", help="of the page (default: matrix)")
    parser.add_argument(
        "--runs", type=Path, metavar="DIR", help="keep the runs here, and go on with them (default: thrown away)"
    )
    return parser
