"""Progress that a person sees: a live line on a terminal, one line a finished stage in a log file."""

from __future__ import annotations

import logging
import os
import sys
import threading
import time
from typing import final

from rich.console import Console
from rich.status import Status

from alpl.machine.terminal import printable

log = logging.getLogger("alpl")

SWEEP_TOTAL = "ALPL_SWEEP_TOTAL"  # set by the sweep's start hook, inherited by its jobs


@final
class Progress:
    """Says which run of how many, cycle, stage and epoch is at work.

    On a terminal the current line is redrawn in place, and a line stays for every tested cycle and every stage of more
    than five seconds; elsewhere (a log file, a pipe) only these lines are written, and within a long stage a sign of
    life every ``heartbeat_s``: a thread gives it, as not every stage (a selection, say) comes by here while it works.
    The run's own log has every stage.

    Args:
        title: the run, e.g. "dispersion seed 0".
        number: which run of the sweep, from 0, or None outside a sweep.
        num_cycles: cycles of the run.
        quiet: write nothing (all processes but the first).
        heartbeat_s: seconds between signs of life away from a terminal.
    """

    def __init__(
        self, title: str, number: int | None, num_cycles: int, *, quiet: bool = False, heartbeat_s: float = 30.0
    ) -> None:
        total = os.environ.get(SWEEP_TOTAL)
        place = "" if number is None else f"run {number + 1}{'/' + total if total else ''} "
        self.prefix = printable(f"{place}{title}")
        self._num_cycles = num_cycles
        self._quiet = quiet
        self._heartbeat_s = heartbeat_s
        self._console = Console(stderr=True, highlight=False, soft_wrap=True)
        self._status: Status | None = None
        self._heart: threading.Thread | None = None
        self._closed = threading.Event()
        self._line = ""  # of the stage at work
        self._detail = ""
        self._began = self._beat = time.monotonic()

    def stage(self, cycle: int, stage: str) -> None:
        """Say that a stage begins."""
        self._show_life()
        self._began = time.monotonic()
        self._line = f"{self.prefix} | cycle {cycle + 1}/{self._num_cycles} | {stage}"
        self.within("")

    def within(self, detail: str) -> None:
        """Say how far the stage is, e.g. "epoch 3/30"."""
        self._detail = detail
        if self._status is not None:
            self._status.update(_escaped(f"{self._line} {detail}".rstrip()))

    def done(self, seconds: float, detail: str, *, shown: bool) -> None:
        """Say that the stage ended; on the console only where ``shown`` or where it took long."""
        line = f"{self._line} {detail} ({seconds:.1f} s)"
        self._line = ""
        if shown or seconds > 5:
            self.say(line)
        else:
            log.info(line)

    def say(self, text: str) -> None:
        """Write one line, to stay."""
        self._beat = time.monotonic()
        text = printable(text)
        log.info(text)
        if not self._quiet:
            self._console.print(_escaped(text))

    def close(self) -> None:
        """Remove the live line, and give no more signs of life."""
        self._closed.set()
        if self._status is not None:
            self._status.stop()
        if self._heart is not None:
            self._heart.join()

    def _show_life(self) -> None:
        """Begin with the live line, or the heartbeat; not before the first stage, as a run may be refused until then.

        A live line that nobody closes would stand in the way of the next run's.
        """
        if self._quiet or self._status is not None or self._heart is not None:
            return
        if self._console.is_terminal:
            self._status = self._console.status("")
            self._status.start()
        else:
            self._heart = threading.Thread(target=self._keep_beating, name="progress", daemon=True)
            self._heart.start()

    def _keep_beating(self) -> None:
        while not self._closed.wait(max(self._beat + self._heartbeat_s - time.monotonic(), 0.01)):
            now, line = time.monotonic(), self._line
            if now - self._beat < self._heartbeat_s:
                continue
            if line:
                self.say(f"{f'{line} {self._detail}'.rstrip()} ({now - self._began:.0f} s so far)")
            self._beat = now


def _escaped(text: str) -> str:
    return text.replace("[", r"\[")


def quiet_libraries() -> None:
    """Keep libraries' own chatter out of the progress: Lightning's device notes and hints that do not apply here."""
    for name in ("lightning.pytorch", "lightning.fabric", "pytorch_lightning"):
        logging.getLogger(name).setLevel(logging.WARNING)
    if not sys.warnoptions:
        import warnings

        # The loaders give whole batches by one index operation: workers would only add copies.
        warnings.filterwarnings("ignore", message=".*does not have many workers.*")
        # Small pools have fewer batches than Lightning's logging interval; nothing is logged by step.
        warnings.filterwarnings("ignore", message=".*number of training batches.*smaller than the logging interval.*")
        # The module keeps its partial functions for itself; they are in the run's config.
        warnings.filterwarnings("ignore", message=".*is an instance of `nn.Module`.*")
        # A frozen backbone is meant to be, and a pre-training validates nothing.
        warnings.filterwarnings("ignore", message=".*module.* in eval mode at the start of training.*")
        warnings.filterwarnings("ignore", message=".*`val_dataloader` but have no `validation_step`.*")
        # A login node has srun, too; a run there, or one of submitit's steps, needs no hint.
        warnings.filterwarnings("ignore", message=".*`srun` command is available.*")
        # torchvision and torch internals that Lightning 2.6 still calls
        warnings.filterwarnings("ignore", message=".*isinstance.treespec, LeafSpec.*")
