"""`alpl-status`: which runs (a sweep's, or all) are done, at work, failed, broken, waiting, unfinished, missing."""

from __future__ import annotations

import argparse
import fcntl
import json
import os
import struct
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal, TypeAlias, final, get_args

from alpl.commands.messages import one_line, told
from alpl.config.versions import canonical
from alpl.errors import ConfigError, DataError
from alpl.exchange import Tasks, read_answers
from alpl.machine.files import read_json
from alpl.machine.terminal import printable
from alpl.runs.artefacts import broken_notes, faults
from alpl.runs.fingerprint import read_fingerprint
from alpl.runs.journal import FILE as JOURNAL
from alpl.runs.journal import read_journal
from alpl.runs.results import RunResult, last_line, read_run
from alpl.runs.run_folder import RunFolder

State: TypeAlias = Literal["done", "running", "failed", "broken", "waiting", "unfinished", "missing"]
STATES: tuple[State, ...] = get_args(State)

# struct flock of fcntl(2): Linux begins with the type, macOS with the range
_FLOCK, _TYPE = ("qqihh", 3) if sys.platform == "darwin" else ("hhqqi0q", 0)


@final
@dataclass(frozen=True)
class JobStatus:
    """How far one run of a sweep came.

    Args:
        state: done; running (a living process holds its folder); failed; broken (a file is not what was written);
            waiting (for answers of a person); unfinished (stopped or killed: the same command goes on with it); missing
            (never begun).
        folder: where the run lies or will lie; None where its config is refused.
        detail: the last line of the error, what is broken, or the last stage that is done; empty where the state says
            all.
        data: which data a run is of: what tells them from others, and how many images and classes; empty where it has
            not noted that.
        overrides: with which `alpl` runs this job by itself; none where a run folder was found without its command.
    """

    state: State
    folder: Path | None
    detail: str
    overrides: tuple[str, ...]
    data: str = ""


def status_of(overrides: Sequence[str], *, with_old: bool = False) -> list[JobStatus]:
    """Give the status of every run of ``alpl <overrides>``, in the order of the sweep.

    Args:
        overrides: the command line.
        with_old: behind them also the runs of the same rows, data and seeds that none of them goes on with, as their
            config is another: of an earlier version, or edited since.

    Raises:
        ConfigError, HydraException: the command itself is refused; a job that is refused has failed.
    """
    from alpl.commands.run_names import runs_of
    from alpl.commands.sweep import jobs_of

    found: list[JobStatus] = []
    contents: dict[Path, dict[str, Any]] = {}
    jobs = jobs_of(overrides)
    for job, run in zip(jobs, runs_of(jobs), strict=True):
        if isinstance(run, Exception):
            found.append(JobStatus("failed", None, one_line(run), tuple(job)))
            continue
        folder, contents[run[0]] = run
        found.append(_status(folder, tuple(job)))
    old = {folder: one for one, content in contents.items() for folder in _begun_as(one) if folder not in contents}
    differs = {folder: _difference(folder, contents[one]) for folder, one in old.items()}
    for number, job_status in enumerate(found):
        if job_status.state == "missing" and (runs := [run for run, one in old.items() if one == job_status.folder]):
            detail = f"{runs[0].name} {differs[runs[0]]}; --old lists {_counted(len(runs))} of another config"
            found[number] = replace(job_status, detail=detail)
    if with_old:
        for folder in old:
            one = _status(folder, ())
            found.append(replace(one, detail="; ".join(filter(None, (differs[folder], one.detail)))))
    return found


def status_in(runs: Path) -> list[JobStatus]:
    """Give the status of every run folder below ``runs``, whatever command made it.

    Raises:
        ConfigError: there is none.
    """
    folders = list(_begun(runs))
    if not folders:
        raise ConfigError(f"paths.runs must hold run folders where no experiment is named, got none in {runs}")
    return [_status(folder, ()) for folder in folders]


def _status(folder: Path, overrides: tuple[str, ...]) -> JobStatus:
    state, detail = state_of(folder)
    return JobStatus(state, folder, detail, overrides, _data_of(folder))


