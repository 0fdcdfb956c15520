"""`alpl-jobs`: the jobs of a sweep by number, for clusters whose jobs must not submit jobs: slurm/array.sbatch."""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Sequence

from alpl.commands.messages import told
from alpl.errors import ConfigError


def cli(arguments: Sequence[str] | None = None) -> None:
    """Run the command; exit with 2 and one line where the overrides are refused."""
    options = _parser().parse_intermixed_args(arguments)
    with told("alpl-jobs"):
        _run(options)


def left(overrides: Sequence[str]) -> list[int]:
    """Give the numbers of the jobs of ``alpl <overrides>`` that are neither done nor at work, and wait for nobody."""
    from alpl.commands.status import status_of

    return [
        number for number, job in enumerate(status_of(overrides)) if job.state not in ("done", "running", "waiting")
    ]


def as_range(numbers: Sequence[int]) -> str:
    """Write ascending numbers as ``sbatch --array`` reads them.

    >>> as_range([0, 1, 2, 5, 7, 8])
    '0-2,5,7-8'
    """
    spans: list[list[int]] = []
    for number in numbers:
        if spans and number == spans[-1][1] + 1:
            spans[-1][1] = number
        else:
            spans.append([number, number])
    return ",".join(str(first) if first == last else f"{first}-{last}" for first, last in spans)


def _run(options: argparse.Namespace) -> None:
    from alpl.commands.sweep import jobs_of

    overrides = [*(["-m"] if options.multirun else []), *options.overrides]
    if options.range:
        _print_range(left(overrides))
    elif options.run is not None:
        _run_job(jobs_of(overrides), options.run)
    else:
        for number, job in enumerate(jobs_of(overrides)):
            print(f"{number}  alpl {shlex.join(job)}")


def _print_range(numbers: Sequence[int]) -> None:
    """Print what is left; nothing, and status 1, where all runs are done or at work."""
    if not numbers:
        print("alpl-jobs: all runs are done or at work; alpl-status shows them", file=sys.stderr)
        raise SystemExit(1)
    print(as_range(numbers))


def _run_job(jobs: Sequence[Sequence[str]], number: int) -> None:
    """Run one job in this process, as the command `alpl` does."""
    from alpl.commands import main

    if not 0 <= number < len(jobs):
        raise ConfigError(f"--run must be the number of one of {len(jobs)} jobs, from 0, got {number}")
    sys.argv = ["alpl", *jobs[number]]
    main.cli()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="alpl-jobs",
        description="List the jobs of `alpl OVERRIDES`, give the numbers of those that are left, or run one by number.",
    )
    what = parser.add_mutually_exclusive_group()
    what.add_argument(
        "--range", action="store_true", help="numbers of the runs that are neither done nor at work, as 0-2,5"
    )
    what.add_argument("--run", type=int, metavar="NUMBER", help="run this job, or what is left of it")
    parser.add_argument("-m", "--multirun", action="store_true", help="as of alpl: the overrides are a sweep")
    parser.add_argument("overrides", nargs="*", metavar="OVERRIDES", help="as of alpl: +experiment=... seed=0,1")
    return parser


if __name__ == "__main__":
    cli()
