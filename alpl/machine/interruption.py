"""Signals: the run leaves at the next good moment, with a status that says why, and the same command goes on."""

from __future__ import annotations

import json
import logging
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType, TracebackType
from typing import Any, final

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback
from typing_extensions import Self

from alpl.errors import ConfigError
from alpl.machine.processes import rank

log = logging.getLogger("alpl")

LEFT = 75
"""Exit status of a run that left after a cluster's warning and can be taken up again (EX_TEMPFAIL of sysexits.h)."""

WARNINGS = (signal.SIGUSR1, signal.SIGUSR2)
STATUS = {signal.SIGUSR1: LEFT, signal.SIGUSR2: LEFT, signal.SIGTERM: 143, signal.SIGINT: 130}
"""What a run that left after a signal ends with."""

_SOON_S = 2.0  # after Ctrl-C or SIGTERM, for the batch at work to end
_AGAIN_S = 0.5  # between two attempts to leave in the middle: what an exception is raised into may swallow it
_LAST_TRY = 30  # of these attempts; then the process ends as if it were killed, from which a run goes on, too
_EVERY = 8  # batches between two looks at what the other processes heard
_KEY = "alpl/leave"


@final
class Interrupted(SystemExit):
    """The run left after a signal; what is done is on the disk."""

    def __init__(self, status: int = LEFT) -> None:
        super().__init__(status)


