"""Tasks and answers as one file in COCO's format of objects.

An image that we ask about says ``"answered": false``; there what has a score is the model's. A tool that writes the
file anew drops that word, and then all that it holds is the answer.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from alpl.errors import DataError
from alpl.exchange.answers import Answer
from alpl.exchange.tasks import Item, Reply, Task, Tasks
from alpl.machine.files import read_object, reading, write_json

FILE = "coco.json"


def write(tasks: Tasks, folder: Path, answers: Mapping[int, Answer]) -> None:
    """Write ``coco.json``; image ids are dataset indices."""
    ids = {name: number for number, name in enumerate(tasks.classes, 1)}
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for task in tasks.tasks:
        answer = answers.get(task.index)
        images.append(_image(tasks, task, answer))
        for item in task.predicted if answer is None else answer.items:
            annotations.append({"id": len(annotations) + 1, "image_id": task.index, **_object(item, ids)})
    categories = [{"id": number, "name": name} for name, number in ids.items()]
    info = {"description": f"{len(tasks.tasks)} images that run {tasks.run} asks about after cycle {tasks.cycle}"}
    content = {"info": info, "images": images, "annotations": annotations, "categories": categories}
    write_json(folder / FILE, content, indent=None)


def read(path: Path, tasks: Tasks) -> list[Reply]:
    """Read objects in COCO's format; an image that is listed without any has none.

    Raises:
        DataError: the file is none.
    """
    content = read_object(path)
    with reading(path, "images, annotations and categories as COCO's files do"):
        names = {each["id"]: str(each["name"]) for each in content["categories"]}
        objects: dict[Any, list[dict[str, Any]]] = {image["id"]: [] for image in content["images"]}
        for each in content["annotations"]:
            if each["image_id"] not in objects:
                raise DataError(f"{path}: an annotation is of image {each['image_id']!r}, which is not listed")
            objects[each["image_id"]].append(each)
        replies = [_reply(path, image, objects[image["id"]], names) for image in content["images"]]
    return [reply for reply in replies if reply is not None]


def _image(tasks: Tasks, task: Task, answer: Answer | None) -> dict[str, Any]:
    about = {"id": task.index, "file_name": task.name, "width": task.width, "height": task.height}
    asked = {"run": tasks.run, "cycle": tasks.cycle, "utility": task.utility, "why": tasks.why(task)}
    by = {} if answer is None else {"annotator": answer.annotator, "seconds": answer.seconds}
    return about | asked | {"answered": answer is not None} | by


def _object(item: Item, ids: Mapping[str, int]) -> dict[str, Any]:
    assert item.box is not None, "the format is of boxes"
    x1, y1, x2, y2 = item.box
    box = [x1, y1, x2 - x1, y2 - y1]
    about = {"category_id": ids[item.label], "bbox": box, "area": box[2] * box[3], "iscrowd": int(item.difficult)}
    return about | ({} if item.score is None else {"score": item.score})


def _reply(
    path: Path, image: Mapping[str, Any], objects: list[dict[str, Any]], names: Mapping[Any, str]
) -> Reply | None:
    """Give what the file says of an image; None where it is only asked about."""
    if image.get("answered") is False:
        objects = [each for each in objects if "score" not in each]
        if not objects:
            return None
    name = Path(str(image["file_name"]).replace("\\", "/")).name
    index = image["id"] if "answered" in image and isinstance(image["id"], int) else None  # tools number anew
    run = str(image["run"]) if "run" in image else None
    place = f"{path}, image {name}"
    try:
        items = tuple(_item(each, names) for each in objects)
    except (KeyError, TypeError, ValueError) as error:
        return Reply(place, None, None, None, (), fault=f"an annotation is broken: {type(error).__name__}: {error}")
    seconds = image.get("seconds")
    annotator = str(image.get("annotator", ""))
    return Reply(place, name, index, run, items, annotator, None if seconds is None else float(seconds))


def _item(each: Mapping[str, Any], names: Mapping[Any, str]) -> Item:
    left, top, width, height = (float(value) for value in each["bbox"])
    label = names.get(each["category_id"], f"category {each['category_id']}")
    return Item(label, (left, top, left + width, top + height), difficult=bool(each.get("iscrowd", 0)))