def _begun_as(folder: Path) -> list[Path]:
    """List the runs that say what they are, of the same row, data and seed as a folder, whatever their key."""
    start = folder.name.rpartition("-")[0]
    beside = sorted(folder.parent.iterdir()) if folder.parent.is_dir() else []
    return [one for one in beside if one.name.rpartition("-")[0] == start and (one / "run.json").is_file()]


def _difference(folder: Path, content: Mapping[str, Any]) -> str:
    """Name in what the config of a run folder differs from another; of much the first."""
    from alpl.commands.planned import leaves

    try:
        old = leaves(canonical(read_json(folder / "run.json")["config"]))
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return "does not say its config"
    now = leaves(canonical(content))
    names = [name for name in sorted(old.keys() | now.keys()) if old.get(name) != now.get(name)]
    shown = ", ".join(f"{name}={old.get(name, 'absent')} (now {now.get(name, 'absent')})" for name in names[:3])
    return f"has {shown}" + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def state_of(folder: Path) -> tuple[State, str]:
    """Give the state of a run folder, which need not exist, and its detail."""
    run, fault = None, ""
    try:
        run = read_run(folder)
    except DataError as error:  # it failed or was stopped before it could say what it is, was never begun, or is broken
        fault = one_line(error) if (folder / "run.json").exists() else ""
    if is_held(folder / "lock"):
        return "running", _place(run) if run else ""
    if fault:
        return "broken", fault
    if run is None:
        return ("failed", last_line(folder / "error.txt")) if (folder / "error.txt").exists() else ("missing", "")
    if run.status == "finished":
        return "done", ""
    if run.status == "failed":
        return "failed", run.error or ""
    return ("waiting", waits) if (waits := _waits(folder)) else ("unfinished", _place(run))


def _waits(folder: Path) -> str:
    """Say what a run waits for; empty where it does not, or all answers are there."""
    run = RunFolder(folder)
    cycle = run.waits_in
    if cycle is None:
        return ""
    try:
        asked, given = Tasks.load(run.cycle(cycle).tasks), read_answers(run.answers)
    except DataError as error:
        return one_line(error)
    missing = sum(task.index not in given for task in asked.tasks)
    return f"for {missing} of {len(asked.tasks)} answers, cycle {cycle}" if missing else ""


def _data_of(folder: Path) -> str:
    try:
        fingerprint = read_fingerprint(folder)
    except DataError:  # a report does without it, too
        return ""
    return f"{fingerprint.identity}: {fingerprint.summary}" if fingerprint else ""


def checked(job: JobStatus) -> JobStatus:
    """Compare all that a run's stages wrote with its checksums, weights and predictions too, unless it is at work."""
    if job.folder is None or job.state in ("running", "missing", "broken"):
        return job
    found = [*map(str, faults(job.folder, read_journal(job.folder / JOURNAL))), *broken_notes(job.folder)]
    return replace(job, state="broken", detail="; ".join(found)) if found else job


def _begun(runs: Path) -> Iterator[Path]:
    """Walk the run folders; one that failed early has no run.json, but whoever begins a run locks its folder."""
    for folder, children, files in os.walk(runs):
        is_run = not {"run.json", "lock", "error.txt"}.isdisjoint(files)
        children[:] = [] if is_run else sorted(name for name in children if not name.startswith("."))
        if is_run:
            yield Path(folder)


def is_held(path: Path) -> bool:
    """Whether a living process holds the lock of a run folder; asks (F_GETLK), and never takes it.

    A process that asks about its own lock is told no, and loses it: for others only.

    Raises:
        ConfigError: the file system has no locks (Lustre mounted without ``flock``).
    """
    try:
        stream = path.open("rb")
    except FileNotFoundError:
        return False
    with stream:
        fields = [0] * 5
        fields[_TYPE] = fcntl.F_WRLCK
        try:
            answer = fcntl.fcntl(stream, fcntl.F_GETLK, struct.pack(_FLOCK, *fields))
        except OSError as error:
            raise ConfigError(f"paths.runs must lie where files can be locked ({error}): {path.parent}") from error
    return bool(struct.unpack(_FLOCK, answer)[_TYPE] != fcntl.F_UNLCK)


