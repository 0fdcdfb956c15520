"""The tasks of a query: each asks a person for the class of an image, or for the objects on it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias, final

from alpl.machine.files import read_sealed, reading, write_sealed

Kind: TypeAlias = Literal["classes", "boxes"]
"""What is asked for: the class of each image, or the objects on it."""

Corners: TypeAlias = tuple[float, float, float, float]
"""xyxy in pixels of the image, turned as EXIF says; from 0, x2 and y2 one past the last pixel."""


@final
@dataclass(frozen=True)
class Item:
    """A class, of an object or of a whole image.

    Args:
        label: the class's name.
        box: of the object; None where the class is the image's.
        score: how sure a model is of it, in [0, 1]; None where a person says it.
        difficult: VOC's mark, COCO's crowd.
    """

    label: str
    box: Corners | None = None
    score: float | None = None
    difficult: bool = False

    def as_json(self) -> list[Any]:
        """Give what :meth:`of_json` reads."""
        return [self.label, None if self.box is None else list(self.box), self.score, self.difficult]

    @classmethod
    def of_json(cls, value: Sequence[Any]) -> Item:
        """Read it back."""
        label, box, score, difficult = value
        corners = None if box is None else corners_of(box)
        return cls(str(label), corners, None if score is None else float(score), bool(difficult))


@final
@dataclass(frozen=True)
class Task:
    """One image that a person is asked about.

    Args:
        index: the dataset index.
        name: of the image, different for each task of a query, and fit for a file's name.
        file: where the image lies.
        height: of the image in pixels.
        width: the same.
        rank: in the query, from 0.
        utility: that it had when it was chosen.
        predicted: what the cycle's model says, the surest first.
    """

    index: int
    name: str
    file: str
    height: int
    width: int
    rank: int
    utility: float
    predicted: tuple[Item, ...] = ()

    @property
    def stem(self) -> str:
        """The name without its suffix, different for each task of a query as well."""
        return Path(self.name).stem


@final
@dataclass(frozen=True)
class Tasks:
    """All that is asked after a cycle.

    Args:
        run: key of the run, which tells its tasks from those of others.
        cycle: the cycle whose model chose.
        kind: see :data:`Kind`.
        classes: names of the K classes.
        acquisition: who chose.
        tasks: in the order of choice.
    """

    run: str
    cycle: int
    kind: Kind
    classes: tuple[str, ...]
    acquisition: str
    tasks: tuple[Task, ...]

    def why(self, task: Task) -> str:
        """Say why an image is asked about."""
        return f"choice {task.rank + 1} of {len(self.tasks)} by {self.acquisition}, utility {task.utility:.6g}"

    def save(self, path: Path) -> None:
        """Write them, whole."""
        content = asdict(self) | {"tasks": [_task_json(task) for task in self.tasks]}
        write_sealed(path, content)

    @classmethod
    def load(cls, path: Path) -> Tasks:
        """Read what :meth:`save` wrote.

        Raises:
            DataError: the file is missing or broken.
        """
        content = read_sealed(path)
        with reading(path, "the tasks of a query"):
            about: dict[str, Any] = {name: content[name] for name in ("run", "cycle", "kind", "acquisition")}
            tasks = tuple(_task_of(each) for each in content["tasks"])
            return cls(**about, classes=tuple(content["classes"]), tasks=tasks)


@final
@dataclass(frozen=True)
class Reply:
    """What a file says about one image, before it is checked.

    Args:
        place: of the answer, for messages.
        name: of the image, or None where ``index`` tells it.
        index: the dataset index, where the file holds it.
        run: key of the run that asked, where the file holds it.
        items: the answer; empty for no object.
        annotator: who answered; empty where the file does not say.
        seconds: that it took, where the file says so.
        fault: why this is no answer; empty where it is one.
        is_read: whether ``items`` were read; of an image that is not asked about some formats cannot.
    """

    place: str
    name: str | None
    index: int | None
    run: str | None
    items: tuple[Item, ...]
    annotator: str = ""
    seconds: float | None = None
    fault: str = ""
    is_read: bool = True


def corners_of(values: Sequence[Any]) -> Corners:
    """Give four numbers as a box.

    Raises:
        ValueError: they are not four numbers.
    """
    x1, y1, x2, y2 = (float(value) for value in values)
    return x1, y1, x2, y2


def _task_json(task: Task) -> dict[str, Any]:
    about = {name: value for name, value in vars(task).items() if name != "predicted"}
    return about | {"predicted": [item.as_json() for item in task.predicted]}


def _task_of(value: Mapping[str, Any]) -> Task:
    about = {name: each for name, each in value.items() if name != "predicted"}
    return Task(**about, predicted=tuple(Item.of_json(each) for each in value["predicted"]))
