"""Tasks and answers as "CVAT for images 1.1": one XML file, boxes or tags.

An image that we ask about says ``alpl_answered="false"``; there what is ``source="auto"`` is the model's. CVAT drops
that word when it exports, and then all that the file holds is the answer.
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

FILE = "cvat.xml"
_EDGES = ("xtl", "ytl", "xbr", "ybr")


def write(tasks: Tasks, folder: Path, answers: Mapping[int, Answer]) -> None:
    """Write ``cvat.xml``."""
    root = Element("annotations")
    SubElement(root, "version").text = "1.1"
    labels = SubElement(SubElement(SubElement(root, "meta"), "task"), "labels")
    for name in tasks.classes:
        label = SubElement(labels, "label")
        SubElement(label, "name").text = name
        attributes = SubElement(label, "attributes")
        for attribute, kind, default in (("score", "text", ""), ("difficult", "checkbox", "false")):
            each = SubElement(attributes, "attribute")
            texts = {"name": attribute, "mutable": "False", "input_type": kind, "default_value": default, "values": ""}
            for tag, text in texts.items():
                SubElement(each, tag).text = text
    for task in tasks.tasks:
        _add_image(root, tasks, task, answers.get(task.index))
    indent(root)
    write_text(folder / FILE, '<?xml version="1.0" encoding="utf-8"?>\n' + tostring(root, encoding="unicode") + "\n")


def read(path: Path, tasks: Tasks) -> list[Reply]:
    """Read boxes and tags. An image without any has no object; where classes are asked for, it has no answer.

    Raises:
        DataError: the file is broken, or no such file.
    """
    try:
        root = parse_xml(path)
    except DataError as error:
        raise DataError(f"{path}: {error}") from error
    if root.tag != "annotations" or root.find("track") is not None:
        raise DataError(f'{path} must be in the format "CVAT for images 1.1": boxes and tags of images, no tracks')
    replies = [_reply(path, image) for image in root.iter("image")]
    asks_classes = tasks.kind == "classes"
    return [reply for reply in replies if reply and (reply.items or reply.fault or not asks_classes)]


def _add_image(root: Element, tasks: Tasks, task: Task, answer: Answer | None) -> None:
    image = SubElement(root, "image", id=str(task.rank), name=task.name, width=str(task.width), height=str(task.height))
    asked = {"run": tasks.run, "cycle": tasks.cycle, "index": task.index, "utility": task.utility}
    asked |= {"why": tasks.why(task), "answered": "false" if answer is None else "true"}
    asked |= {} if answer is None else {"annotator": answer.annotator}
    asked |= {"seconds": answer.seconds} if answer is not None and answer.seconds is not None else {}
    for name, value in asked.items():
        image.set(f"alpl_{name}", str(value))
    for item in task.predicted if answer is None else answer.items:
        about = {"label": item.label, "source": "manual" if item.score is None else "auto"}
        if item.box is None:
            each = SubElement(image, "tag", about)
        else:
            edges = {name: repr(value) for name, value in zip(_EDGES, item.box, strict=True)}
            each = SubElement(image, "box", about | {"occluded": "0"} | edges | {"z_order": "0"})
        if item.score is not None:
            SubElement(each, "attribute", name="score").text = repr(item.score)
        SubElement(each, "attribute", name="difficult").text = "true" if item.difficult else "false"


def _reply(path: Path, image: Element) -> Reply | None:
    name = Path(image.get("name", "").replace("\\", "/")).name
    place = f"{path}, image {name}"
    shapes = list(image)
    if image.get("alpl_answered") == "false":
        shapes = [each for each in shapes if each.get("source") != "auto"]
        if not shapes:
            return None
    try:
        items = tuple(map(_item, shapes))
        index, seconds = image.get("alpl_index"), image.get("alpl_seconds")
        position, time = (int(index) if index else None), (float(seconds) if seconds else None)
    except ValueError as error:
        return Reply(place, None, None, None, (), fault=str(error))
    return Reply(place, name, position, image.get("alpl_run"), items, image.get("alpl_annotator", ""), time)


def _item(shape: Element) -> Item:
    label = shape.get("label", "")
    if shape.tag not in ("box", "tag"):
        raise ValueError(f"the {label!r} shape must be a box or a tag, got a {shape.tag}")
    difficult = any(each.get("name") == "difficult" and each.text == "true" for each in shape.iter("attribute"))
    if shape.tag == "tag":
        return Item(label, difficult=difficult)
    if float(shape.get("rotation", "0")):
        raise ValueError(f"the {label!r} box must not be turned, got {shape.get('rotation')} degrees")
    try:
        x1, y1, x2, y2 = (float(shape.get(edge, "")) for edge in _EDGES)
    except ValueError:
        raise ValueError(f"the {label!r} box must have numbers as {', '.join(_EDGES)}") from None
    return Item(label, (x1, y1, x2, y2), difficult=difficult)
