"""Weights & Biases: one run per (row, seed), cycle metrics over the number of labeled images."""

from __future__ import annotations

import hashlib
import io
import re
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, final

import wandb

from alpl.errors import ConfigError
from alpl.loggers.base import AbstractRunLogger
from alpl.loggers.points import RunPoints
from alpl.loggers.wandb_files import OfflinePieces
from alpl.loggers.wandb_points import define_axes, history_row, summary

_LONGEST = 64  # characters of a tag, and of an id that a person can read


@final
class WandbRun(AbstractRunLogger):
    """One wandb run, which holds what the run's folder holds: see alpl/loggers/wandb_points.py for names and axes.

    The id follows from the run's key and ``resume="allow"``, so a killed run goes on in the same wandb run. Each point
    is logged at its place in the folder's sequence (wandb's step); what the wandb run has already is not logged again,
    and what it lacks is read from the folder. A run stays in the mode that it began in. Group is the table, job type
    the row.

    Args:
        project: wandb project.
        entity: user or team; null for the account's default.
        mode: "offline" needs neither account nor network (``wandb sync`` uploads later); "online"; "disabled".
        tags: further tags, beside the data set.
        gallery: pictures of queried images that are logged in each cycle, 10 to 30 KB each; 0 for none.

    Raises:
        ConfigError: a value is unknown or out of range.
    """

    def __init__(
        self,
        project: str = "alpl",
        entity: str | None = None,
        mode: Literal["offline", "online", "disabled"] = "offline",
        tags: tuple[str, ...] = (),
        gallery: int = 0,
    ) -> None:
        if mode not in ("offline", "online", "disabled"):
            raise ConfigError(f"mode must be offline, online or disabled, got {mode!r}")
        if not all(isinstance(tag, str) and 0 < len(tag) <= _LONGEST for tag in tags):
            raise ConfigError(f"tags must be texts of 1 to {_LONGEST} characters, got {list(tags)}")
        if gallery < 0:
            raise ConfigError(f"gallery must be >= 0, got {gallery}")
        self.project = project
        self.entity = entity
        self.mode = mode
        self.tags = tuple(tags)
        self.gallery = gallery
        self._run: Any = None

    def start(self, description: Mapping[str, Any], folder: Path) -> None:
        """See the base class.

        Raises:
            ConfigError: online, and there is no login or no network.
        """
        run_id = wandb_id(description)
        pieces = OfflinePieces(folder, run_id) if self.mode == "offline" else None
        logged = pieces.next_step() if pieces else 0
        try:
            with nobody_to_ask():
                self._run = wandb.init(
                    project=self.project,
                    entity=self.entity,
                    mode=self.mode,
                    dir=str(folder),
                    id=run_id,
                    name=f"{description['row']} {description['data']} seed {description['seed']}",
                    group=description["table"],
                    job_type=description["row"],
                    tags=tuple(dict.fromkeys((description["data"][:_LONGEST], *self.tags))),
                    config=_config(description),
                    resume="allow",
                    settings=wandb.Settings(silent=True, console="off"),
                )
        except wandb.errors.UsageError as error:
            raise ConfigError(_refusal(error, "run `wandb login`, or set WANDB_API_KEY")) from error
        except wandb.errors.Error as error:
            raise ConfigError(_refusal(error, "is there a network?")) from error
        define_axes(self._run)
        self._points = RunPoints(folder)
        self._classes = tuple(description["classes"])
        self._pieces = pieces
        self._logged = logged if pieces else self._run.starting_step
        self.follow()

    def follow(self) -> None:
        """See the base class."""
        points = self._points.read()
        if self._pieces and len(points) > self._logged:
            self._pieces.note(len(points))
        for step in range(self._logged, len(points)):
            self._run.log(history_row(points[step], self._classes, self.gallery), step=step, commit=True)
        self._logged = max(self._logged, len(points))
        self._run.summary.update(summary(points))

    def finish(self, *, failed: bool) -> None:
        """See the base class."""
        if self._run is None:
            return
        if not failed:  # the end of the last cycle
            self.follow()
        self._run.finish(exit_code=1 if failed else 0)
        self._run = None


def wandb_id(description: Mapping[str, Any]) -> str:
    """Make the id of a run's wandb run: the same each time, and readable."""
    full = "-".join(str(description[name]) for name in ("table", "row", "data", "seed", "key"))
    readable = re.sub(r"[^\w-]", "-", full)
    if len(readable) <= _LONGEST and readable.count("-") == full.count("-"):
        return readable
    mark = hashlib.sha256(full.encode()).hexdigest()[:8]  # a/b and a-b, or two long names, must not become one
    return f"{readable[: _LONGEST - 18]}-{mark}-{description['key']}"


def _config(description: Mapping[str, Any]) -> dict[str, Any]:
    """Give what dashboards filter by at the top, and the whole content config below ``config``."""
    names = ("table", "row", "data", "seed", "key", "variant", "num_cycles")
    content = description["config"]
    kinds = {name: _kind(content[name]) for name in ("acquisition", "model")}
    return {name: description[name] for name in names} | kinds | {"config": content}


def _kind(node: Mapping[str, Any]) -> str:
    """Name a part of the config by its classes: its own, those of its network and backbone, and the backbone's name."""
    names = [str(node["_target_"]).rpartition(".")[2]]
    for part in ("network", "backbone"):
        if isinstance(node.get(part), Mapping):
            node = node[part]
            names.append(str(node["_target_"]).rpartition(".")[2])
    return " ".join([*names, str(node["name"])] if "name" in node else names)


@contextmanager
def nobody_to_ask() -> Iterator[None]:
    """Hide the terminal from wandb: without a login it must fail, not wait for an answer."""
    terminal, sys.stdin = sys.stdin, io.StringIO()
    try:
        yield
    finally:
        sys.stdin = terminal


def _refusal(error: Exception, hint: str) -> str:
    reason = " ".join(str(error).split())
    return f"logger.mode=online needs wandb's service ({reason}): {hint}, or take logger.mode=offline"
