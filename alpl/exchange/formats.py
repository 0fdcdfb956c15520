"""The formats in which tasks leave and answers come back."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import final

from alpl.errors import ConfigError, DataError
from alpl.exchange import coco, csv_files, cvat, label_studio, voc, yolo
from alpl.exchange.answers import Answer
from alpl.exchange.tasks import Kind, Reply, Tasks
from alpl.machine.files import read_json, whole_folder
from alpl.machine.safe_xml import parse_xml


@final
@dataclass(frozen=True)
class Format:
    """One format.

    Args:
        write: writes tasks into a folder, answered ones as answers.
        read: reads the answers of a file or folder.
        kinds: what it can hold.
    """

    write: Callable[[Tasks, Path, Mapping[int, Answer]], None]
    read: Callable[[Path, Tasks], list[Reply]]
    kinds: tuple[Kind, ...] = ("boxes",)


FORMATS = {
    "csv": Format(csv_files.write, csv_files.read, ("classes", "boxes")),
    "label_studio": Format(label_studio.write, label_studio.read, ("classes", "boxes")),
    "cvat": Format(cvat.write, cvat.read, ("classes", "boxes")),
    "coco": Format(coco.write, coco.read),
    "voc": Format(voc.write, voc.read),
    "yolo": Format(yolo.write, yolo.read),
}


def export(
    tasks: Tasks, folder: Path, answers: Mapping[int, Answer] | None = None, formats: tuple[str, ...] | None = None
) -> None:
    """Write tasks into a folder, whole, with links to their images in ``images``.

    Args:
        tasks: of a query.
        folder: is replaced.
        answers: of some of them, which are written in place of what the model says.
        formats: names out of :data:`FORMATS`; None for all that hold this kind.

    Raises:
        ConfigError: there is no such format, or it does not hold this kind.
    """
    fitting = [name for name, one in FORMATS.items() if tasks.kind in one.kinds]
    if wrong := [name for name in formats or () if name not in fitting]:
        raise ConfigError(f"formats of {tasks.kind} must be of {', '.join(fitting)}, got {wrong[0]}")
    with whole_folder(folder) as temporary:
        (temporary / "images").mkdir()
        for task in tasks.tasks:
            (temporary / "images" / task.name).symlink_to(Path(task.file).absolute())
        for name in formats or fitting:
            FORMATS[name].write(tasks, temporary, answers or {})


def read_replies(path: Path, tasks: Tasks) -> list[Reply]:
    """Read answers, in whichever of the formats they are.

    Raises:
        DataError: they are in none, or in one that does not hold what is asked for; or see the formats.
    """
    name = _format_of(path)
    if tasks.kind not in FORMATS[name].kinds:
        raise DataError(f"{path} is in the format {name}, which holds no {tasks.kind}")
    return FORMATS[name].read(path, tasks)


def _format_of(path: Path) -> str:
    """Tell the format by the ending, then by what a file begins with."""
    if path.is_dir():
        if next(path.rglob("*.xml"), None) is not None:
            return "voc"
        return "yolo"
    ending = path.suffix.lower()
    if ending == ".json":
        return "label_studio" if isinstance(read_json(path), list) else "coco"
    if ending == ".xml":
        try:
            return "cvat" if parse_xml(path).tag == "annotations" else "voc"
        except DataError as error:
            raise DataError(f"{path}: {error}") from error
    known = {".csv": "csv", ".txt": "yolo"}
    if ending not in known:
        raise DataError(
            f"{path} must be a .csv, .json, .xml or .txt file or a folder of such; zip files are unpacked first"
        )
    return known[ending]
