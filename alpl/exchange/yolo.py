"""Tasks and answers as YOLO's text files: a file an image, a line an object.

A line is ``class x y width height``, the center and the sides in shares of the image's; a sixth number is a model's
confidence: then the object is no answer. An empty file says that there is no object, no file says nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import yaml  # type: ignore[import-untyped, unused-ignore]

from alpl.errors import DataError
from alpl.exchange.answers import Answer
from alpl.exchange.tasks import Item, Reply, Task, Tasks
from alpl.machine.files import reading, write_text

FOLDER = "yolo"
_NAMES = ("classes.txt", "obj.names")  # of LabelImg, Label Studio and darknet, in their own order
_NO_LABELS = ("classes.txt", "notes.txt", "train.txt", "val.txt", "test.txt", "tasks.txt")


def write(tasks: Tasks, folder: Path, answers: Mapping[int, Answer]) -> None:
    """Write ``yolo/data.yaml``, ``yolo/labels``, and a list of why each image is asked about."""
    place = folder / FOLDER
    about = {"path": ".", "train": "../images", "names": dict(enumerate(tasks.classes))}
    write_text(place / "data.yaml", yaml.safe_dump(about, sort_keys=False, allow_unicode=True))
    (place / "labels").mkdir(exist_ok=True)
    for task in tasks.tasks:
        answer = answers.get(task.index)
        items = task.predicted if answer is None else answer.items
        if items or answer is not None:
            lines = [_line(item, task, tasks.classes) for item in items]
            write_text(place / "labels" / f"{task.stem}.txt", "".join(f"{line}\n" for line in lines))
    asked = [f"{task.name}\trun {tasks.run}, cycle {tasks.cycle}, index {task.index}" for task in tasks.tasks]
    reasons = [f"{line}, {tasks.why(task)}\n" for line, task in zip(asked, tasks.tasks, strict=True)]
    write_text(place / "tasks.txt", "".join(reasons))


def read(path: Path, tasks: Tasks) -> list[Reply]:
    """Read one file, or all below a folder.

    Classes are as its ``data.yaml`` names them, else its ``classes.txt`` or ``obj.names``, else as they were asked for.

    Raises:
        DataError: the folder holds none, or its ``data.yaml`` is broken.
    """
    folder = path if path.is_dir() else path.parent
    files = sorted(folder.rglob("*.txt")) if path.is_dir() else [path]
    files = [file for file in files if file.name not in _NO_LABELS]
    if not files:
        raise DataError(f"{path} must hold YOLO's text files, got none")
    names = _names(folder, tasks.classes)
    sizes = {task.stem: task for task in tasks.tasks}
    replies = [_reply(file, names, sizes.get(file.stem)) for file in files]
    return [reply for reply in replies if reply is not None]


def names_in(file: Path) -> tuple[str, ...]:
    """Read the class names of a ``data.yaml``: a list, or a mapping of numbers.

    Raises:
        DataError: it has none.
    """
    with reading(file, "names, as Ultralytics' data.yaml does"):
        names = yaml.safe_load(file.read_text(encoding="utf-8"))["names"]
        if isinstance(names, dict):
            names = [names[number] for number in range(len(names))]
        if not names or len({str(name) for name in names}) != len(names):
            raise ValueError(f"names must be different, at least one, got {names!r}")
        return tuple(str(name) for name in names)


def _names(folder: Path, classes: tuple[str, ...]) -> tuple[str, ...]:
    for place in (folder, folder.parent):
        if (place / "data.yaml").is_file():
            return names_in(place / "data.yaml")
        for file in (place / name for name in _NAMES):
            if file.is_file():
                with reading(file, "a class a line"):
                    return tuple(filter(None, map(str.strip, file.read_text(encoding="utf-8-sig").splitlines())))
    return classes


def _line(item: Item, task: Task, classes: tuple[str, ...]) -> str:
    assert item.box is not None, "the format is of boxes"
    x1, y1, x2, y2 = item.box
    numbers = [(x1 + x2) / 2 / task.width, (y1 + y2) / 2 / task.height]
    numbers += [(x2 - x1) / task.width, (y2 - y1) / task.height]
    numbers += [] if item.score is None else [item.score]
    return " ".join([str(classes.index(item.label)), *map(repr, numbers)])


def _reply(file: Path, names: tuple[str, ...], task: Task | None) -> Reply | None:
    if task is None:  # without its size nothing can be said: of an earlier cycle, or unknown, as whoever checks tells
        return Reply(str(file), file.stem, None, None, (), is_read=False)
    try:
        lines = [line.split() for line in file.read_text(encoding="utf-8").splitlines() if line.strip()]
        said = [words for words in lines if len(words) != 6]
        if lines and not said:
            return None
        items = tuple(_item(words, names, task) for words in said)
    except (OSError, ValueError) as error:
        return Reply(str(file), None, None, None, (), fault=" ".join(str(error).split()))
    return Reply(str(file), file.stem, None, None, items)


def _item(words: list[str], names: tuple[str, ...], task: Task) -> Item:
    if len(words) != 5 or not words[0].isdecimal() or int(words[0]) >= len(names):
        raise ValueError(f"a line must be a class in [0, {len(names)}) and four numbers, got {' '.join(words)[:80]!r}")
    x, y, width, height = (float(word) for word in words[1:])
    ends = (x - width / 2) * task.width, (y - height / 2) * task.height
    return Item(names[int(words[0])], (*ends, (x + width / 2) * task.width, (y + height / 2) * task.height))
