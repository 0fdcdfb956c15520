"""Parameters and forward seconds of AL-MDN's networks beside plain SSD300 (the cost columns of Tables 4 and 5).

    python tests/benchmarks/mixture.py [--num-classes 20] [--batch-size 1] [--repeats 5] [--threads 1] [--device cpu]

The networks are SSD300 on VGG-16 with random weights: plain; with the heads gmm and eff; gmm with 25 passes of
MC-dropout behind the six extra layers, whole passes as the paper counts them, and as alpl makes them (one trunk for
all passes); and three gmm networks. "forward" is the network and its reading (Eq. 7), without suppression. "detect"
is all of it with suppression and what the acquisition needs, on random images of random weights. Repeats are
interleaved, the median counts, a first turn does not.
"""

from __future__ import annotations

import argparse
import platform
import statistics
import time
from collections.abc import Callable

import torch
from torch import nn

from alpl.boxes.priors import VOC_300
from alpl.modules.dropout import dropped
from alpl.networks.heads import AbstractBoxHead, AbstractClassHead
from alpl.networks.mixture_heads import EfficientMixtureClasses, MixtureBoxes, MixtureClasses
from alpl.networks.ssd import Ssd
from alpl.networks.vgg import Vgg16ReducedFc

PASSES, MEMBERS = 25, 3
PAPER = {"gmm": 0.031, "eff": 0.029, "MC-dropout": 0.689, "ensemble": 0.093}  # Table 4, seconds


def network(
    num_classes: int, classes: AbstractClassHead | None, boxes: AbstractBoxHead | None, dropout: float = 0.0
) -> Ssd:
    """Make an SSD300 in evaluation mode."""
    return Ssd(Vgg16ReducedFc, num_classes + 1, VOC_300.boxes_per_cell, dropout, classes, boxes).eval()


def steps(num_classes: int, images: torch.Tensor) -> tuple[dict[str, Callable[[], object]], dict[str, int]]:
    """Give what is timed, and the parameters of each."""
    device = images.device
    plain = network(num_classes, None, None).to(device)
    gmm = network(num_classes, MixtureClasses(), MixtureBoxes()).to(device)
    eff = network(num_classes, EfficientMixtureClasses(), MixtureBoxes()).to(device)
    drop = network(num_classes, MixtureClasses(), MixtureBoxes(), 0.1).to(device)
    members = [network(num_classes, MixtureClasses(), MixtureBoxes()).to(device) for _ in range(MEMBERS)]

    def forward(one: Ssd) -> object:
        output = one(images)
        return output.logits, output.deltas

    def whole_passes() -> object:
        with dropped(drop):
            return [forward(drop) for _ in range(PASSES)]

    def shared_trunk() -> object:
        trunk = drop.trunk(images)
        with dropped(drop):
            return [drop.from_trunk(trunk).logits for _ in range(PASSES)]

    timed = {
        "plain": lambda: forward(plain),
        "plain, trunk only": lambda: plain.trunk(images),
        "gmm": lambda: forward(gmm),
        "gmm, trunk only": lambda: gmm.trunk(images),
        "eff": lambda: forward(eff),
        "MC-dropout": whole_passes,
        "MC-dropout, one trunk": shared_trunk,
        "ensemble": lambda: [forward(member) for member in members],
    }
    counts = {"plain": _size(plain), "gmm": _size(gmm), "eff": _size(eff), "MC-dropout": _size(drop)}
    counts |= {"MC-dropout, one trunk": _size(drop), "ensemble": sum(map(_size, members))}
    return timed, counts


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--num-classes", type=int, default=20)
    parser.add_argument("--batch-size", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="cpu")
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    torch.manual_seed(0)
    images = torch.rand(given.batch_size, 3, 300, 300, device=given.device) * 255 - 114
    timed, counts = steps(given.num_classes, images)
    seconds: dict[str, list[float]] = {name: [] for name in timed}
    with torch.inference_mode():
        for turn in range(given.repeats + 1):
            for name, step in timed.items():
                if turn or not name.startswith(("MC", "ensemble")):  # what they run is warm already
                    seconds[name].append(_seconds(step, given.device))
    where = torch.cuda.get_device_name() if given.device == "cuda" else f"{platform.processor() or platform.machine()}"
    print(f"{where}, {given.threads} threads, batch size {given.batch_size}: median of {given.repeats} turns")
    median = {name: statistics.median(found[-given.repeats :]) for name, found in seconds.items()}
    print(f"{'':24s}{'params M':>9s}{'seconds':>10s}{'/ plain':>9s}{'/ gmm':>9s}{'paper / gmm':>13s}")
    for name, value in median.items():
        size = f"{counts[name] / 1e6:.2f}" if name in counts else ""
        paper = f"{PAPER[name] / PAPER['gmm']:.2f}" if name in PAPER else ""
        ratios = f"{value / median['plain']:9.2f}{value / median['gmm']:9.2f}"
        print(f"{name:24s}{size:>9s}{value:10.4f}{ratios}{paper:>13s}")


def _seconds(step: Callable[[], object], device: str) -> float:
    if device == "cuda":
        torch.cuda.synchronize()
    start = time.perf_counter()
    step()
    if device == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - start


def _size(network_: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network_.parameters())


if __name__ == "__main__":
    main()
