"""Make a tiny CIFAR in the published layout: python tests/data/fake/cifar.py {cifar10,cifar100} FOLDER."""

from __future__ import annotations

import hashlib
import pickle
import sys
from pathlib import Path

import numpy as np


def make_cifar10(root: Path, images_per_file: int = 20) -> dict[str, str]:
    """Write ``root/cifar-10-batches-py``; give the md5 sum of each file."""
    names = [*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"]
    files = {name: _batch(seed, images_per_file, 10, "labels") for seed, name in enumerate(names)}
    files["batches.meta"] = {"label_names": [f"class {i}" for i in range(10)], "num_vis": 3072}
    return _write(root / "cifar-10-batches-py", files)


def make_cifar100(root: Path, images_per_file: int = 200) -> dict[str, str]:
    """Write ``root/cifar-100-python``; give the md5 sum of each file."""
    files = {name: _batch(seed, images_per_file, 100, "fine_labels") for seed, name in enumerate(["train", "test"])}
    for batch in files.values():
        batch["coarse_labels"] = [label // 5 for label in batch["fine_labels"]]
    files["meta"] = {
        "fine_label_names": [f"fine {i}" for i in range(100)],
        "coarse_label_names": [f"coarse {i}" for i in range(20)],
    }
    return _write(root / "cifar-100-python", files)


def _batch(seed: int, num_images: int, num_classes: int, labels: str) -> dict:
    random = np.random.default_rng(seed)
    return {
        "data": random.integers(0, 256, (num_images, 3072), dtype=np.uint8),  # a row: 1024 red, green, blue
        labels: [i % num_classes for i in range(num_images)],
        "filenames": [f"image_{seed}_{i}.png" for i in range(num_images)],
    }


def _write(folder: Path, files: dict[str, dict]) -> dict[str, str]:
    folder.mkdir(parents=True)
    sums = {}
    for name, content in files.items():
        data = pickle.dumps(content, protocol=2)  # 2: the protocol of the published files
        (folder / name).write_bytes(data)
        sums[name] = hashlib.md5(data).hexdigest()
    return sums


if __name__ == "__main__":
    print({"cifar10": make_cifar10, "cifar100": make_cifar100}[sys.argv[1]](Path(sys.argv[2])))
