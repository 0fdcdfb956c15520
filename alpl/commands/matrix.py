"""`alpl-matrix`: every acquisition against every model and task: run at smoke scale, declared possible, or refused."""

from __future__ import annotations

import argparse
import datetime
import random
import sys
import tempfile
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TypeAlias

import torch
from hydra.errors import HydraException
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf, open_dict

from alpl.commands.matrix_cells import Cell, Column
from alpl.commands.matrix_page import write_pages
from alpl.commands.messages import one_line
from alpl.commands.one_run import run_experiment
from alpl.commands.sweep import compose_job
from alpl.config.compose import CONF
from alpl.errors import ConfigError
from alpl.experiment import Experiment, make_experiment
from alpl.machine.progress import quiet_libraries
from alpl.modules.base import AbstractTrainableModule
from alpl.predictions import Need
from alpl.preflight.checks import check_needs, check_rehearsal, missing_needs
from alpl.preflight.config import check_config

_Parts: TypeAlias = tuple[DictConfig, Experiment, AbstractTrainableModule]
_Made: TypeAlias = dict[tuple[str, ...], "_Parts | None"]

REMEDIES: Mapping[Need, tuple[str, ...]] = {
    Need.VIEWS: ("num_members=2",),
    Need.PREDICTED_LOSS: ("method=llal",),
    Need.FEATURES: ("model.features={_target_:alpl.modules.detection_features.RoiFeatures,level:1}",),
}
"""What gives a need that a model does not provide by itself, where the model takes it."""


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


def plan(names: Sequence[str], over: Sequence[Column]) -> list[Cell]:
    """Check every acquisition with every model as a run does before its training; nothing is trained."""
    leaves, cells = {}, []
    for name in names:
        try:
            leaves[name] = _leaf(name)
        except ConfigError as error:  # it is told more on the command line, for example which run to repeat
            cells += [Cell(name, column, "cannot", one_line(error)) for column in over]
    return cells + [cell for column in over for cell in _plan_column(leaves, column)]


def run_cell(cell: Cell, runs: Path) -> Cell:
    """Run a cell at smoke scale, its run folder in ``runs``."""
    begin = time.perf_counter()
    try:
        config = _config([*cell.overrides, "table=matrix", f"row={cell.acquisition}", f"paths.runs={runs}"])
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
    quiet_libraries()
    try:
        cells = plan(acquisitions(), columns())
        chosen = _chosen(options, cells)
    except ConfigError as error:
        print(f"alpl-matrix: error: {error}", file=sys.stderr)
        raise SystemExit(2) from None
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


def _plan_column(leaves: Mapping[str, DictConfig], column: Column) -> list[Cell]:
    """Check all acquisitions with one model."""
    made: _Made = {}
    return [_plan_cell(name, leaf, column, made) for name, leaf in leaves.items()]


def _plan_cell(name: str, leaf: DictConfig, column: Column, made: _Made) -> Cell:
    """Check the model as it is, then with what gives the needs that it does not provide."""
    missing, reason = _refusal(leaf, column, (), made)
    remedy = tuple(text for need, texts in REMEDIES.items() if need in missing for text in texts)
    if remedy and _remedied(column, remedy, made):
        missing, reason = _refusal(leaf, column, remedy, made)
    if not missing and not reason:
        return Cell(name, column, "declared", remedy=remedy)
    return Cell(name, column, "cannot", missing.names() if missing else reason)


def _refusal(leaf: DictConfig, column: Column, remedy: tuple[str, ...], made: _Made) -> tuple[Need, str]:
    """Give the needs that are not met, or the message of another check; nothing and "" where all pass."""
    parts = _remedied(column, remedy, made)
    assert parts is not None, "the caller asks only where the model takes the remedy"
    config, experiment, module = parts
    config.acquisition = OmegaConf.to_container(leaf, resolve=False)
    try:
        experiment = replace(experiment, acquisition=instantiate(config.acquisition, _convert_="all"))
        needs = experiment.acquisition.needs
        if missing := missing_needs(experiment, needs, module):
            return missing, ""
        check_needs(experiment, needs, module)
        check_rehearsal(experiment, needs, module, torch.arange(2))
    except ConfigError as error:
        return Need.NOTHING, one_line(error)
    return Need.NOTHING, ""


def _leaf(name: str) -> DictConfig:
    """Give the config of an acquisition, with all names in it checked."""
    config = _config([f"acquisition={name}"])
    check_config(config)
    leaf: DictConfig = config.acquisition
    return leaf


def _make(overrides: Sequence[str], like: _Parts | None = None) -> _Parts:
    """Make config, parts and module; with the data of other parts where it is the same."""
    config = _config([*overrides, "acquisition=random"])
    check_config(config)
    experiment = make_experiment(config)
    if like is not None and like[0].data == config.data:
        experiment = replace(experiment, data=like[1].data)
    else:
        experiment.data.prepare_data()
        experiment.data.setup("fit")
    return config, experiment, experiment.make_module(**experiment.data.module_arguments)


def _remedied(column: Column, remedy: tuple[str, ...], made: _Made) -> _Parts | None:
    """Make them with a remedy; None where the model does not take it. What was made before is made no second time."""
    if remedy not in made:
        try:
            made[remedy] = _make((*column.overrides, *remedy), made.get(()))
        except (ConfigError, HydraException):
            if not remedy:
                raise
            made[remedy] = None
    return made[remedy]


def _config(overrides: Sequence[str]) -> DictConfig:
    config = compose_job(overrides)
    with open_dict(config):
        del config["hydra"]
    return config


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
