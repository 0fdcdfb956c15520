"""Mutated annotations: read, or refused on one line that names a file; no object is lost without a word."""

from __future__ import annotations

import copy
import json
import os
import random
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fake.coco import annotation_file, make_coco
from fake.voc import make_voc

from alpl.boxes.objects import DetectionSplits
from alpl.data.coco import COCO
from alpl.data.voc import VOCFolder
from alpl.errors import ConfigError, DataError
from alpl.machine.safe_xml import parse_xml

QUICK, ALL = 40, int(os.environ.get("ALPL_TEST_MUTATIONS", "500"))
SPLITS = {"trainval": ["a", "b", "c"], "test": ["d", "e"]}
STRANGE: list[Any] = [
    None, True, -1, 0, 1.5, 10**30, -1e308, float("nan"), float("inf"), "", "7", "nan", "../x", "\x00", "é" * 300,
    [], [1, 2], {}, {"id": 1},
]  # fmt: skip


def mutated_json(content: Any, draw: random.Random) -> Any:
    """Change one place of a tree: drop, repeat, shuffle, rename, or put something strange there."""
    content = copy.deepcopy(content)
    places: list[tuple[Any, Any]] = []

    def walk(node: Any) -> None:
        for key in list(node) if isinstance(node, dict) else range(len(node)) if isinstance(node, list) else ():
            places.append((node, key))
            walk(node[key])

    walk(content)
    node, key = draw.choice(places)
    how = draw.choice(["drop", "strange", "strange", "repeat", "shuffle", "rename", "other"])
    if how == "drop":
        del node[key]
    elif how == "strange":
        node[key] = draw.choice(STRANGE)
    elif how == "other":
        other, name = draw.choice(places)
        node[key] = copy.deepcopy(other[name])
    elif isinstance(node, list):
        draw.shuffle(node) if how == "shuffle" else node.insert(draw.randrange(len(node) + 1), copy.deepcopy(node[key]))
    else:
        node[draw.choice(["id", "image_id", "bbox", "x"])] = node.pop(key)
    return content


def mutated_bytes(data: bytes, draw: random.Random) -> bytes:
    """Change some bytes: flip, drop, repeat, cut, or write others."""
    changed = bytearray(data)
    for _ in range(draw.choice([1, 1, 3, 20])):
        place = draw.randrange(len(changed) + 1)
        end = min(len(changed), place + draw.choice([1, 2, 40]))
        how = draw.choice(["flip", "drop", "repeat", "noise", "cut"])
        if how == "flip" and place < len(changed):
            changed[place] ^= 1 << draw.randrange(8)
        elif how == "drop":
            del changed[place:end]
        elif how == "repeat":
            changed[place:place] = changed[place:end]
        elif how == "noise":
            changed[place:end] = draw.randbytes(end - place)
        elif draw.random() < 0.3:
            del changed[place:]
    return bytes(changed)


def mutated_xml(data: bytes, draw: random.Random) -> bytes:
    """Change one element: its text, its name, drop it or repeat it."""
    text = data.decode()
    found = draw.choice(list(re.finditer(r"<(\w+)>([^<>]*)</\1>", text)))
    name, value = found[1], str(draw.choice(STRANGE)).replace("\x00", "").replace("<", "")
    new = draw.choice(
        ["", found[0] * 2, f"<{name}>{value}</{name}>", f"<{name}>{value}</{name}>", f"<x>{found[2]}</x>"]
    )
    return (text[: found.start()] + new + text[found.end() :]).encode()


def loaded(load: Callable[[], DetectionSplits], caplog: pytest.LogCaptureFixture) -> tuple[DetectionSplits | None, str]:
    """Give what was read, None where it was refused, and what was said."""
    caplog.clear()
    try:
        return load(), caplog.text
    except (DataError, ConfigError) as error:
        assert "\n" not in str(error), error
        return None, str(error)


def check(splits: DetectionSplits, said: str, number: int, bad: str) -> None:
    """All objects of the files are read, or the log says which are not, and they may be left out at all."""
    read = sum(len(each) for objects in (splits.train_objects, splits.test_objects) for each in objects)
    assert read <= number
    assert read == number or (bad != "error" and "problems with images or boxes" in said), f"{read} of {number}: {said}"


def fuzz_coco(root: Path, seeds: range, caplog: pytest.LogCaptureFixture) -> int:
    """Give how many were read."""
    files = [annotation_file(root, name) for name in ("train2017", "val2017")]
    written = [file.read_bytes() for file in files]
    num_read = 0
    for seed in seeds:
        draw = random.Random(seed)
        which, bad = draw.randrange(2), draw.choice(["error", "skip_boxes", "skip_images"])
        if draw.random() < 0.6:
            data = json.dumps(mutated_json(json.loads(written[which]), draw)).encode()
        else:
            data = mutated_bytes(written[which], draw)
        files[which].write_bytes(data)
        source = COCO(str(root), bad=bad, allow_lost=["person", "car", "toothbrush"])
        splits, said = loaded(source.load, caplog)
        if splits is None:
            assert str(root) in said, f"seed {seed}: {said}"
        else:
            num_read += 1
            contents = [json.loads(file.read_text(encoding="utf-8-sig")) for file in files]
            check(splits, said, sum(len(content["annotations"]) for content in contents), bad)
        files[which].write_bytes(written[which])
    return num_read


def fuzz_voc(root: Path, seeds: range, caplog: pytest.LogCaptureFixture) -> int:
    """Give how many were read."""
    annotations = sorted((root / "Annotations").iterdir())
    lists = sorted((root / "ImageSets" / "Main").iterdir())
    num_read = 0
    for seed in seeds:
        draw = random.Random(seed)
        file, bad = (
            draw.choice([*annotations, *annotations, *lists]),
            draw.choice(["error", "skip_boxes", "skip_images"]),
        )
        written = file.read_bytes()
        is_xml = file in annotations
        file.write_bytes((mutated_xml if is_xml and draw.random() < 0.6 else mutated_bytes)(written, draw))
        source = VOCFolder(str(root), bad=bad, allow_lost=["dog", "person"])
        splits, said = loaded(source.load, caplog)
        if splits is None:
            assert str(root) in said, f"seed {seed}: {said}"
        else:
            num_read += 1
            if is_xml:  # another list is of other images
                check(splits, said, sum(objects_in(each) for each in annotations), bad)
        file.write_bytes(written)
    return num_read


def objects_in(file: Path) -> int:
    """Count the objects of an annotation; of one that is no XML any more, those that were written."""
    try:
        return sum(1 for _ in parse_xml(file).iter("object"))
    except DataError:
        return len(re.findall(b"<object>", file.read_bytes()))


def test_a_sample_of_coco(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert 0 < fuzz_coco(make_coco(tmp_path), range(QUICK), caplog) < QUICK


def test_a_sample_of_voc(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert 0 < fuzz_voc(make_voc(tmp_path, "2007", SPLITS), range(QUICK), caplog) < QUICK


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_all_of_coco(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert 0 < fuzz_coco(make_coco(tmp_path), range(QUICK, ALL), caplog) < ALL


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_all_of_voc(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert 0 < fuzz_voc(make_voc(tmp_path, "2007", SPLITS), range(QUICK, ALL), caplog) < ALL
