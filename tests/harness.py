"""Tries that must not change what a run leaves: kills, signals, faults of the system, bits that rot.

Each try begins with a run of its own, in processes that are forked from this one, which has imported all, disturbs it
at a random moment, and lets the same command end it. Then all that must not depend on disturbances is compared, byte
for byte, with an undisturbed run. Prints a table: kind, tries, held, failed; and what failed, with the seed of the try.

    python tests/harness.py --kind kill --tries 1000 [--seed 0] [--seconds 600]

- **kill**: SIGKILL at a random moment, up to twice.
- **signal**: INT, TERM or USR1 at a random moment, half of the times in a sweep of two runs; the command must end in
  ``SOON_S`` seconds, and begin no further run.
- **fault**: a write, a flush or a rename fails with ENOSPC or EIO, once or from then on.
- **bit_rot**: in a finished or a stopped run, a random file is changed: a bit, the end, a stretch. `alpl-status
  --check`, `alpl-report` and the same command must name it, or end with what an undisturbed run leaves.
"""

from __future__ import annotations

import argparse
import contextlib
import errno
import io
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import command

import alpl.commands.main
import alpl.commands.one_run
import alpl.commands.report
import alpl.commands.status
import alpl.report

COMMAND = ["acquisition=dispersion", "trainer.max_epochs=2", "schedule.cycles=1", "checkpoint_every_s=0", "grace_s=1"]
KINDS = ("kill", "signal", "fault", "bit_rot")
SOON_S = 5.0
HANGS_S = 120.0

# What differs by nature: seconds, names of processes, the folders' own paths.
_TIMED = {"journal.jsonl", "run.log", "environment.json", "cost.json", "lock", "config.yaml", "products.json"}
# What nothing is computed from.
_NOTES = {"run.log", "environment.json", "config.yaml", "lock", "error.txt", "slurm.jsonl"}


@dataclass(frozen=True)
class Ended:
    """A command that ended.

    Args:
        status: as a shell gives it, negative for a signal that killed it.
        said: both outputs.
        seconds: since the signal, where one was sent.
    """

    status: int
    said: str
    seconds: float = 0.0

    @property
    def is_told(self) -> bool:
        """Whether it ended as commands end, with lines and no traceback."""
        return self.status in (0, 1, 2) and "Traceback" not in self.said


def alpl_in(runs: Path, *overrides: str) -> Callable[[], None]:
    """The command, to be called in a child."""

    def call() -> None:
        sys.argv = ["alpl", *overrides, *COMMAND, f"paths.runs={runs}"]
        alpl.commands.main.cli()

    return call


def forked(call: Callable[[], None], disturb: Callable[[int], float] | None = None) -> Ended:
    """Call it in a child that writes to a file; ``disturb`` gets the child's id, and gives when it sent a signal."""
    with tempfile.TemporaryFile() as output:
        child = os.fork()
        if child == 0:
            os._exit(_called(call, output.fileno()))
        sent = disturb(child) if disturb else time.monotonic()
        while os.waitid(os.P_PID, child, os.WEXITED | os.WNOWAIT | os.WNOHANG) is None:
            if time.monotonic() - sent > HANGS_S:
                os.kill(child, signal.SIGKILL)
            time.sleep(0.005)
        seconds = time.monotonic() - sent
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        output.seek(0)
        return Ended(status, output.read().decode(errors="replace"), seconds)


def _called(call: Callable[[], None], output: int) -> int:
    os.dup2(output, 1)
    os.dup2(output, 2)
    sys.stdout, sys.stderr = (io.TextIOWrapper(io.FileIO(fd, "w"), write_through=True) for fd in (1, 2))
    try:
        call()
    except SystemExit as end:
        return int(end.code or 0)
    except BaseException:
        sys.excepthook(*sys.exc_info())  # type: ignore[arg-type]
        return 70
    return 0


def contents(runs: Path) -> dict[str, bytes]:
    """Every file of the runs that must not depend on what happened to them."""
    folders = [path.parent for path in sorted(runs.rglob("run.json"))]
    return {
        str(path.relative_to(runs)): path.read_bytes()
        for folder in folders
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name not in _TIMED
    }