def summary(jobs: Sequence[JobStatus]) -> str:
    """Give a line a run, the data where there is more than one data set, and the counts."""
    places = [os.path.relpath(job.folder) if job.folder else " ".join(job.overrides) for job in jobs]
    width = max(len(place) for place in places)
    several = len({job.data for job in jobs if job.data}) > 1
    shown = ["; ".join(filter(None, (job.detail, f"data {job.data}" if several and job.data else ""))) for job in jobs]
    columns = zip(jobs, places, shown, strict=True)
    lines = [f"{job.state:10}  {place:{width}}  {text}".rstrip() for job, place, text in columns]
    counted = Counter(job.state for job in jobs)
    counts = ", ".join(f"{counted[state]} {state}" for state in STATES if counted[state])
    return "\n".join([*map(printable, lines), f"{_counted(len(jobs))}: {counts}"])


def _counted(number: int) -> str:
    return f"{number} {'run' if number == 1 else 'runs'}"


def as_json(jobs: Sequence[JobStatus]) -> str:
    """Give the same for programs."""
    counted = Counter(job.state for job in jobs)
    entries = [asdict(job) | {"folder": str(job.folder) if job.folder else None} for job in jobs]
    return json.dumps({"counts": {state: counted[state] for state in STATES}, "runs": entries}, indent=2)


def cli(arguments: Sequence[str] | None = None) -> None:
    """Run the command; exit with 0 when all runs are done, 1 when not, 2 and one line where it is refused."""
    options = _parser().parse_intermixed_args(arguments)
    with told("alpl-status"):
        _run(options)


def _run(options: argparse.Namespace) -> None:
    overrides = [f"experiment={text}" if _is_name(text) else text for text in options.overrides]
    if options.multirun or not all(text.startswith("paths.") for text in overrides):
        jobs = status_of([*(["-m"] if options.multirun else []), *overrides], with_old=options.old)
    elif options.old:
        raise ConfigError("--old needs the command of a sweep to compare with; without one all runs are listed")
    else:
        jobs = _all_jobs(overrides)
    if options.check:
        jobs = [checked(job) for job in jobs]
    print(as_json(jobs) if options.json else summary(jobs))
    raise SystemExit(0 if all(job.state == "done" for job in jobs) else 1)


def _all_jobs(overrides: Sequence[str]) -> list[JobStatus]:
    from alpl.commands.sweep import compose_job

    return status_in(Path(compose_job(overrides).paths.runs))


def _is_name(text: str) -> bool:
    """Whether a word is the name of an experiment: an override has an equals sign, or takes a default away."""
    return "=" not in text and not text.startswith("~")


def _place(run: RunResult) -> str:
    """Name the last stage that is done."""
    if not run.seconds:
        return f"no stage of {run.num_cycles} cycles is done"
    cycle, stage = list(run.seconds)[-1]  # in the order of the journal
    return f"{stage} of cycle {cycle} is done, the last cycle is {run.num_cycles - 1}"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="alpl-status",
        description="List the runs of a sweep, or where none is named all below paths.runs: done, running, failed "
        "(with the last line of the error), broken (a file is not what was written), unfinished, missing. The sweep's "
        "own command does what is left. Exit status 0: all are done; 1: not; 2: refused.",
        epilog="examples: alpl-status; alpl-status quickstart; alpl-status elezi/table1 method=random,elezi seed=0; "
        "alpl-status -m acquisition=random,entropy",
    )
    parser.add_argument("overrides", nargs="*", metavar="EXPERIMENT or OVERRIDE", help="as the command alpl takes them")
    parser.add_argument("-m", "--multirun", action="store_true", help="a sweep, as alpl -m is")
    parser.add_argument(
        "--check", action="store_true", help="compare all files of the runs with what was written, weights too"
    )
    parser.add_argument(
        "--old", action="store_true", help="also runs of the same rows and seeds whose config was another, and in what"
    )
    parser.add_argument("--json", action="store_true", help="for programs")
    return parser
