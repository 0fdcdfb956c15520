"""A person's answers: checked against what was asked, and kept for the whole run."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, final

import numpy as np

from alpl.errors import DataError
from alpl.exchange.tasks import Corners, Item, Reply, Task, Tasks
from alpl.machine.files import read_sealed, reading, write_sealed
from alpl.machine.terminal import printable

FILE = "answers.json"
"""In a run's folder all answers so far, in a cycle's those to its query."""

SLACK = 1.0  # pixels that a box may stick out, as of annotations that are read; it is clipped
_NUM_NAMED = 10  # problems that an error names one by one


@final
@dataclass(frozen=True)
class Answer:
    """What a person says about one image.

    Args:
        index: the dataset index.
        items: one class of the image, or any number of objects.
        name: of the image, as its task called it.
        annotator: who; empty where it is not known.
        seconds: that it took; None where it is not known.
    """

    index: int
    items: tuple[Item, ...]
    name: str
    annotator: str = ""
    seconds: float | None = None


def read_answers(path: Path) -> dict[int, Answer]:
    """Read answers by dataset index; none where there is no file.

    Raises:
        DataError: the file is broken.
    """
    if not path.exists():
        return {}
    content = read_sealed(path, "put it back from a copy, or delete it: then its images are asked about again")
    with reading(path, "answers"):
        answers = [
            Answer(int(index), tuple(map(Item.of_json, items)), str(name), str(annotator), _seconds(seconds))
            for index, items, name, annotator, seconds in content["answers"]
        ]
        return {answer.index: answer for answer in answers}


def write_answers(path: Path, answers: Mapping[int, Answer]) -> None:
    """Write them, whole, by ascending index."""
    rows = [
        [answer.index, [item.as_json() for item in answer.items], answer.name, answer.annotator, answer.seconds]
        for _, answer in sorted(answers.items())
    ]
    write_sealed(path, {"answers": rows})


def check_replies(replies: Iterable[Reply], tasks: Tasks, earlier: Mapping[int, Answer]) -> dict[int, Answer]:
    """Check what files say, and give it as answers.

    Args:
        replies: to any of the tasks; the same image twice is a problem where the two differ.
        tasks: what is asked now.
        earlier: answers of the run so far; what says again what was answered in an earlier cycle is passed over.

    Raises:
        DataError: an image is unknown or was asked by another run, a class is unknown, a box is outside of its image,
            or an answer is of the other kind; names the first ten, and nothing is to be taken.
    """
    desk = _Desk(tasks, earlier)
    found: dict[int, Answer] = {}
    problems: list[str] = []
    for reply in replies:
        try:
            answer = desk.answer(reply)
            if answer is not None and _says(found.setdefault(answer.index, answer)) != _says(answer):
                raise ValueError("the image has two answers that differ")
        except ValueError as error:
            problems.append(f"{reply.place}: {error}")
    if problems:
        rest = f"; and {len(problems) - _NUM_NAMED} more" if len(problems) > _NUM_NAMED else ""
        raise DataError(printable(f"nothing was taken: {'; '.join(problems[:_NUM_NAMED])}{rest}"))
    return found


def changed(new: Mapping[int, Answer], earlier: Mapping[int, Answer]) -> list[int]:
    """List the images whose answers differ from, or are not in, the earlier ones; who gave them does not count."""
    return [i for i, answer in new.items() if i not in earlier or _says(earlier[i]) != _says(answer)]


def clipped(box: Corners, task: Task) -> Corners:
    """Give a box within its image, in the float32 that training sees; shares of a size come back to it."""
    x1, y1, x2, y2 = box
    edges = max(x1, 0.0), max(y1, 0.0), min(x2, float(task.width)), min(y2, float(task.height))
    a, b, c, d = np.array(edges, dtype=np.float32).tolist()
    return a, b, c, d


class _Desk:
    """Turns replies into answers, or says what is wrong with them."""

    def __init__(self, tasks: Tasks, earlier: Mapping[int, Answer]) -> None:
        self.tasks = tasks
        self.by_index = {task.index: task for task in tasks.tasks}
        self.by_name = {task.name: task for task in tasks.tasks}
        self.by_stem = {task.stem: task for task in tasks.tasks}
        self.classes = frozenset(tasks.classes)
        past = [answer for index, answer in earlier.items() if index not in self.by_index]
        self.past = {answer.index: answer for answer in past}
        self.past_by_name = {Path(answer.name).stem: answer for answer in past}  # as some formats have it alone
        self.past_by_name |= {answer.name: answer for answer in past}

    def answer(self, reply: Reply) -> Answer | None:
        """Give the answer; None where an earlier cycle has it already.

        Raises:
            ValueError: it is wrong.
        """
        if reply.fault:
            raise ValueError(reply.fault)
        if reply.run is not None and reply.run != self.tasks.run:
            raise ValueError(f"the task is of another run ({reply.run}), not of this one ({self.tasks.run})")
        task, past = self._task(reply), self._past(reply)
        if task is None and past is not None:
            if reply.is_read and not _alike(past.items, reply.items):
                raise ValueError(f"image {past.name!r} was answered otherwise in an earlier cycle, and trained on")
            return None
        if task is None:
            which = repr(reply.name) if reply.index is None else str(reply.index)
            raise ValueError(f"there is no image {which} among the {len(self.tasks.tasks)} that are asked about")
        if reply.seconds is not None and not 0 <= reply.seconds < math.inf:  # False for NaN, too
            raise ValueError(f"seconds must be finite and at least 0, got {reply.seconds}")
        items = tuple(self._checked(item, task) for item in reply.items)
        if self.tasks.kind == "classes" and len(items) != 1:
            raise ValueError(f"an image must have one class, got {[item.label for item in items]}")
        return Answer(task.index, items, task.name, reply.annotator, reply.seconds)

    def _task(self, reply: Reply) -> Task | None:
        if reply.index is not None:
            task = self.by_index.get(reply.index)
            if task is not None and reply.name is not None and reply.name != task.name:
                raise ValueError(f"image {reply.index} is called {task.name!r}, not {reply.name!r}")
            return task
        name = reply.name or ""
        return self.by_name.get(name) or self.by_stem.get(name)

    def _past(self, reply: Reply) -> Answer | None:
        return self.past_by_name.get(reply.name or "") if reply.index is None else self.past.get(reply.index)

    def _checked(self, item: Item, task: Task) -> Item:
        if item.label not in self.classes:
            known = ", ".join(self.tasks.classes[:20]) + (" and others" if len(self.tasks.classes) > 20 else "")
            raise ValueError(f"there is no class {item.label!r}; the classes are {known}")
        if (item.box is None) != (self.tasks.kind == "classes"):
            what = "a class of the whole image" if self.tasks.kind == "classes" else "a box for each class"
            raise ValueError(
                f"an answer must be {what}, got {item.label!r} {'without' if item.box is None else 'with'} one"
            )
        box = None if item.box is None else _within(item.box, item.label, task)
        return replace(item, box=box, score=None)


def _within(box: Corners, label: str, task: Task) -> Corners:
    """Clip a box to its image."""
    x1, y1, x2, y2 = box
    shown = f"the {label!r} box ({', '.join(f'{value:g}' for value in box)})"
    if not all(map(math.isfinite, box)):
        raise ValueError(f"{shown} has numbers that are not finite")
    outside = min(x1, y1) < -SLACK or x2 > task.width + SLACK or y2 > task.height + SLACK
    kept = clipped((x1, y1, x2, y2), task)
    if outside or kept[0] >= kept[2] or kept[1] >= kept[3]:
        what = "lies outside" if outside else "has no area in"
        raise ValueError(f"{shown} {what} the image of {task.width} x {task.height} pixels")
    return kept


def _says(answer: Answer) -> tuple[int, tuple[Item, ...]]:
    return answer.index, answer.items


def _alike(past: Sequence[Item], now: Sequence[Item]) -> bool:
    """Whether answers are the same but for what clipping has moved."""
    past, now = (sorted(items, key=_place) for items in (past, now))  # tools have orders of their own
    pairs = list(zip(past, now, strict=False))
    edges = [(a, b) for one, other in pairs for a, b in zip(one.box or (), other.box or (), strict=False)]
    labels = [item.label for item in past] == [item.label for item in now]
    return labels and all(abs(a - b) <= SLACK for a, b in edges)


def _place(item: Item) -> tuple[str, tuple[float, ...]]:
    return item.label, tuple(round(edge) for edge in item.box or ())


def _seconds(value: Any) -> float | None:
    return None if value is None else float(value)
