"""Make a tiny MS-COCO in the published layout: python tests/data/fake/coco.py FOLDER."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

WIDTH, HEIGHT = 40, 30
CATEGORIES = {90: "toothbrush", 1: "person", 3: "car"}  # not in the order of the ids, which have gaps
IMAGES = {"train": (9, 4, 7, 2), "val": (30, 20)}  # ids in the order of the file


def make_coco(root: Path, year: int = 2017) -> Path:
    """Write ``train<year>``, ``val2017`` and their annotations; give ``root``.

    The annotations of train come in the order of images 7, 9, 7, 2; image 4 has none, and that of image 2 is a crowd.
    Their categories are 90, 1, 3, 1; the box of annotation k is (k, 1.5, 10, 20) as x, y, width, height.
    """
    boxes = {"train": ((7, 90, 0), (9, 1, 0), (7, 3, 0), (2, 1, 1)), "val": ((20, 3, 0), (30, 90, 0))}
    for split, name in (("train", f"train{year}"), ("val", "val2017")):
        images = [_write_image(root / name, number) for number in IMAGES[split]]
        annotations = [
            {
                "segmentation": {"counts": [3, 4], "size": [HEIGHT, WIDTH]}
                if crowd
                else [[0.5, 1.0, 2.0, 3.0, 4.0, 5.0]],
                "area": 200.0,
                "iscrowd": crowd,
                "image_id": image,
                "bbox": [float(number), 1.5, 10.0, 20.0],
                "category_id": category,
                "id": 100 + number,
            }
            for number, (image, category, crowd) in enumerate(boxes[split])
        ]
        categories = [{"supercategory": "thing", "id": key, "name": value} for key, value in CATEGORIES.items()]
        content = {"info": {}, "images": images, "annotations": annotations, "categories": categories}
        write_json(annotation_file(root, name), content)
    return root


def annotation_file(root: Path, name: str) -> Path:
    """The annotations of ``train2017``, for example."""
    return root / "annotations" / f"instances_{name}.json"


def write_json(file: Path, content: Any) -> None:
    """Write what a JSON file holds."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(content))


def _write_image(folder: Path, number: int) -> dict[str, object]:
    """Write an image whose red channel is ``number``; give its entry."""
    folder.mkdir(parents=True, exist_ok=True)
    pixels = np.zeros((HEIGHT, WIDTH, 3), dtype=np.uint8)
    pixels[..., 0] = number
    name = f"{number:012d}.png"  # the published ones are JPEG; png keeps the level exact
    Image.fromarray(pixels).save(folder / name)
    return {"license": 1, "file_name": name, "height": HEIGHT, "width": WIDTH, "id": number}


if __name__ == "__main__":
    print(make_coco(Path(sys.argv[1])))
