"""Tasks as Label Studio's JSON with pre-annotations, and answers out of its JSON export.

Of several annotations of a task that one counts which is marked as ground truth, else the last one updated; cancelled
ones (skipped tasks) are no answers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote
from xml.sax.saxutils import quoteattr

from alpl.errors import DataError
from alpl.exchange.answers import Answer
from alpl.exchange.tasks import Item, Reply, Task, Tasks
from alpl.machine.files import read_json, write_json, write_text

FILE = "label_studio.json"
CONFIG = "label_studio.xml"
"""The labeling interface, to be pasted into the project's settings."""

_KEYS = ("run", "cycle", "index", "name", "utility", "why")


def write(tasks: Tasks, folder: Path, answers: Mapping[int, Answer]) -> None:
    """Write the tasks, and the labeling interface beside them.

    Images are named as local files below Label Studio's document root ``/`` (LABEL_STUDIO_LOCAL_FILES_DOCUMENT_ROOT).
    """
    write_json(folder / FILE, [_task(tasks, task, answers.get(task.index)) for task in tasks.tasks], indent=None)
    kind, tag = ("Choices", "Choice") if tasks.kind == "classes" else ("RectangleLabels", "Label")
    labels = "".join(f"    <{tag} value={quoteattr(name)}/>\n" for name in tasks.classes)
    interface = f'  <Image name="image" value="$image"/>\n  <{kind} name="label" toName="image">\n{labels}  </{kind}>\n'
    write_text(folder / CONFIG, f"<View>\n{interface}</View>\n")


def read(path: Path, tasks: Tasks) -> list[Reply]:
    """Read a JSON export (not JSON-MIN).

    Raises:
        DataError: it is none.
    """
    content = read_json(path)
    if not isinstance(content, list) or not all(isinstance(each, dict) for each in content):
        raise DataError(f"{path} must hold a list of tasks, as Label Studio's JSON export does")
    if content and not any("annotations" in each or "predictions" in each for each in content):
        raise DataError(f"{path} must be Label Studio's JSON export, not JSON-MIN: no task has annotations")
    replies = []
    for number, each in enumerate(content, 1):
        chosen = _chosen(each.get("annotations"))
        if chosen is not None and (tasks.kind == "boxes" or chosen.get("result")):
            replies.append(_reply(f"{path}, task {each.get('id', number)}", each.get("data"), chosen))
    return replies


def _task(tasks: Tasks, task: Task, answer: Answer | None) -> dict[str, Any]:
    values = tasks.run, tasks.cycle, task.index, task.name, task.utility, tasks.why(task)
    data = {"image": f"/data/local-files/?d={quote(task.file.lstrip('/'))}"} | dict(zip(_KEYS, values, strict=True))
    if answer is not None:
        result = [_region(item, task, number) for number, item in enumerate(answer.items)]
        annotation = {"result": result, "was_cancelled": False, "lead_time": answer.seconds}
        return {"data": data, "annotations": [annotation | {"completed_by": answer.annotator}]}
    result = [_region(item, task, number) for number, item in enumerate(task.predicted)]
    scores = [item.score for item in task.predicted if item.score is not None]
    surest = {"score": max(scores)} if scores else {}
    prediction = {"model_version": f"{tasks.run} cycle {tasks.cycle}", "result": result} | surest
    return {"data": data, "predictions": [prediction] if result else []}


def _region(item: Item, task: Task, number: int) -> dict[str, Any]:
    about: dict[str, Any] = {"id": str(number), "from_name": "label", "to_name": "image"}
    about |= {} if item.score is None else {"score": item.score}
    if item.box is None:
        return about | {"type": "choices", "value": {"choices": [item.label]}}
    x1, y1, x2, y2 = item.box
    width, height = task.width, task.height
    value = {"x": x1 / width * 100, "y": y1 / height * 100, "rotation": 0, "rectanglelabels": [item.label]}
    value |= {"width": (x2 - x1) / width * 100, "height": (y2 - y1) / height * 100}
    size = {"original_width": width, "original_height": height, "image_rotation": 0}
    marked = {"meta": {"text": ["difficult"]}} if item.difficult else {}
    return about | size | {"type": "rectanglelabels", "value": value} | marked


def _chosen(annotations: Any) -> dict[str, Any] | None:
    """Give the annotation of a task that counts; see the top."""
    if not isinstance(annotations, list):
        return None
    whole = [each for each in annotations if isinstance(each, dict) and not each.get("was_cancelled")]
    return max(whole, key=_weight) if whole else None


def _weight(annotation: Mapping[str, Any]) -> tuple[bool, str, int]:
    number = annotation.get("id")
    last = annotation.get("updated_at") or annotation.get("created_at") or ""
    return bool(annotation.get("ground_truth")), str(last), number if isinstance(number, int) else -1


def _reply(place: str, data: Any, annotation: Mapping[str, Any]) -> Reply:
    about = data if isinstance(data, dict) else {}
    index = about.get("index")
    index = int(index) if isinstance(index, (int, str)) and str(index).isdecimal() else None
    name = about.get("name") or Path(str(about.get("image", ""))).name or None
    run = about.get("run")
    try:
        items = tuple(_item(each) for each in _results(annotation))
    except ValueError as error:
        return Reply(place, None, None, None, (), fault=str(error))
    seconds = annotation.get("lead_time")
    seconds = float(seconds) if isinstance(seconds, (int, float)) and not isinstance(seconds, bool) else None
    return Reply(place, name, index, None if run is None else str(run), items, _who(annotation), seconds)


def _who(annotation: Mapping[str, Any]) -> str:
    who = annotation.get("completed_by")
    who = who.get("email", who.get("id")) if isinstance(who, dict) else who
    return "" if who is None else str(who)


def _results(annotation: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    results = annotation.get("result")
    if not isinstance(results, list) or not all(isinstance(each, dict) for each in results):
        raise ValueError("the annotation must have a list of results")
    return results


def _item(result: Mapping[str, Any]) -> Item:
    """Read one region or choice.

    Raises:
        ValueError: it is none of these, or turned, or has not one label.
    """
    kind, value = result.get("type"), result.get("value")
    if kind not in ("choices", "rectanglelabels") or not isinstance(value, dict):
        raise ValueError(f"a result must be of type choices or rectanglelabels, got {kind!r}")
    labels = value.get(kind)
    if not isinstance(labels, list) or len(labels) != 1:
        raise ValueError(f"a result must have one label, got {labels!r}")
    if kind == "choices":
        return Item(str(labels[0]))
    if value.get("rotation") or result.get("image_rotation"):
        raise ValueError(f"the {labels[0]!r} box must not be turned, got {value.get('rotation')} degrees")
    try:
        x, y, wide, high = (float(value[name]) for name in ("x", "y", "width", "height"))
        width, height = (int(result[f"original_{side}"]) for side in ("width", "height"))
    except (KeyError, TypeError, ValueError):
        raise ValueError(f"the {labels[0]!r} box must have x, y, width, height and the image's size") from None
    box = x * width / 100, y * height / 100, (x + wide) * width / 100, (y + high) * height / 100
    meta = result.get("meta")
    notes = meta.get("text", []) if isinstance(meta, dict) else []
    return Item(str(labels[0]), box, difficult="difficult" in notes)
