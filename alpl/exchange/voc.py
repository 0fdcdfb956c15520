"""Tasks and answers as VOC's XML files, one an image.

What we ask about says ``asked`` in ``source/annotation``; there what has a score is the model's. A tool that writes
the file anew drops that word, and then all that it holds is the answer.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from xml.etree.ElementTree import Element, SubElement, indent, tostring

from alpl.errors import DataError
from alpl.exchange.answers import Answer
from alpl.exchange.tasks import Item, Reply, Task, Tasks
from alpl.machine.files import write_text
from alpl.machine.safe_xml import parse_xml

FOLDER = "voc"
_ASKED = "asked"


def write(tasks: Tasks, folder: Path, answers: Mapping[int, Answer]) -> None:
    """Write ``voc/Annotations``; pixels count from 1, as VOC's do."""
    for task in tasks.tasks:
        root = _annotation(tasks, task, answers.get(task.index))
        indent(root)
        write_text(folder / FOLDER / "Annotations" / f"{task.stem}.xml", tostring(root, encoding="unicode") + "\n")


def read(path: Path, tasks: Tasks) -> list[Reply]:
    """Read one file, or all below a folder; a file without an object says that there is none.

    Raises:
        DataError: the folder holds none.
    """
    files = sorted(path.rglob("*.xml")) if path.is_dir() else [path]
    if not files:
        raise DataError(f"{path} must hold VOC's XML files, got none")
    return [reply for file in files if (reply := _reply(file)) is not None]


def _annotation(tasks: Tasks, task: Task, answer: Answer | None) -> Element:
    root = Element("annotation")
    _add(root, "folder", "images")
    _add(root, "filename", task.name)
    source = SubElement(root, "source")
    _add(source, "database", "alpl")
    _add(source, "annotation", _ASKED if answer is None else "answered")
    asked = {"run": tasks.run, "cycle": tasks.cycle, "index": task.index, "utility": task.utility}
    asked |= {"why": tasks.why(task)}
    asked |= {} if answer is None else {"annotator": answer.annotator}
    asked |= {"seconds": answer.seconds} if answer is not None and answer.seconds is not None else {}
    for name, value in asked.items():
        _add(source, name, value)
    size = SubElement(root, "size")
    for side, pixels in (("width", task.width), ("height", task.height), ("depth", 3)):
        _add(size, side, pixels)
    for item in task.predicted if answer is None else answer.items:
        _add_object(root, item)
    return root


def _add_object(root: Element, item: Item) -> None:
    assert item.box is not None, "the format is of boxes"
    x1, y1, x2, y2 = item.box
    each = SubElement(root, "object")
    _add(each, "name", item.label)
    _add(each, "difficult", int(item.difficult))
    if item.score is not None:
        _add(each, "score", item.score)
    box = SubElement(each, "bndbox")
    for name, value in (("xmin", x1 + 1), ("ymin", y1 + 1), ("xmax", x2), ("ymax", y2)):
        _add(box, name, int(value) if value == int(value) else value)


def _add(parent: Element, tag: str, value: object) -> None:
    SubElement(parent, tag).text = str(value)


def _reply(file: Path) -> Reply | None:
    try:
        root = parse_xml(file)
        objects = list(root.iter("object"))
        if root.findtext("source/annotation") == _ASKED:
            objects = [each for each in objects if each.find("score") is None]
            if not objects:
                return None
        items = tuple(map(_item, objects))
        index, seconds = root.findtext("source/index"), root.findtext("source/seconds")
        position, time = (int(index) if index else None), (float(seconds) if seconds else None)
    except (DataError, TypeError, ValueError) as error:
        return Reply(str(file), None, None, None, (), fault=str(error))
    name = (root.findtext("filename") or "").strip() if position is not None else file.stem
    annotator = root.findtext("source/annotator") or ""
    return Reply(str(file), name, position, root.findtext("source/run") or None, items, annotator, time)


def _item(each: Element) -> Item:
    name, mark = (each.findtext("name") or "").strip(), (each.findtext("difficult") or "0").strip()
    texts = [each.findtext(f"bndbox/{edge}") or "" for edge in ("xmin", "ymin", "xmax", "ymax")]
    try:
        x1, y1, x2, y2 = (float(text) for text in texts)
    except ValueError:
        raise ValueError(f"the {name!r} object must have a bndbox of four numbers, got {texts}") from None
    if mark not in ("0", "1"):
        raise ValueError(f"the {name!r} object must have a difficult of 0 or 1, got {mark!r}")
    return Item(name, (x1 - 1, y1 - 1, x2, y2), difficult=mark == "1")
