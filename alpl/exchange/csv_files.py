"""Tasks and answers as a CSV file, for spreadsheets and scripts: a line an image, or a line a box."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping
from pathlib import Path

from alpl.errors import DataError
from alpl.exchange.answers import Answer
from alpl.exchange.tasks import Item, Reply, Task, Tasks, corners_of
from alpl.machine.cells import cell, name_cell, name_of
from alpl.machine.files import reading, whole_file

FILE = "tasks.csv"
NO_OBJECT = "(none)"
"""The label of an image on which there is no object, in a line without a box."""

_ABOUT = ("run", "cycle", "index", "image", "utility", "why", "predicted", "score", "label")
_BOX = ("x1", "y1", "x2", "y2", "difficult")
_BY = ("annotator", "seconds")


def write(tasks: Tasks, folder: Path, answers: Mapping[int, Answer]) -> None:
    """Write ``tasks.csv``. A person fills in the column ``label``; lines without one say nothing."""
    box = _BOX if tasks.kind == "boxes" else ()
    with whole_file(folder / FILE) as stream:
        writer = csv.DictWriter(stream, [*_ABOUT, *box, *_BY], lineterminator="\n", extrasaction="ignore")
        writer.writeheader()
        for task in tasks.tasks:
            writer.writerows(_lines(tasks, task, answers.get(task.index)))


def read(path: Path, tasks: Tasks) -> list[Reply]:
    """Read a CSV file with at least ``label`` and one of ``index`` and ``image``, and of boxes their four edges.

    An image is answered by the lines that have a label; its other lines, what a model had found, are no objects then.

    Raises:
        DataError: it is none.
    """
    found: list[tuple[int, dict[str, str]]] = []
    what = "a CSV file with the columns label, and index or image"
    with reading(path, what), path.open(encoding="utf-8-sig", newline="") as stream:
        reader = csv.DictReader(stream, strict=True)
        columns = set(reader.fieldnames or ())
        if "label" not in columns or not columns & {"index", "image"}:
            raise DataError(f"{path} must be {what}, got {sorted(columns)}")
        for line in reader:
            texts = {name: (value or "").strip() for name, value in line.items() if isinstance(name, str)}
            if texts["label"]:
                found.append((reader.line_num, texts))
    indices = {texts["image"]: texts["index"] for _, texts in found if texts.get("index") and texts.get("image")}
    grouped: dict[str, list[tuple[int, dict[str, str]]]] = {}
    for number, texts in found:  # further lines of an image may have its index or its name alone
        image = texts.get("image", "")
        grouped.setdefault(texts.get("index") or indices.get(image, f"{image}\0"), []).append((number, texts))
    return [_reply(path, lines, tasks) for lines in grouped.values()]


def _lines(tasks: Tasks, task: Task, answer: Answer | None) -> Iterator[dict[str, object]]:
    about: dict[str, object] = {
        "run": tasks.run,
        "cycle": tasks.cycle,
        "index": task.index,
        "image": name_cell(task.name),
        "utility": task.utility,
        "why": cell(tasks.why(task)),
    }
    items = task.predicted if answer is None else answer.items
    if answer is not None:
        about |= {"annotator": name_cell(answer.annotator), "seconds": answer.seconds}
    if not items:
        yield about | ({} if answer is None else {"label": NO_OBJECT})
    for item in items:
        name = name_cell(item.label)
        said = {"predicted": name, "score": item.score} if answer is None else {"label": name}
        edges = dict(zip(_BOX, item.box, strict=False)) if item.box else {}
        yield about | said | edges | {"difficult": int(item.difficult)}


def _reply(path: Path, lines: list[tuple[int, dict[str, str]]], tasks: Tasks) -> Reply:
    number, first = lines[0]
    place = f"{path}, line {number}"
    names, indices = ({line[name] for _, line in lines if line.get(name)} for name in ("image", "index"))
    name, index = next(iter(names), ""), next(iter(indices), "")
    about = {"name": name_of(name) if name else None, "run": first.get("run") or None}
    annotator = name_of(first.get("annotator", ""))
    try:
        if len(names) > 1:
            raise ValueError(f"the lines of an image must have one name, got {', '.join(map(repr, sorted(names)))}")
        position = _whole(index) if index else None
        seconds = float(first["seconds"]) if first.get("seconds") else None
        items = tuple(item for line in lines for item in _items(line[1], tasks))
        if not items and len(lines) > 1:
            raise ValueError(f"{NO_OBJECT} must be the one line of its image")
    except ValueError as error:
        return Reply(place, about["name"], None, about["run"], (), fault=str(error))
    return Reply(place, about["name"], position, about["run"], items, annotator, seconds)


def _whole(text: str) -> int:
    """Read an index; tables with empty cells are often written with 25.0 for 25."""
    try:
        return int(text.removesuffix(".0"))
    except ValueError:
        raise ValueError(f"index must be a whole number, got {text!r}") from None


def _items(line: Mapping[str, str], tasks: Tasks) -> list[Item]:
    """Give the one item of a line, or none where it says that there is none."""
    edges = [line.get(name, "") for name in _BOX[:4]]
    if tasks.kind == "classes":
        return [Item(name_of(line["label"]))]
    if line["label"] == NO_OBJECT and not any(edges):
        return []
    try:
        box = corners_of(edges)
    except ValueError:
        raise ValueError(f"x1, y1, x2 and y2 must be numbers, got {', '.join(map(repr, edges))}") from None
    mark = line.get("difficult", "") or "0"
    if mark not in ("0", "1"):
        raise ValueError(f"difficult must be 0 or 1, got {mark!r}")
    return [Item(name_of(line["label"]), box, difficult=mark == "1")]
