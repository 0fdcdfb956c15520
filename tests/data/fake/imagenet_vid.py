"""Make a tiny ImageNet-VID in the published layout: python tests/data/fake/imagenet_vid.py FOLDER."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

WIDTH, HEIGHT = 48, 32
CAR, BICYCLE, DOG = "n02958343", "n02834778", "n02084071"
PART = "ILSVRC2015_VID_train_0000"


def make_imagenet_vid(root: Path, frames: int = 12) -> Path:
    """Write three training videos and two validation videos of moving squares; give ``root``.

    Video 0 shows a car that is gone in frames 5 and 6, video 1 a bicycle and a dog and lacks frame 4, video 2 a dog
    alone. Of the validation videos 0 shows a car, but for frame 1, and 1 a dog.
    """
    shown = [[CAR], [BICYCLE, DOG], [DOG]]
    for number, classes in enumerate(shown):
        video = f"{PART}/ILSVRC2015_train_{number:08d}"
        for frame in range(frames):
            if (number, frame) != (1, 4):
                gone = number == 0 and frame in (5, 6)
                write_frame(root, "train", video, frame, [] if gone else classes, level=10 * number + frame)
    listed: dict[int, dict[str, int]] = {4: {}, 7: {}, 19: {}}
    for number, classes in enumerate(shown):
        name = f"{PART}/ILSVRC2015_train_{number:08d}"
        listed[7][name] = 1 if CAR in classes else -1
        listed[4][name] = 1 if BICYCLE in classes else -1
        listed[19][name] = -1
    for number, videos in listed.items():
        write_list(root, f"train_{number}", [f"{name} {label}" for name, label in videos.items()])
    lines = []
    for number, name in enumerate((CAR, DOG)):
        video = f"ILSVRC2015_val_{number:08d}"
        for frame in range(3):
            write_frame(root, "val", video, frame, [] if frame == 1 else [name], level=100 + 10 * number + frame)
            lines.append(f"{video}/{frame:06d} {len(lines) + 1}")
    write_list(root, "val", lines)
    return root


def write_list(root: Path, name: str, lines: Sequence[str]) -> None:
    """Write ``ImageSets/VID/<name>.txt``."""
    file = root / "ImageSets" / "VID" / f"{name}.txt"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("".join(f"{line}\n" for line in lines))


def write_frame(root: Path, split: str, video: str, frame: int, classes: Sequence[str], level: int) -> None:
    """Write a frame and its annotation; object k is a square of 8 pixels that moves by 2 to the right a frame."""
    pixels = np.full((HEIGHT, WIDTH, 3), level, dtype=np.uint8)
    boxes = {}
    for number, name in enumerate(classes):
        left, top = 2 * frame, 4 + 12 * number
        pixels[top : top + 8, left : left + 8] = 200
        boxes[name] = (left, top, left + 7, top + 7)
    image = root / "Data" / "VID" / split / video / f"{frame:06d}.JPEG"
    image.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(image)
    file = root / "Annotations" / "VID" / split / video / f"{frame:06d}.xml"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(annotation(boxes))


def annotation(boxes: Mapping[str, tuple[int, int, int, int]]) -> str:
    """Give the XML of a frame: corners from 0, the last pixel included."""
    objects = "".join(
        f"<object><trackid>{track}</trackid><name>{name}</name><bndbox><xmax>{box[2]}</xmax><xmin>{box[0]}</xmin>"
        f"<ymax>{box[3]}</ymax><ymin>{box[1]}</ymin></bndbox><occluded>0</occluded><generated>0</generated></object>"
        for track, (name, box) in enumerate(boxes.items())
    )
    return f"<annotation><size><width>{WIDTH}</width><height>{HEIGHT}</height></size>{objects}</annotation>"


if __name__ == "__main__":
    make_imagenet_vid(Path(sys.argv[1]))