@final
class Interruption(Callback):
    """The one owner of the signals that end a run, while its block lasts.

    - **SIGUSR2 or SIGUSR1**, a cluster's warning (``sbatch --signal=USR2@120``): the run leaves when the epoch or the
      stage at work ends, with a fresh checkpoint, or after ``grace_s`` seconds with its last one. A handler that was
      there before, submitit's, is called when the block ends: it requeues.
    - **SIGTERM, SIGINT (Ctrl-C)**: the run leaves before the next batch, with its last checkpoint. A second Ctrl-C ends
      the process at once.
    - **SIGTERM within a SLURM job** comes from the cluster (preemption, requeue, scancel), which has decided what comes
      next and kills the job soon: every epoch ends with a checkpoint from then on, and the run goes on until it is
      killed. To leave would make a preempted job look failed, and a failed job is not requeued.

    It leaves by :class:`Interrupted`, raised between two batches or two stages. Where neither comes in time it is
    raised into whatever is at work, again and again until it is heeded: code that must not fail (a finalizer) swallows
    what is raised into it. Several processes (DDP) leave before the same batch, whoever of them heard.

    As a callback of every trainer it takes SIGTERM back, which Lightning takes whenever a trainer starts. Only the
    process itself hears. Workers of data loaders, which get the same signals, do nothing; but SIGTERM ends torch's: see
    :meth:`blamed`.

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
        self._heard: signal.Signals | None = None
        self._at_once = False
        self._num_tries = 0
        self._num_passes = 0  # over data, until now: equal in all processes
        self._process = os.getpid()
        self._previous: dict[signal.Signals, Any] = {}

    # --- asked by the run

    @property
    def leaving(self) -> bool:
        """Whether the run is to leave when its epoch or stage ends."""
        return self._heard is not None

    @property
    def status(self) -> int:
        """What the run is to end with when it leaves; 0 while it is not to."""
        return 0 if self._heard is None else STATUS[self._heard]

    def leave(self) -> None:
        """Leave, if a signal said so.

        Raises:
            Interrupted: it did.
        """
        if self.leaving:
            raise Interrupted(self.status)

    @contextmanager
    def blamed(self) -> Iterator[None]:
        """Leave, instead of failing, where an error comes after a signal: the same command shows it again if it is one.

        What a signal to the whole group breaks first (a data loader's worker) is an error in this process. Only for
        process 0: where another ends with an error, so must the group.

        Raises:
            Interrupted: an error came after a signal.
        """
        try:
            yield
        except Exception as error:
            if self._heard is not None and rank() == 0:
                log.info("after %s, which the run leaves for: %s: %s", self._heard.name, type(error).__name__, error)
                self.leave()
            raise

    def heeded(self) -> None:
        """Hear that the run is leaving: nothing is raised any more."""
        if self._heard is not None:
            signal.setitimer(signal.ITIMER_REAL, 0)

    # --- the block

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():  # no other thread may have signals
            self._previous = {number: signal.getsignal(number) for number in (*STATUS, signal.SIGALRM)}
            for number in STATUS:
                signal.signal(number, self._hear)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Give the signals back; after a warning, tell who heard it before."""
        self.heeded()
        for number, handler in self._previous.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
        before = self._previous.get(self._heard) if self._heard in WARNINGS else None
        self._previous = {}
        if isinstance(error, Interrupted) and callable(before):
            before(self._heard, None)

    # --- the signals

    def _hear(self, number: int, frame: FrameType | None) -> None:
        if os.getpid() != self._process:
            return
        heard = signal.Signals(number)
        self.ending = True
        if heard == signal.SIGTERM and _in_slurm_job():
            return
        if heard == signal.SIGINT and self._heard == signal.SIGINT:
            os._exit(STATUS[signal.SIGINT])
        if heard in WARNINGS:
            if self._heard is None:
                self._heard = heard
                self._insist_after(self.grace_s)
        else:
            self._heard, self._at_once = heard, True
            self._insist_after(_SOON_S)

    def _insist_after(self, seconds: float) -> None:
        signal.signal(signal.SIGALRM, self._time_is_up)
        signal.setitimer(signal.ITIMER_REAL, seconds, _AGAIN_S)

    def _time_is_up(self, number: int, frame: FrameType | None) -> None:
        if os.getpid() != self._process or self._heard is None:
            return
        self._at_once = True
        self._num_tries += 1
        if self._num_tries > _LAST_TRY:
            os._exit(self.status)
        if not torch.distributed.is_initialized():  # several processes leave together, between two batches
            raise Interrupted(self.status)

    # --- Lightning

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Begin to count batches."""
        self._begin_pass()

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Begin to count batches."""
        self._begin_pass()

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Begin to count batches."""
        self._begin_pass()

    def on_predict_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Begin to count batches."""
        self._begin_pass()

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """Leave, if it is to be now."""
        self._before_batch(batch_idx)

    def on_validation_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        """Leave, if it is to be now."""
        self._before_batch(batch_idx)

    def on_test_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        """Leave, if it is to be now."""
        self._before_batch(batch_idx)

    def on_predict_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        """Leave, if it is to be now."""
        self._before_batch(batch_idx)

    def _begin_pass(self) -> None:
        self._num_passes += 1
        if signal.SIGTERM in self._previous:
            signal.signal(signal.SIGTERM, self._hear)

    def _before_batch(self, batch: int) -> None:
        if not torch.distributed.is_initialized():
            if self._at_once:
                self.leave()
        elif batch % _EVERY == 0:
            self._agree(batch)

    def _agree(self, batch: int) -> None:
        """Leave before the batch that who heard first has named: one that no process can have begun by now.

        In training the processes are never further apart than a batch. In a test or a prediction they may be, but wait
        for each other only at its end.
        """
        store = torch.distributed.distributed_c10d._get_default_store()
        if self._at_once:
            told = json.dumps([self._num_passes, batch + 2 * _EVERY, self.status])
            store.compare_set(_KEY, "", told)
        if store.check([_KEY]):
            num_passes, last, status = json.loads(store.get(_KEY))
            if (self._num_passes, batch) >= (num_passes, last):
                raise Interrupted(status)


def _in_slurm_job() -> bool:
    """Whether a batch job's step started this process; a person's shell in an allocation is none."""
    return "SLURM_STEP_ID" in os.environ and os.environ.get("SLURM_JOB_NAME") not in ("bash", "interactive")
