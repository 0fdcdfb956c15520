"""CCMS, medoids and NORIS: seconds, peak memory, and how they compare with the obvious versions and with a floor.

    python tests/benchmarks/similarity.py [--quick | --full] [--device cuda] [--only ccms]

One line a case. "peak" is memory beside the inputs, the result included (Linux; on CUDA what torch allocates).
"obvious" is a plain torch version of the paper's equations, measured in the same run, turn by turn with ours; "floor"
the matrix products of the class sizes and nothing else. ``--full`` adds the sizes of COCO, which take minutes.
"""

from __future__ import annotations

import argparse
import ctypes
import gc
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from alpl.selection.ccms import ccms
from alpl.selection.image_distance import FeatureDistance
from alpl.selection.medoids import kcenter_of_similarities, refine_medoids
from alpl.selection.noris import VARIANTS, noris
from alpl.selection.object_distance import ObjectDistance
from alpl.selection.object_match import KlMatch, unit_vectors
from alpl.selection.objects import Objects


@dataclass(frozen=True)
class Case:
    """One line of the table.

    Args:
        name: of the method.
        sizes: in words.
        ours: to be measured.
        other: what it is compared with, if anything.
        other_name: "obvious" or "floor".
    """

    name: str
    sizes: str
    ours: Callable[[], object]
    other: Callable[[], object] | None = None
    other_name: str = ""


# --- made-up inputs


def made_up(images: int, each: int, width: int, classes: int, device: str, *, probs: bool = False) -> Objects:
    """Detections of images, their features around one center a class, classes equally frequent."""
    draw = torch.Generator().manual_seed(0)
    number = images * each
    labels = torch.randint(classes, (number,), generator=draw)
    values = torch.randn(classes, width, generator=draw)[labels] + torch.randn(number, width, generator=draw)
    values = values.softmax(1) if probs else values.relu()
    row = torch.arange(images).repeat_interleave(each)
    parts = (values, labels, torch.rand(number, generator=draw), row)
    return Objects(*(part.to(device) for part in parts), images)


# --- the obvious versions


def ccms_by_pairs(objects: Objects) -> Tensor:
    """Equations 6 and 7, one pair of images after the other, as the released code goes."""
    number = objects.num_images
    unit = unit_vectors(objects.values)
    parts = [
        (unit[objects.row == image], objects.labels[objects.row == image], objects.scores[objects.row == image])
        for image in range(number)
    ]
    found = torch.full((number, number), 2.0, device=unit.device)

    def one_way(a: int, b: int) -> Tensor:
        (f, c, t), (g, d, _) = parts[a], parts[b]
        return (torch.where(c[:, None] == d, f @ g.T + 1, 0.0).amax(1) * t).sum() / t.sum()

    for a in range(number):
        for b in range(a):
            found[a, b] = found[b, a] = (one_way(a, b) + one_way(b, a)) / 2
    return found


def class_products(objects: Objects) -> None:
    """What multiplying all objects of each class takes, and nothing else."""
    unit = unit_vectors(objects.values)
    for label in objects.labels.unique():
        of_class = unit[objects.labels == label]
        out = of_class.new_empty(1024, len(of_class))
        for part in of_class.split(1024):
            torch.mm(part, of_class.T, out=out[: len(part)])


def medoids_by_loops(similarity: Tensor, centers: Tensor) -> Tensor:
    """All 100 iterations, every cluster in each."""
    medoids = centers.clone()
    for _ in range(100):
        cluster = similarity[:, medoids].argmax(1)
        cluster[medoids] = torch.arange(len(medoids), device=medoids.device)
        for k in range(len(medoids)):
            members = (cluster == k).nonzero().flatten()
            medoids[k] = members[similarity[members][:, members].sum(1).argmax()]
    return medoids


def noris_by_pairs(information: Tensor, objects: Objects, images: Tensor, budget: int) -> list[int]:
    """All distances first, one pair of images after the other, then Algorithm 1."""
    number = objects.num_images
    parts = [objects.values[objects.row == image].double() for image in range(number)]
    apart = torch.cdist(images.double(), images.double()).square()
    for a in range(number):
        for b in range(a):
            apart[a, b] = apart[b, a] = apart[a, b] * torch.cdist(parts[a], parts[b]).square().max()
    similarity = (-torch.pi * (apart / (0.5 * apart.max())).square()).exp()
    sigma, picks = information.double().clone(), []
    for _ in range(budget):
        pick = int(sigma.argmax())
        picks.append(pick)
        worth = sigma[pick].clone()
        sigma = sigma - similarity[pick] * worth
        sigma[picks] = -torch.inf
    return picks


# --- the cases


