"""Make a tiny Tiny ImageNet in the published layout: python tests/data/fake/tiny_imagenet.py FOLDER."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from PIL import Image

WNIDS = ("n02124075", "n01443537", "n04067472")  # not sorted, as in the published list


def make_tiny_imagenet(root: Path, num_train: int = 12, num_val: int = 4) -> Path:
    """Write ``root/tiny-imagenet-200``: ``num_train`` and ``num_val`` images a class; give the folder.

    Image k of class c is one gray level, :func:`level`, so that a test can tell what it reads; every fifth
    train image is a gray-scale JPEG, as some of the published ones are.
    """
    folder = root / "tiny-imagenet-200"
    for target, wnid in enumerate(WNIDS):
        images = folder / "train" / wnid / "images"
        images.mkdir(parents=True)
        for number in range(num_train):
            save_image(images / f"{wnid}_{number}.JPEG", level(target, number), "L" if number % 5 == 0 else "RGB")
        boxes = "".join(f"{wnid}_{number}.JPEG\t0\t0\t63\t63\n" for number in range(num_train))
        (folder / "train" / wnid / f"{wnid}_boxes.txt").write_text(boxes)
    lines = []
    (folder / "val" / "images").mkdir(parents=True)
    for number in range(num_val * len(WNIDS)):
        target = number % len(WNIDS)
        save_image(folder / "val" / "images" / f"val_{number}.JPEG", level(target, number), "RGB")
        lines.append(f"val_{number}.JPEG\t{WNIDS[target]}\t0\t32\t44\t62\n")
    (folder / "val" / "val_annotations.txt").write_text("".join(lines))
    (folder / "wnids.txt").write_text("\n".join(WNIDS) + "\n")
    words = {"n00001740": "entity", **{wnid: f"name of {wnid}, second name" for wnid in WNIDS}}
    (folder / "words.txt").write_text("".join(f"{wnid}\t{name}\n" for wnid, name in words.items()))
    return folder


def level(target: int, number: int) -> int:
    """The gray level of an image."""
    return 60 * target + 4 * number


def save_image(path: Path, value: int, mode: str, side: int = 64) -> None:
    """Save a JPEG of one gray level."""
    Image.fromarray(np.full((side, side), value, dtype=np.uint8)).convert(mode).save(path, "JPEG", quality=95)


if __name__ == "__main__":
    print(make_tiny_imagenet(Path(sys.argv[1])))
