"""Weights & Biases: one run per (row, seed), cycle metrics over the number of labeled images."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, final

import wandb

from alpl.loggers.base import X_AXIS, AbstractRunLogger


@final
class WandbRun(AbstractRunLogger):
    """One wandb run.

    The id follows from the run's key and ``resume="allow"``, so a killed run goes on in the same wandb run. Group is
    the table, job type the row. Test results and pool sizes have the axis ``labeled images``; what a fit logs has
    ``fit/epoch``, which counts through all cycles.

    Args:
        project: wandb project.
        entity: user or team; null for the account's default.
        mode: "offline" needs neither account nor network (``wandb sync`` uploads later); "online"; "disabled".
        tags: further tags.
    """

    def __init__(
        self,
        project: str = "alpl",
        entity: str | None = None,
        mode: Literal["offline", "online", "disabled"] = "offline",
        tags: tuple[str, ...] = (),
    ) -> None:
        self.project = project
        self.entity = entity
        self.mode = mode
        self.tags = tuple(tags)
        self._run: Any = None

    def start(self, description: Mapping[str, Any], folder: Path) -> None:
        """See the base class."""
        row, data, seed = description["row"], description["data"], description["seed"]
        keys = {"table": description["table"], "row": row, "data": data, "seed": seed}
        self._run = wandb.init(
            project=self.project,
            entity=self.entity,
            mode=self.mode,
            dir=str(folder),
            id=re.sub(r"[^\w-]", "-", f"{description['table']}-{row}-{data}-{seed}-{description['key']}"),
            name=f"{row} {data} seed {seed}",
            group=description["table"],
            job_type=row,
            tags=self.tags,
            config=keys | {"config": description["config"]},
            resume="allow",
            settings=wandb.Settings(silent=True, console="off"),
        )
        self._run.define_metric(X_AXIS)
        for pattern in ("test/*", "pool/*", "seconds/*"):
            self._run.define_metric(pattern, step_metric=X_AXIS)
        self._run.define_metric("fit/epoch")
        self._run.define_metric("fit/*", step_metric="fit/epoch")

    def log_epoch(self, cycle: int, epoch: int, values: Mapping[str, float]) -> None:
        """See the base class."""
        named = {f"fit/{name}": value for name, value in values.items()}
        self._run.log({"fit/epoch": epoch, "fit/cycle": cycle, **named})

    def log_cycle(self, cycle: int, num_labeled: int, values: Mapping[str, float]) -> None:
        """See the base class."""
        self._run.log({X_AXIS: num_labeled, "pool/cycle": cycle, "pool/num_labeled": num_labeled, **values})

    def finish(self, *, failed: bool) -> None:
        """See the base class."""
        self._run.finish(exit_code=1 if failed else 0)
