"""Own images for tests, in each layout: digits, of which every third has an annotation."""

import csv
import json
from pathlib import Path

import numpy as np
import yaml
from PIL import Image
from sklearn.datasets import load_digits

SIDE = 32
BOX = (4.0, 6.0, 28.0, 30.0)
CLASSES = ("zero", "one", "two")


def pictures(number: int) -> list[tuple[Image.Image, str]]:
    values, labels = load_digits(n_class=3, return_X_y=True)
    images = [Image.fromarray((values[k].reshape(8, 8) * 15).astype(np.uint8)) for k in range(number)]
    return [(image.resize((SIDE, SIDE)).convert("RGB"), CLASSES[labels[k]]) for k, image in enumerate(images)]


def save(image: Image.Image, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path)


def name_of(number: int) -> str:
    return f"d{number:03d}.png"


def make_classes(root: Path, number: int = 36, *, test: int = 0) -> Path:
    for k, (image, label) in enumerate(pictures(number + test)):
        if k >= number:
            save(image, root / "test" / label / name_of(k))
        else:
            save(image, root / "unlabeled" / name_of(k) if k % 3 else root / "train" / label / name_of(k))
    return root


def make_table(root: Path, number: int = 36) -> Path:
    lines = []
    for k, (image, label) in enumerate(pictures(number)):
        save(image, root / "pics" / name_of(k))
        lines.append((f"pics/{name_of(k)}", "" if k % 3 else label))
    with (root / "labels.csv").open("w", newline="") as stream:
        csv.writer(stream).writerows([("image", "label"), *lines])
    return root


def make_yolo(root: Path, number: int = 36, *, val: int = 0) -> Path:
    """The first labeled image has an empty file: no object."""
    x1, y1, x2, y2 = (edge / SIDE for edge in BOX)
    box = f"{(x1 + x2) / 2} {(y1 + y2) / 2} {x2 - x1} {y2 - y1}"
    for k, (image, label) in enumerate(pictures(number + val)):
        split = "val" if k >= number else "train"
        save(image, root / "images" / split / name_of(k))
        if split == "val" or not k % 3:
            file = root / "labels" / split / f"d{k:03d}.txt"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(f"{CLASSES.index(label)} {box}\n" if k else "")
    about = {"path": ".", "train": "images/train", "names": dict(enumerate(CLASSES))}
    (root / "data.yaml").write_text(yaml.safe_dump(about | ({"val": "images/val"} if val else {})))
    return root


def make_coco(root: Path, number: int = 36) -> Path:
    """The first image is listed without an annotation, the unlabeled ones are not listed."""
    content: dict = {
        "images": [],
        "annotations": [],
        "categories": [{"id": k, "name": n} for k, n in enumerate(CLASSES)],
    }
    for k, (image, label) in enumerate(pictures(number)):
        save(image, root / "images" / name_of(k))
        if k % 3 == 0:
            content["images"].append({"id": k, "file_name": name_of(k), "width": SIDE, "height": SIDE})
        if k % 3 == 0 and k:
            x1, y1, x2, y2 = BOX
            box = [x1, y1, x2 - x1, y2 - y1]
            content["annotations"].append({"id": k, "image_id": k, "category_id": CLASSES.index(label), "bbox": box})
    (root / "annotations.json").write_text(json.dumps(content))
    return root


def make_voc(root: Path, number: int = 36) -> Path:
    """The first labeled image has a file without objects."""
    edges = zip(("xmin", "ymin", "xmax", "ymax"), (BOX[0] + 1, BOX[1] + 1, *BOX[2:]), strict=True)
    box = "".join(f"<{tag}>{value:g}</{tag}>" for tag, value in edges)
    for k, (image, label) in enumerate(pictures(number)):
        save(image, root / "JPEGImages" / name_of(k))
        if k % 3 == 0:
            each = f"<object><name>{label}</name><bndbox>{box}</bndbox></object>" if k else ""
            file = root / "Annotations" / f"d{k:03d}.xml"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(f"<annotation>{each}</annotation>")
    return root
