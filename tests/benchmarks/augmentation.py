"""Images a second on their way from memory to a normalized float batch: ours beside torchvision's, per image.

    python tests/benchmarks/augmentation.py [--batch-size 128] [--repeats 5] [--simsiam]

Both ways are given two CPU cores: torchvision's per-image way runs in a DataLoader of 2 workers (as its
CIFAR10 does it: Image.fromarray, RandomCrop(32, 4), RandomHorizontalFlip, ToTensor, Normalize), ours in the
main process with 2 threads, and once more with 1. ``--simsiam``: a view of SimSiam instead, as
conf/pretrained/simsiam.yaml draws it: RandomResizedCrop, flip, ColorJitter, gray, blur. The images are random
bytes of CIFAR's size. Repeats are interleaved, the median counts; starting the workers is not counted, nor is a
first batch of each.

Needs both cores for itself: beside other programs, 2 threads that wait for each other can be slower than 1 by
an order of magnitude. A wide range of the repeats says that this happened.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

from alpl.data.augment import Compose, HorizontalFlip, Normalize, PadCrop, RandomResizedCrop
from alpl.data.color_augment import ColorJitter, GaussianBlur, RandomGrayscale

NUM_IMAGES = 50_000
NUM_WORKERS = 2
MEAN, STD = (0.4914, 0.4822, 0.4465), (0.247, 0.2435, 0.2616)
JITTER = {"brightness": 0.4, "contrast": 0.4, "saturation": 0.4, "hue": 0.1}


def theirs(simsiam: bool) -> list[Callable[[Any], Any]]:
    """Torchvision's, of an image of PIL."""
    if not simsiam:
        return [transforms.RandomCrop(32, padding=4), transforms.RandomHorizontalFlip()]
    jitter = transforms.RandomApply([transforms.ColorJitter(**JITTER)], 0.8)
    blur = transforms.RandomApply([transforms.GaussianBlur(3, (0.1, 2.0))], 0.5)
    crop = transforms.RandomResizedCrop(32, (0.2, 1.0))
    return [crop, transforms.RandomHorizontalFlip(), jitter, transforms.RandomGrayscale(0.2), blur]


def ours(simsiam: bool) -> list[Callable[[Tensor], Tensor]]:
    """The same of whole batches."""
    if not simsiam:
        return [PadCrop(4), HorizontalFlip()]
    colors = [ColorJitter(**JITTER, p=0.8), RandomGrayscale(0.2), GaussianBlur(3, (0.1, 2.0), 0.5)]
    return [RandomResizedCrop(32, (0.2, 1.0)), HorizontalFlip(), *colors]


class PerImage(Dataset[tuple[Tensor, int]]):
    """What torchvision.datasets.CIFAR10 does with its array ``UInt8[N H W C]``."""

    def __init__(self, pixels: np.ndarray, simsiam: bool) -> None:
        self.pixels = pixels
        steps = [*theirs(simsiam), transforms.ToTensor(), transforms.Normalize(MEAN, STD)]
        self.transform = transforms.Compose(steps)

    def __len__(self) -> int:
        return len(self.pixels)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return self.transform(Image.fromarray(self.pixels[index])), index


def per_image_batches(images: Tensor, batch_size: int, simsiam: bool) -> Iterator[Tensor]:
    """An epoch through the DataLoader."""
    data = PerImage(images.permute(0, 2, 3, 1).contiguous().numpy(), simsiam)
    for batch, _ in DataLoader(data, batch_size, shuffle=True, num_workers=NUM_WORKERS):
        yield batch


def whole_batches(images: Tensor, batch_size: int, simsiam: bool) -> Iterator[Tensor]:
    """Epochs without end through alpl's transforms."""
    transform = Compose(*ours(simsiam), Normalize(MEAN, STD))
    while True:
        for index in torch.randperm(len(images)).split(batch_size):
            yield transform(images.index_select(0, index))


def images_per_second(batches: Iterator[Tensor], num_batches: int) -> float:
    """Time ``num_batches`` after the first."""
    next(batches)
    start = time.perf_counter()
    number = sum(len(batch) for _, batch in zip(range(num_batches), batches, strict=False))
    return number / (time.perf_counter() - start)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--simsiam", action="store_true")
    arguments = parser.parse_args()
    images = torch.randint(0, 256, (NUM_IMAGES, 3, 32, 32), dtype=torch.uint8)
    per_epoch = NUM_IMAGES // arguments.batch_size
    one, all_at_once = (partial(make, simsiam=arguments.simsiam) for make in (per_image_batches, whole_batches))
    epochs = 0.4 if arguments.simsiam else 5
    ways = {  # how it works, threads, batches: each way about half a second or more
        "torchvision, 2 workers": (one, 2, per_epoch // (20 if arguments.simsiam else 5)),
        "alpl, 2 threads": (all_at_once, 2, int(per_epoch * epochs)),
        "alpl, 1 thread": (all_at_once, 1, int(per_epoch * epochs)),
    }
    measured: dict[str, list[float]] = {way: [] for way in ways}
    for _ in range(arguments.repeats):
        for way, (make, num_threads, num_batches) in ways.items():
            torch.set_num_threads(num_threads)
            measured[way].append(images_per_second(make(images, arguments.batch_size), num_batches))
    base = statistics.median(measured["torchvision, 2 workers"])
    print(f"batch size {arguments.batch_size}: images a second, median of {arguments.repeats} (range)")
    for name, speeds in measured.items():
        middle = statistics.median(speeds)
        print(f"{name:24s}{middle:12,.0f}  ({min(speeds):,.0f} to {max(speeds):,.0f})   {middle / base:5.1f}x")


if __name__ == "__main__":
    main()