def difference(runs: Path, whole: dict[str, bytes], apart: str = "") -> str:
    """Say what is not as in an undisturbed run, less one file; empty where nothing is."""
    found = contents(runs)
    names = sorted(name for name in found.keys() | whole.keys() if found.get(name) != whole.get(name) and name != apart)
    return f"not as undisturbed: {', '.join(names[:5])}" if names else ""


class Tries:
    """Tries of all kinds, against one undisturbed run and one undisturbed sweep."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.whole: dict[bool, dict[str, bytes]] = {}
        self.seconds: dict[bool, float] = {}
        self.reported: dict[str, bytes] = {}
        self.num_begun = 0  # runs, when the last signal was sent

    def prepare(self, *, sweep: bool) -> None:
        """Make the undisturbed run, or sweep, unless it is there."""
        if sweep in self.whole:
            return
        runs = self.folder / f"whole_{sweep}"
        begin = time.monotonic()
        done = command.alpl(runs, *_sweep(sweep), *COMMAND)  # here, so that the children find all imported
        assert done.status == 0, done.err
        self.whole[sweep] = contents(runs)
        self.seconds[sweep] = time.monotonic() - begin

    def kill(self, draw: random.Random, runs: Path) -> str:
        """SIGKILL at random moments."""
        self.prepare(sweep=False)
        for _ in range(draw.randint(1, 2)):
            forked(alpl_in(runs), self._after(draw, runs, signal.SIGKILL, sweep=False))
        return self._goes_on(runs, sweep=False)

    def signal(self, draw: random.Random, runs: Path) -> str:
        """A signal at a random moment."""
        sweep = draw.random() < 0.5
        self.prepare(sweep=sweep)
        number = draw.choice([signal.SIGINT, signal.SIGTERM, signal.SIGUSR1])
        ended = forked(alpl_in(runs, *_sweep(sweep)), self._after(draw, runs, number, sweep=sweep))
        return not_heeded(number, ended, _num_begun(runs) - self.num_begun) or self._goes_on(runs, sweep=sweep)

    def fault(self, draw: random.Random, runs: Path) -> str:
        """A write, a flush or a rename fails."""
        self.prepare(sweep=False)
        first, lasting = draw.randrange(150), draw.random() < 0.5
        code = draw.choice([errno.ENOSPC, errno.EIO])

        def call() -> None:
            with failing(runs, first, code, lasting=lasting):
                alpl_in(runs)()

        ended = forked(call)
        if not ended.is_told:
            return f"{errno.errorcode[code]} at {first} ({lasting=}) ended it with {ended.status}: {ended.said[-1500:]}"
        return self._goes_on(runs, sweep=False)

    def bit_rot(self, draw: random.Random, runs: Path) -> str:
        """A file changes."""
        self.prepare(sweep=False)
        disturb = None if draw.random() < 0.5 else self._after(draw, runs, signal.SIGKILL, sweep=False)
        forked(alpl_in(runs), disturb)
        before = self._report(runs)
        files = [path for path in sorted(runs.rglob("*")) if path.is_file() and path.stat().st_size]
        if not files:
            return ""
        path = draw.choice(files)
        how = rot(path, draw)
        rotten = path.read_bytes()
        what = f"{path.relative_to(runs)} ({how})"
        status, report = forked(_status_of(runs)), self._report(runs)
        for name, ended in (("status", status), ("report", report[0])):
            if not ended.is_told:
                return f"{what}: {name} ended with {ended.status}: {ended.said[-1500:]}"
        # a journal that lost its last lines is that of a run which was killed: both say that it is unfinished
        is_named = path.name in status.said or path.name in report[0].said
        is_named |= path.name == "journal.jsonl" and "unfinished" in status.said
        if report[1] != before[1] and not is_named and path.name not in _NOTES and report[0].status == 0:
            return f"{what}: the report is another, without a word: {report[0].said[-500:]}"
        again = forked(alpl_in(runs))
        if not again.is_told or again.status == 1:
            return f"{what}: the command ended with {again.status}: {again.said[-1500:]}"
        if again.status == 2:
            if path.name not in again.said or again.said.strip().count("\n"):
                return f"{what}: refused, and not by its name on one line: {again.said[-500:]}"
            _mend(path, again.said)
            again = forked(alpl_in(runs))
        if again.status:
            return f"{what}: mended as told, the command ended with {again.status}: {again.said[-1500:]}"
        is_left = path.exists() and path.read_bytes() == rotten
        is_apart = is_left and (is_named or path.name in _NOTES)
        # weights that were deleted as told are not made again where all that reads them is done
        is_apart |= _is_let_go(path)
        apart = str(path.relative_to(runs)) if is_apart else ""
        return _with(what, difference(runs, self.whole[False], apart))

    def _report(self, runs: Path) -> tuple[Ended, dict[str, bytes]]:
        """Report, and give what it measured."""
        with tempfile.TemporaryDirectory() as out:
            ended = forked(lambda: alpl.commands.report.cli([str(runs), "--out", out]))
            return ended, {str(path.relative_to(out)): path.read_bytes() for path in sorted(Path(out).rglob("*.csv"))}

    def _after(self, draw: random.Random, runs: Path, number: int, *, sweep: bool) -> Callable[[int], float]:
        """Give what sends a signal at a random moment, from the first word of the run on."""
        moment = draw.random()

        def disturb(child: int) -> float:
            end = time.monotonic() + HANGS_S
            before = _said(runs)
            while _said(runs) == before and not _is_over(child) and time.monotonic() < end:
                time.sleep(0.005)
            wait = time.monotonic() + moment * self.seconds[sweep]
            while time.monotonic() < wait and not _is_over(child):
                time.sleep(0.005)
            self.num_begun = _num_begun(runs)
            sent = time.monotonic()
            if not _is_over(child):
                os.kill(child, number)
            return sent

        return disturb

    def _goes_on(self, runs: Path, *, sweep: bool) -> str:
        ended = forked(alpl_in(runs, *_sweep(sweep)))
        if ended.status:
            return f"the same command did not go on: {ended.status}: {ended.said[-1500:]}"
        return difference(runs, self.whole[sweep])


def not_heeded(number: signal.Signals, ended: Ended, num_begun: int) -> str:
    """Say how a command did not heed a signal; empty where it did, or was at its end.

    Args:
        number: the signal.
        ended: how the command ended.
        num_begun: runs that it began after the signal.
    """
    # between two runs of a sweep nobody holds what is not on the disk, and the signals do what they always do
    allowed = {0, 128 + number, -number, 75 if number == signal.SIGUSR1 else 128 + number}
    if ended.status not in allowed or "Traceback" in ended.said:
        return f"{number.name} ended it with {ended.status}: {ended.said[-1500:]}"
    if num_begun > (ended.status != 0):  # it may have come while the next one was about to begin, which leaves then
        return f"{number.name} was swallowed: {num_begun} further runs began; {ended.status}: {ended.said[-1500:]}"
    if ended.seconds > SOON_S:
        return f"{number.name} was heeded after {ended.seconds:.1f} s, with {ended.status}"
    return ""


def _sweep(sweep: bool) -> list[str]:
    return ["-m", "seed=0,1"] if sweep else []


def _status_of(runs: Path) -> Callable[[], None]:
    return lambda: alpl.commands.status.cli([f"paths.runs={runs}", "--check"])


def _said(runs: Path) -> int:
    return sum(path.stat().st_size for path in runs.rglob("run.log"))


def _num_begun(runs: Path) -> int:
    return sum(1 for _ in runs.rglob("run.log"))


def _is_over(child: int) -> bool:
    return os.waitid(os.P_PID, child, os.WEXITED | os.WNOWAIT | os.WNOHANG) is not None


def _is_let_go(path: Path) -> bool:
    """Whether it is gone, and held weights of a cycle whose query has been chosen."""
    return path.name == "model.pt" and not path.exists() and (path.parent / "query.csv").exists()


def _with(what: str, fault: str) -> str:
    return f"{what}: {fault}" if fault else ""


def _mend(path: Path, said: str) -> None:
    """Do what the message says."""
    if "delete it and those behind it" in said:
        number = int(said.split("line ")[1].split()[0])
        lines = path.read_text(errors="replace").splitlines(keepends=True)
        path.write_text("".join(lines[: number - 1]))
    elif "delete the fit_*.ckpt" in said:
        for checkpoint in path.parent.glob("fit_*.ckpt"):
            checkpoint.unlink()
    else:
        path.unlink()


def rot(path: Path, draw: random.Random) -> str:
    """Change a file, and say how."""
    data = bytearray(path.read_bytes())
    place, how = draw.randrange(len(data)), draw.choice(["bit", "cut", "zeros", "noise", "empty"])
    if how == "bit":
        data[place] ^= 1 << draw.randrange(8)
    elif how == "cut":
        del data[place:]
    elif how == "empty":
        data.clear()
    else:
        end = min(len(data), place + draw.choice([1, 16, 4096]))
        data[place:end] = bytes(end - place) if how == "zeros" else draw.randbytes(end - place)
    path.write_bytes(data)
    return f"{how} at {place}"


@contextlib.contextmanager
def failing(runs: Path, first: int, code: int, *, lasting: bool) -> Iterator[None]:
    """Let a call that writes below a folder fail, counted from 0: opening a file, flushing it, renaming it."""
    calls = 0

    def fails(original: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
        nonlocal calls
        number, calls = calls, calls + 1
        if number == first or (lasting and number > first):
            raise OSError(code, os.strerror(code), str(arguments[0]) if isinstance(arguments[0], Path) else None)
        return original(*arguments, **options)

    def opened(path: Path, mode: str = "r", *arguments: Any, **options: Any) -> Any:
        if (mode[0] in "rb" and "+" not in mode) or runs not in path.parents:
            return plain_open(path, mode, *arguments, **options)
        return fails(plain_open, path, mode, *arguments, **options)

    plain_open, plain_replace, plain_fsync = Path.open, Path.replace, os.fsync
    Path.open = opened  # type: ignore[method-assign, assignment]
    Path.replace = lambda path, target: fails(plain_replace, path, target)  # type: ignore[method-assign]
    os.fsync = lambda number: fails(plain_fsync, number)
    try:
        yield
    finally:
        Path.open, Path.replace, os.fsync = plain_open, plain_replace, plain_fsync  # type: ignore[method-assign]


def run(kind: str, tries: int, seed: int, seconds: float = float("inf")) -> tuple[Counter[str], list[str]]:
    """Try until the number or the time is reached; give how often it held and failed, and what failed."""
    counts: Counter[str] = Counter()
    failed = []
    end = time.monotonic() + seconds
    with tempfile.TemporaryDirectory() as temporary:
        all_tries = Tries(Path(temporary))
        for number in range(seed, seed + tries):
            if time.monotonic() > end:
                break
            runs = Path(temporary) / f"{kind}_{number}"
            fault = getattr(all_tries, kind)(random.Random(number), runs)
            counts["failed" if fault else "held"] += 1
            if fault:
                failed.append(f"{kind}, seed {number}: {fault}")
                print(failed[-1], flush=True)
            shutil.rmtree(runs, ignore_errors=True)
    return counts, failed


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kind", choices=KINDS, nargs="*", default=list(KINDS))
    parser.add_argument("--tries", type=int, default=10, help="of each kind")
    parser.add_argument("--seed", type=int, default=0, help="of the first try; the others follow it")
    parser.add_argument("--seconds", type=float, default=float("inf"), help="of each kind, at most")
    options = parser.parse_args()
    table = {kind: run(kind, options.tries, options.seed, options.seconds)[0] for kind in options.kind}
    print(f"{'kind':8} {'tries':>6} {'held':>6} {'failed':>6}")
    for kind, counts in table.items():
        print(f"{kind:8} {counts.total():6} {counts['held']:6} {counts['failed']:6}")
    raise SystemExit(any(counts["failed"] for counts in table.values()))


if __name__ == "__main__":
    main()
