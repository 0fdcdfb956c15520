"""Make a tiny Fashion-MNIST in the published layout: python tests/data/fake/fashion_mnist.py FOLDER."""

from __future__ import annotations

import struct
import sys
from pathlib import Path

import numpy as np


def make_fashion_mnist(root: Path, num_train: int = 40, num_test: int = 20) -> Path:
    """Write the four idx files; give their folder."""
    folder = root / "FashionMNIST" / "raw"
    folder.mkdir(parents=True)
    for seed, (name, number) in enumerate((("train", num_train), ("t10k", num_test))):
        images = np.random.default_rng(seed).integers(0, 256, (number, 28, 28), dtype=np.uint8)
        write_idx(folder / f"{name}-images-idx3-ubyte", images)
        write_idx(folder / f"{name}-labels-idx1-ubyte", np.arange(number, dtype=np.uint8) % 10)
    return folder


def write_idx(path: Path, array: np.ndarray) -> None:
    """Write bytes in the idx format: two zeros, type 8 (bytes), number of axes, big-endian lengths, data."""
    path.write_bytes(struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape) + array.tobytes())


if __name__ == "__main__":
    print(make_fashion_mnist(Path(sys.argv[1])))
