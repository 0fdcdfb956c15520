"""A person for tests, who answers what a run asks about as the data's own labels say."""

import contextlib
import csv
import io
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
import torch
from command import Result, alpl
from hydra.utils import instantiate
from omegaconf import OmegaConf

from alpl.boxes.objects import Objects
from alpl.commands import answers
from alpl.commands.answers import asked_by
from alpl.exchange import Answer, Item, export
from alpl.runs.run_folder import RunFolder


def truth(run: Path) -> dict[int, Answer]:
    """Right answers to all that a run asks about now."""
    data = instantiate(OmegaConf.load(run / "config.yaml").data, _convert_="all")
    data.setup("fit")
    targets = data.take_targets()[1]
    tasks = asked_by(RunFolder(run))
    found = {}
    for task in tasks.tasks:
        target = targets[torch.tensor([task.index])][0]
        items = _items(target, data.classes) if isinstance(target, Objects) else (Item(data.classes[int(target)]),)
        found[task.index] = Answer(task.index, items, task.name, "me", 2.0)
    return found


def answer_file(run: Path, folder: Path, name: str = "csv", number: int | None = None) -> Path:
    """Write right answers to the first so many tasks in a format; give the file or folder."""
    places = {"csv": "tasks.csv", "label_studio": "label_studio.json", "cvat": "cvat.xml", "coco": "coco.json"}
    tasks, given = asked_by(RunFolder(run)), truth(run)
    kept = {task.index: given[task.index] for task in tasks.tasks[:number]}
    export(tasks, folder, kept, (name,))
    return folder / places.get(name, name)


def take(run: Path, *files: Path | str) -> tuple[int, str]:
    """Run alpl-answers; exit status and what it says."""
    out, status = io.StringIO(), 0
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(out):
        try:
            answers.cli([str(run), *map(str, files)])
        except SystemExit as end:
            status = int(end.code or 0)
    return status, out.getvalue()


def cycles_with_a_person(
    runs: Path, overrides: Sequence[str], formats: Sequence[str], folder: Path
) -> Iterator[Result]:
    """Run until the run has ended, answering with the formats one after the other; give each attempt."""
    for number in range(20):
        result = alpl(runs, *overrides)
        yield result
        if result.status != 3:
            return
        run = result.run_folder()
        status, said = take(run, answer_file(run, folder / str(number), formats[number % len(formats)]))
        assert status == 0, said
    pytest.fail("the run asks and asks")


def rows(path: Path) -> list[list[str]]:
    with path.open() as stream:
        return list(csv.reader(stream))


def _items(target: Objects, classes: Sequence[str]) -> tuple[Item, ...]:
    fields = zip(target.boxes.tolist(), target.labels.tolist(), target.difficult.tolist(), strict=True)
    return tuple(Item(classes[label], tuple(box), difficult=difficult) for box, label, difficult in fields)
