"""Signals of a cluster that the time is up: the run leaves at the next good moment, and the same command goes on."""

from __future__ import annotations

import os
import signal
import threading
from types import FrameType, TracebackType
from typing import Any, final

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback
from typing_extensions import Self

from alpl.errors import ConfigError

LEFT = 75
"""Exit status of a run that left before its end and can be taken up again (EX_TEMPFAIL of sysexits.h)."""

WARNINGS = (signal.SIGUSR1, signal.SIGUSR2)


@final
class Interrupted(SystemExit):
    """The run left after a warning; what is done is on the disk."""

    def __init__(self) -> None:
        super().__init__(LEFT)


@final
class Interruption(Callback):
    """The one owner of the signals by which a cluster ends a job, while its block lasts.

    - **SIGUSR2 or SIGUSR1**, the warning (``sbatch --signal=USR2@120``): the run leaves when the epoch or the stage at
      work ends, with a fresh checkpoint, or after ``grace_s`` seconds with its last one. It leaves by
      :class:`Interrupted`; a handler that was there before, submitit's, is called when the block ends: it requeues.
    - **SIGTERM** within a SLURM job comes from the cluster (preemption, requeue, scancel), which has decided what comes
      next and kills the job soon: every epoch ends with a checkpoint from then on, and the run goes on until it is
      killed. To leave would make a preempted job look failed, and a failed job is not requeued. Elsewhere SIGTERM stays
      Lightning's: the run ends after the batch.

    As a callback of every trainer it takes SIGTERM back, which Lightning takes whenever a trainer starts.
    Only the process itself hears: workers of data loaders, which get the same signals, do nothing.

    Args:
        grace_s: seconds that an epoch may go on after the warning; less than the cluster's own between the warning
            and the end.

    Raises:
        ConfigError: ``grace_s`` is no number above 0.
    """

    def __init__(self, grace_s: float = 60.0) -> None:
        if isinstance(grace_s, bool) or not isinstance(grace_s, (int, float)) or grace_s <= 0:
            raise ConfigError(f"grace_s must be a number of seconds > 0, got {grace_s!r}")
        self.grace_s = grace_s
        self.ending = False
        self.leaving = False
        self._warning = signal.SIGUSR2
        self._process = os.getpid()
        self._previous: dict[signal.Signals, Any] = {}

    # --- asked by the run

    def leave(self) -> None:
        """Leave, if a warning came.

        Raises:
            Interrupted: it did.
        """
        if self.leaving:
            raise Interrupted

    # --- the block

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():  # no other thread may have signals
            signals = [*WARNINGS, signal.SIGALRM, *([signal.SIGTERM] if _in_slurm_job() else [])]
            self._previous = {number: signal.getsignal(number) for number in signals}
            for number in signals:
                if number != signal.SIGALRM:  # taken when it is needed
                    signal.signal(number, self._hear)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Give the signals back; after a warning, tell who heard it before."""
        if self.leaving:
            signal.setitimer(signal.ITIMER_REAL, 0)
        for number, handler in self._previous.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
        handler = self._previous.get(self._warning)
        self._previous = {}
        if isinstance(error, Interrupted) and callable(handler):
            handler(self._warning, None)

    # --- the signals

    def _hear(self, number: int, frame: FrameType | None) -> None:
        if os.getpid() != self._process:
            return
        self.ending = True
        if number in WARNINGS and not self.leaving:
            self.leaving, self._warning = True, signal.Signals(number)
            signal.signal(signal.SIGALRM, self._time_is_up)
            signal.setitimer(signal.ITIMER_REAL, self.grace_s)

    def _time_is_up(self, number: int, frame: FrameType | None) -> None:
        raise Interrupted

    # --- Lightning

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Take SIGTERM back."""
        self._take_back()

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Take SIGTERM back."""
        self._take_back()

    def on_predict_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Take SIGTERM back."""
        self._take_back()

    def _take_back(self) -> None:
        if signal.SIGTERM in self._previous:
            signal.signal(signal.SIGTERM, self._hear)


def _in_slurm_job() -> bool:
    """Whether a batch job's step started this process; a person's shell in an allocation is none."""
    return "SLURM_STEP_ID" in os.environ and os.environ.get("SLURM_JOB_NAME") not in ("bash", "interactive")
