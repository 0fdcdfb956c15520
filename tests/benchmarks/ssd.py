"""Time of a training step's forward pass and loss: our SSD300 beside torchvision's, on the CPU.

    python tests/benchmarks/ssd.py [--batch-size 2] [--repeats 5] [--backward]

Both networks are SSD300 with VGG-16 for 21 outputs and random weights, and are given the same 300x300 images with
three objects each. torchvision's counts with its own transform (normalization and a resize that changes nothing), as
nobody trains it without. Repeats are interleaved, the median counts, a first step of each does not.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import torch
import torchvision
from torch import Tensor
from torchvision.ops import box_convert

from alpl.boxes.objects import Objects
from alpl.boxes.priors import VOC_300
from alpl.losses.multibox import multibox_loss
from alpl.networks.ssd import Ssd
from alpl.networks.vgg import Vgg16ReducedFc

NUM_OUTPUTS = 21


def our_step(images: Tensor, boxes: Tensor, labels: Tensor) -> Callable[[], Tensor]:
    """Forward and loss of alpl."""
    network = Ssd(Vgg16ReducedFc, NUM_OUTPUTS, VOC_300.boxes_per_cell).train()
    priors = VOC_300.priors()
    targets = [Objects(b / 300, n, torch.zeros_like(n, dtype=torch.bool)) for b, n in zip(boxes, labels, strict=True)]
    centered = 255 * images - 114

    def step() -> Tensor:
        out = network(centered)
        loss = multibox_loss(out.logits, out.deltas, targets, priors)
        return loss.classification + loss.localization

    return step


def their_step(images: Tensor, boxes: Tensor, labels: Tensor) -> Callable[[], Tensor]:
    """Forward and loss of torchvision."""
    network = torchvision.models.detection.ssd300_vgg16(
        weights=None, weights_backbone=None, num_classes=NUM_OUTPUTS
    ).train()
    targets = [{"boxes": b, "labels": n + 1} for b, n in zip(boxes, labels, strict=True)]
    return lambda: sum(network(list(images), targets).values())


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch-size", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--backward", action="store_true", help="the whole step but the optimizer's part")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(0)
    images = torch.rand(arguments.batch_size, 3, 300, 300)
    centers = torch.rand(arguments.batch_size, 3, 2) * 200 + 50
    boxes = box_convert(torch.cat([centers, torch.full_like(centers, 80)], 2), "cxcywh", "xyxy")
    labels = torch.randint(NUM_OUTPUTS - 1, (arguments.batch_size, 3))
    steps = {"torchvision": their_step(images, boxes, labels), "alpl": our_step(images, boxes, labels)}
    measured: dict[str, list[float]] = {name: [] for name in steps}
    for repeat in range(arguments.repeats + 1):
        for name, step in steps.items():
            start = time.perf_counter()
            loss = step()
            if arguments.backward:
                loss.backward()
            if repeat:
                measured[name].append(time.perf_counter() - start)
    print(f"batch size {arguments.batch_size}: seconds, median of {arguments.repeats} (range)")
    for name, times in measured.items():
        print(f"{name:12s}{statistics.median(times):8.3f}  ({min(times):.3f} to {max(times):.3f})")
    print(f"ratio {statistics.median(measured['alpl']) / statistics.median(measured['torchvision']):.3f}")


if __name__ == "__main__":
    main()