def similarity_cases(device: str, quick: bool) -> list[Case]:
    """CCMS and medoids."""
    few = made_up(60 if quick else 256, 100, 256, 20, device)
    voc = made_up(400 if quick else 1664, 100, 256, 20, device)
    budget = voc.num_images // 4
    square = ccms(voc)
    centers = kcenter_of_similarities(square, budget, 0)
    probs = made_up(voc.num_images, 100, 21, 20, device, probs=True)
    cases = [
        Case("ccms", _sizes(few), lambda: ccms(few), lambda: ccms_by_pairs(few), "obvious"),
        Case("ccms", _sizes(voc), lambda: ccms(voc), lambda: class_products(voc), "floor"),
        Case(
            "ccms, 1 class",
            _sizes(few),
            lambda: ccms(_one_class(few)),
            lambda: class_products(_one_class(few)),
            "floor",
        ),
        Case("ccms by KL", _sizes(probs), lambda: ccms(probs, KlMatch())),
        Case("k-center", f"N {len(square)}, b {budget}", lambda: kcenter_of_similarities(square, budget, 0)),
        Case(
            "medoids",
            f"N {len(square)}, b {budget}, 100 iterations",
            lambda: refine_medoids(square, centers),
            lambda: medoids_by_loops(square, centers),
            "obvious",
        ),
    ]
    return cases


def full_cases(device: str) -> list[Case]:
    """The sizes of PPAL on COCO: 4 GiB of memory must do."""
    coco = made_up(9464, 100, 256, 80, device)
    made: list[Tensor] = []

    def both() -> Tensor:
        return refine_medoids(made[0], kcenter_of_similarities(made[0], 2365, 0))

    return [
        Case("ccms", _sizes(coco), lambda: made.append(ccms(coco))),
        Case("k-center and medoids", "N 9464, b 2365", both),
    ]


def noris_cases(device: str, quick: bool) -> list[Case]:
    """NORIS on image features and on objects."""
    number, budget = (1000, 100) if quick else (11600, 1655)
    few, many = made_up(150 if quick else 300, 20, 64, 20, device), made_up(number, 20, 64, 20, device)
    draw = torch.Generator().manual_seed(1)
    images, information = (torch.randn(number, 64, generator=draw), torch.rand(number, generator=draw))
    images, information = images.to(device), information.to(device)
    size, chosen = few.num_images, few.num_images // 10
    some, known = images[:size], information[:size]
    cases = [
        Case(
            f"noris {variant}",
            f"N {number}, F 64, b {budget}",
            lambda variant=variant: noris(information, FeatureDistance(images), budget, variant=variant),
        )
        for variant in VARIANTS
    ]
    return [
        *cases,
        Case(
            "noris on objects",
            f"N {size} x 20, F 64, b {chosen}",
            lambda: noris(known, ObjectDistance(few.values, few.row, some), chosen),
            lambda: noris_by_pairs(known, few, some, chosen),
            "obvious",
        ),
        Case(
            "largest object distance",
            f"N {number} x 20, F 64",
            lambda: ObjectDistance(many.values, many.row, images).largest(),
        ),
        Case(
            "noris on objects",
            f"N {number} x 20, F 64, b {budget}",
            lambda: noris(information, ObjectDistance(many.values, many.row, images), budget),
        ),
    ]


def _one_class(objects: Objects) -> Objects:
    labels = torch.zeros_like(objects.labels)
    return Objects(objects.values, labels, objects.scores, objects.row, objects.num_images)


def _sizes(objects: Objects) -> str:
    each = len(objects.row) // objects.num_images
    return f"N {objects.num_images} x {each}, F {objects.values.shape[1]}, K {len(objects.labels.unique())}"


# --- measuring


def _status(name: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith(name)).split()[1]) * 1024


def measured(work: Callable[[], object], device: str) -> tuple[float, float]:
    """Seconds, and MiB at the peak beside what was there before."""
    if device == "cuda":
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
    else:
        gc.collect()
        ctypes.CDLL(None).malloc_trim(0)  # what was freed before must not hide what is taken now
        Path("/proc/self/clear_refs").write_text("5")  # forgets the peak so far
        before = _status("VmRSS")
    start = time.perf_counter()
    work()
    if device == "cuda":
        torch.cuda.synchronize()
    seconds = time.perf_counter() - start
    peak = torch.cuda.max_memory_allocated() if device == "cuda" else _status("VmHWM")
    return seconds, (peak - before) / 2**20


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="small sizes, a minute")
    parser.add_argument("--full", action="store_true", help="the sizes of COCO too, many minutes")
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    parser.add_argument("--only", default="", help="cases whose name contains this")
    parser.add_argument("--turns", type=int, default=2, help="of ours and the other, of which the faster counts")
    chosen = parser.parse_args()
    groups = [lambda: similarity_cases(chosen.device, chosen.quick), lambda: noris_cases(chosen.device, chosen.quick)]
    if chosen.full:
        groups.append(lambda: full_cases(chosen.device))
    print(f"{'method':24} {'sizes':32} {'seconds':>9} {'peak MiB':>9}   compared")
    for group in groups:
        for case in group():
            if chosen.only not in case.name:
                continue
            turns = chosen.turns if case.other else 1
            ours, theirs, peaks = [], [], []
            for _ in range(turns):
                seconds, peak = measured(case.ours, chosen.device)
                ours.append(seconds)
                peaks.append(peak)
                if case.other:
                    theirs.append(measured(case.other, chosen.device)[0])
            note = f"{case.other_name} {min(theirs):.2f} s, {min(theirs) / min(ours):.1f} times ours" if theirs else ""
            print(f"{case.name:24} {case.sizes:32} {min(ours):9.2f} {max(peaks):9.1f}   {note}", flush=True)


if __name__ == "__main__":
    main()
