"""Time of a training step (forward pass, loss, backward pass): our detectors beside torchvision's own, on the CPU.

    python tests/benchmarks/detectors.py [retinanet fcos faster_rcnn ssd300] [--repeats 5] [--threads 1]

Both have the same weights and are given the same images, of the size that both would resize to, with three objects
each. torchvision's counts with its own transform (normalization and a resize that changes nothing), as nobody trains it
without. The repeats of both alternate in one run, the median counts, a first step of each does not.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
import torchvision
from torch import Tensor, nn
from torchvision.models import detection
from torchvision.ops import box_convert

from alpl.boxes.objects import Objects
from alpl.boxes.priors import VOC_300
from alpl.data.batch import Batch
from alpl.data.keep_ratio import IMAGENET_MEAN, IMAGENET_STD
from alpl.data.scene_batches import FlatObjects
from alpl.metrics.voc_ap import VOCAveragePrecision
from alpl.modules.detector import Suppression
from alpl.modules.faster_rcnn import FasterRcnnDetector
from alpl.modules.fcos import FcosDetector
from alpl.modules.retinanet import RetinaNetDetector
from alpl.modules.ssd import SsdDetector
from alpl.networks.faster_rcnn import FasterRcnn
from alpl.networks.fpn import TorchvisionFpn
from alpl.networks.ssd import Ssd
from alpl.networks.towers import Towers
from alpl.networks.vgg import Vgg16ReducedFc

NUM_CLASSES = 20
PARTS = {
    "metric": VOCAveragePrecision,
    "evaluation": Suppression(),
    "acquisition": Suppression(),
    "optimizer": partial(torch.optim.SGD, lr=0.01),
}
ANCHORS = [[size, int(size * 2 ** (1 / 3)), int(size * 2 ** (2 / 3))] for size in (32, 64, 128, 256, 512)]


def retinanet(size: int) -> tuple[Any, nn.Module]:
    """RetinaNet on ResNet-50: ours and theirs, untrained, so with batch norm."""
    backbone = partial(TorchvisionFpn, "resnet50", top="p6p7_on_p5")
    ours = RetinaNetDetector(backbone, NUM_CLASSES, towers=Towers(), anchor_sizes=ANCHORS, **PARTS)
    theirs = detection.retinanet_resnet50_fpn(
        weights=None, weights_backbone=None, num_classes=NUM_CLASSES, min_size=size, max_size=size
    )
    theirs.load_state_dict(ours.network.state_dict())
    return ours, theirs


def fcos(size: int) -> tuple[Any, nn.Module]:
    """FCOS on ResNet-50."""
    backbone = partial(TorchvisionFpn, "resnet50", top="p6p7_on_p5")
    ours = FcosDetector(backbone, NUM_CLASSES, towers=Towers(norm_groups=32), **PARTS)
    theirs = detection.fcos_resnet50_fpn(
        weights=None, weights_backbone=None, num_classes=NUM_CLASSES, min_size=size, max_size=size
    )
    theirs.load_state_dict(ours.network.state_dict())
    return ours, theirs


def faster_rcnn(size: int) -> tuple[Any, nn.Module]:
    """Faster R-CNN on ResNet-50."""
    backbone = partial(TorchvisionFpn, "resnet50", top="pool", first_level=2)
    network = partial(FasterRcnn, backbone, anchor_sizes=[[32], [64], [128], [256], [512]])
    ours = FasterRcnnDetector(network, NUM_CLASSES, **PARTS)
    theirs = detection.fasterrcnn_resnet50_fpn(
        weights=None, weights_backbone=None, num_classes=NUM_CLASSES + 1, min_size=size, max_size=size
    )
    theirs.load_state_dict(ours.network.state_dict())
    theirs.transform.torch_choice = lambda sizes: sizes[0]  # drawn from the generator that both sample regions with
    return ours, theirs


def ssd300(size: int) -> tuple[Any, nn.Module]:
    """SSD on VGG-16: the two differ in weights and priors, and have the same layers."""
    ours = SsdDetector(partial(Ssd, Vgg16ReducedFc), VOC_300, NUM_CLASSES, **PARTS)
    theirs = detection.ssd300_vgg16(weights=None, weights_backbone=None, num_classes=NUM_CLASSES + 1)
    return ours, theirs


PAIRS: dict[str, tuple[Callable[[int], tuple[Any, nn.Module]], int, int]] = {  # maker, input side, shift of labels
    "retinanet": (retinanet, 320, 0),
    "fcos": (fcos, 320, 0),
    "faster_rcnn": (faster_rcnn, 320, 1),
    "ssd300": (ssd300, 300, 1),
}


def steps_of(name: str, batch_size: int) -> dict[str, Callable[[], Tensor]]:
    """Give a step of each of the two."""
    make, size, shift = PAIRS[name]
    ours, theirs = make(size)
    ours.log = lambda *arguments, **options: None
    ours.train(), theirs.train()
    images = torch.rand(batch_size, 3, size, size)
    centers = torch.rand(batch_size, 3, 2) * (size - 100) + 50
    boxes = box_convert(torch.cat([centers, torch.full_like(centers, 80)], 2), "cxcywh", "xyxy")
    labels = torch.randint(NUM_CLASSES, (batch_size, 3))
    objects = [Objects(b, n, torch.zeros_like(n, dtype=torch.bool)) for b, n in zip(boxes, labels, strict=True)]
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (IMAGENET_MEAN, IMAGENET_STD))
    inputs = (images - mean) / std if name != "ssd300" else images * 255 - 114
    labeled = torch.ones(batch_size, dtype=torch.bool)
    batch = Batch(inputs, torch.arange(batch_size), labeled, FlatObjects.join(objects), augment=True)
    targets = [{"boxes": b, "labels": n + shift} for b, n in zip(boxes, labels, strict=True)]
    return {
        "torchvision": lambda: sum(theirs(list(images), targets).values()),
        "alpl": lambda: ours.training_step(batch, 0)["loss"],
    }


def measure(name: str, batch_size: int, repeats: int) -> None:
    """Measure and print one row."""
    torch.manual_seed(0)
    steps = steps_of(name, batch_size)
    measured: dict[str, list[float]] = {each: [] for each in steps}
    losses = {}
    for repeat in range(repeats + 1):
        for each, step in steps.items():
            torch.manual_seed(repeat)  # Faster R-CNN draws which proposals it is trained on
            start = time.perf_counter()
            loss = step()
            loss.backward()
            losses[each] = loss.item()
            if repeat:
                measured[each].append(time.perf_counter() - start)
    medians = {each: statistics.median(times) for each, times in measured.items()}
    ranges = ", ".join(f"{each} {medians[each]:.3f} s ({min(t):.3f} to {max(t):.3f})" for each, t in measured.items())
    ratio = medians["alpl"] / medians["torchvision"]
    print(f"{name:12s}ratio {ratio:.3f}   {ranges}   loss {losses['alpl']:.5f} {losses['torchvision']:.5f}", flush=True)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", default=list(PAIRS), help=f"of {list(PAIRS)}")
    parser.add_argument("--batch-size", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    print(f"torch {torch.__version__}, torchvision {torchvision.__version__}, batch size {arguments.batch_size}")
    for name in arguments.names:
        measure(name, arguments.batch_size, arguments.repeats)


if __name__ == "__main__":
    main()
