"""What another run chose, once more: one network's queries train another one (Choi et al. 2021, AL-MDN, Fig. 4)."""

from __future__ import annotations

from typing import final

import torch

from alpl.acquisition.base import AbstractAcquisition, Context, Query
from alpl.acquisition.recorded import RecordedRun
from alpl.errors import ConfigError


@final
class Replay(AbstractAcquisition):
    """The query of the same cycle of another run, which began with the same initial set.

    That run need not be finished: where its query is not there yet, this one ends with an error, and the same command
    goes on with it later.

    Args:
        runs: see :class:`alpl.acquisition.recorded.RecordedRun`.
        table: see there.
        row: see there.
        seed: see there.
        run: see there.

    Raises:
        ConfigError: there is no such run, or there are several.
    """

    can_rehearse = False

    def __init__(self, runs: str, table: str, row: str, seed: int, run: str = "*") -> None:
        self.run = RecordedRun(runs, table, row, seed, run)

    def select(self, context: Context) -> Query:
        """Give the recorded query, with its utilities.

        Raises:
            ConfigError: the other run has no such query, is of other data, another initial set or another budget.
        """
        cycle, folder = int(context.pool.cycle.max()), self.run.folder.path
        recorded = self.run.pool(cycle)
        if recorded.num_images != context.pool.num_images:
            raise ConfigError(
                f"the run that is followed must be of the same images, {folder} is of {recorded.num_images}, "
                f"here are {context.pool.num_images}"
            )
        if not torch.equal(recorded.cycle, context.pool.cycle):
            other = int((recorded.cycle != context.pool.cycle).sum())
            raise ConfigError(
                f"the run that is followed must have the same images labeled in cycle {cycle}, {folder} has other "
                f"ones: {other} images differ"
            )
        query = self.run.query(cycle)
        if len(query.index) != context.budget:
            raise ConfigError(f"schedule.budget must be {len(query.index)}, as in {folder}, got {context.budget}")
        return query
