"""Make a tiny SYNTHIA-AL in the published layout: python tests/data/fake/synthia_al.py FOLDER."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

WIDTH, HEIGHT = 64, 48
SCENE = "test5_10segs_weather_{}_spawn_1_roadTexture_0_P_None_C_None_B_None_WC_None"
FIRST = 101  # frames are counted from here


def make_synthia_al(root: Path, frames: int = 12) -> Path:
    """Write three training recordings of moving squares, an empty one, and two test recordings; give ``root``.

    Recording 0 has a car, 1 a car and a pedestrian and lacks frame 105, 2 a cyclist and a bicycle. The second test
    recording shows a wheelchair in its last frame.
    """
    shown = [["Car"], ["Car", "Pedestrian"], ["Cyclist", "Bicycle"]]
    for number, types in enumerate(shown):
        folder = recording(root, "train", number)
        for frame in range(FIRST, FIRST + frames):
            if (number, frame) != (1, 105):
                write_frame(folder, frame, types, level=20 * number + frame - FIRST)
    (recording(root, "train", 3) / "RGB").mkdir(parents=True)
    for number in range(2):
        folder = recording(root, "test", number)
        for frame in range(FIRST, FIRST + 3):
            last = number == 1 and frame == FIRST + 2
            types = ["Car", "wheelchair"] if last else ["Car"]
            write_frame(folder, frame, types, level=150 + 20 * number + frame - FIRST)
    return root


def recording(root: Path, split: str, number: int) -> Path:
    """Give the folder of a recording: of one scene every two."""
    return root / split / SCENE.format(number // 2) / f"0{number + 1}-02-2019_10-00-00"


def write_frame(folder: Path, frame: int, types: Sequence[str], level: int) -> None:
    """Write a frame (RGBA) and its labels; object k is a square of 8 pixels that moves by 2 to the right a frame."""
    pixels = np.full((HEIGHT, WIDTH, 4), level, dtype=np.uint8)
    pixels[..., 3] = 255
    lines = []
    for number, name in enumerate(types):
        left, top = 2 * (frame - FIRST), 4 + 14 * number
        pixels[top : top + 8, left : left + 8, :3] = 200
        lines.append(
            f"{name} 0.00 0 -10 {left:.2f} {top:.2f} {left + 8:.2f} {top + 8:.2f} 1.5 1.6 3.7 1.0 1.6 12.3 0.1"
        )
    for part, name in (("RGB", f"{frame:06d}.png"), ("labels_kitti", f"{frame:06d}.txt")):
        (folder / part).mkdir(parents=True, exist_ok=True)
        if part == "RGB":
            Image.fromarray(pixels).save(folder / part / name)
        else:
            (folder / part / name).write_text("".join(f"{line}\n" for line in lines))


if __name__ == "__main__":
    make_synthia_al(Path(sys.argv[1]))
