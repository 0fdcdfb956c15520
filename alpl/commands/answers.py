"""`alpl-answers`: take a person's answers to what a run asks about; the same `alpl` command then goes on with it."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import final

from alpl.commands.messages import told
from alpl.errors import ConfigError
from alpl.exchange import FORMATS, Reply, Tasks, check_replies, export, read_answers, read_replies, write_answers
from alpl.exchange.answers import changed
from alpl.machine.terminal import printable
from alpl.runs.run_folder import RunFolder


@final
@dataclass(frozen=True)
class Taken:
    """What became of answers.

    Args:
        new: images that had no answer before.
        replaced: images whose answer is another now.
        left: images that are asked about and have none.
        asked: images that are asked about.
        empty: of the new and replaced answers, those that say that there is no object.
    """

    new: int
    replaced: int
    left: int
    asked: int
    empty: int = 0

    def __str__(self) -> str:
        kept = f"{self.new} new answers" + (f", {self.replaced} replaced" if self.replaced else "")
        kept += f", {self.empty} of them say that there is no object" if self.empty else ""
        if not self.asked:
            return f"{kept}; the run asks about nothing"
        if self.left:
            return f"{kept}; {self.left} of {self.asked} images are left to answer"
        return f"{kept}; all {self.asked} images are answered: the same alpl command goes on"


def open_run(path: Path) -> RunFolder:
    """Open a run's folder.

    Raises:
        ConfigError: it is none.
    """
    if not (path / "run.json").is_file():
        raise ConfigError(f"RUN must be the folder of a run, got {path}")
    return RunFolder(path)


def asked_by(folder: RunFolder) -> Tasks:
    """Give what a run asks about now, which may be answered already; no task where it does not wait.

    Raises:
        ConfigError: it has never asked.
        DataError: the tasks are broken.
    """
    waits = folder.waits_in
    cycles = sorted(path.parent for path in folder.path.glob("cycle_*/tasks.json"))
    if not cycles:
        raise ConfigError(f"RUN must be a run with oracle=person that has asked, got {folder.path}")
    if waits is None:
        return replace(Tasks.load(cycles[-1] / "tasks.json"), tasks=())
    return Tasks.load(folder.cycle(waits).tasks)


def take(folder: RunFolder, replies_to: Callable[[Tasks], Sequence[Reply]]) -> Taken:
    """Check answers and keep them with the run, all or none.

    Args:
        folder: of a run that nobody works on.
        replies_to: gives the answers to its tasks.

    Raises:
        ConfigError, DataError: see :func:`asked_by` and :func:`alpl.exchange.check_replies`.
        RunLockedError: the run is at work.
    """
    with folder.locked():
        tasks, earlier = asked_by(folder), read_answers(folder.answers)
        found = check_replies(replies_to(tasks), tasks, earlier)
        differing = changed(found, earlier)
        now = earlier | {index: found[index] for index in differing}
        if differing:
            write_answers(folder.answers, now)
    new = sum(index not in earlier for index in differing)
    left = sum(task.index not in now for task in tasks.tasks)
    empty = sum(not now[index].items for index in differing)
    return Taken(new, len(differing) - new, left, len(tasks.tasks), empty)


def cli(arguments: Sequence[str] | None = None) -> None:
    """Run the command; exit with 2 and one line where the run or a file is refused: then nothing was taken."""
    options = _parser().parse_args(arguments)
    with told("alpl-answers"):
        _run(options)


def _run(options: argparse.Namespace) -> None:
    folder = open_run(options.run)
    _check_export(options.export)  # before anything is taken
    if options.files:
        asks_empty = options.empty == "asked"

        def replies_to(tasks: Tasks) -> list[Reply]:
            replies = [reply for file in options.files for reply in read_replies(file, tasks)]
            return [reply for reply in replies if reply.items or reply.fault or not asks_empty]

        taken = take(folder, replies_to)
        print(printable(str(taken)))
    if options.export is not None:
        tasks = asked_by(folder)
        export(tasks, options.export, read_answers(folder.answers), tuple(options.format or ()) or None)
        print(printable(f"{len(tasks.tasks)} tasks: {options.export}"))
    elif not options.files:
        tasks, given = asked_by(folder), read_answers(folder.answers)
        print(Taken(0, 0, sum(task.index not in given for task in tasks.tasks), len(tasks.tasks)))


def _check_export(folder: Path | None) -> None:
    """Make sure that nothing is replaced.

    Raises:
        ConfigError: it is a file, or a folder that holds something.
    """
    if folder is not None and folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ConfigError(f"--export must be a new or an empty folder, got {folder}")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="alpl-answers",
        description="Take a person's answers to what a run asks about, of CSV, Label Studio's JSON, COCO, VOC, YOLO or "
        "CVAT for images 1.1. Images without an answer stay asked about.",
    )
    parser.add_argument("run", type=Path, metavar="RUN", help="the run's folder")
    parser.add_argument("files", nargs="*", type=Path, metavar="FILE", help="answers: files, or folders of VOC or YOLO")
    parser.add_argument(
        "--empty",
        choices=("answered", "asked"),
        default="answered",
        help="whether images that the files list without a box have no object, or stay asked about",
    )
    parser.add_argument("--export", type=Path, metavar="FOLDER", help="write the tasks again, with the answers so far")
    parser.add_argument("--format", action="append", choices=sorted(FORMATS), help="of --export; by default all")
    return parser


if __name__ == "__main__":
    cli()
