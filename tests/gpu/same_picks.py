"""Selection on a GPU beside the CPU: the same picks, and the seconds of both.

    python tests/gpu/same_picks.py [--device cuda] [--tiny]

Prints a line a method, then JSON; ends with 1 where a method picked otherwise.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeAlias

import torch
from torch import Tensor

from alpl.runs.environment import describe_device
from alpl.selection import (
    FeatureDistance,
    badge,
    balanced_choice,
    balanced_kcenter,
    ccms,
    class_targets,
    diverse_mini_batch,
    kcenter_greedy,
    kcenter_of_similarities,
    noris,
)
from alpl.selection.objects import Objects

Case: TypeAlias = tuple[str, Sequence[Tensor], Callable[..., Tensor]]
"""A name, tensors that lie on the device, and what chooses by them."""


def cases(*, tiny: bool) -> Iterator[Case]:
    """Sizes of CIFAR-10 with 10 % labeled, less where that would take a CPU minutes."""
    draw = torch.Generator().manual_seed(0)
    number, width, budget = (300, 16, 20) if tiny else (45_000, 512, 2500)
    few = min(number, 10_000)
    middles = torch.randn(10, width, generator=draw)[torch.randint(10, (number,), generator=draw)]
    features = (torch.randn(number, width, generator=draw) + middles).relu()
    probs = (2 * torch.randn(number, 10, generator=draw)).softmax(1)
    entropy = -torch.xlogy(probs, probs).sum(1)
    centers = torch.randn(budget, width, generator=draw).relu()
    targets = class_targets(torch.full((10,), budget // 10), budget)
    yield "kcenter", (features, centers), lambda x, c: kcenter_greedy(x, c, budget)[0]
    yield (
        "kcenter_balanced", (features, centers, probs, targets),
        lambda x, c, p, t: balanced_kcenter(x, c, p, t, 1.0, budget)[0],
    )  # fmt: skip
    some = 40 if tiny else number  # so few are solved exactly; the search takes its seconds whatever the number
    yield (
        "class_balance", (-entropy[:some], probs[:some], targets),
        lambda c, p, t: balanced_choice(c, p, t, 2.0, budget).index,
    )  # fmt: skip
    yield (
        "badge", (features[:few], probs[:few]),
        lambda x, p: badge(x, p, budget // 10, torch.Generator().manual_seed(0))[0],
    )  # fmt: skip
    yield "dbal", (features, entropy), lambda x, e: diverse_mini_batch(x, e, budget // 2, prefilter=10, seed=0)
    yield "noris", (entropy[:few], features[:few, :64]), lambda e, x: noris(e, FeatureDistance(x), budget // 10)[0]
    images = 60 if tiny else 832
    labels, scores = torch.randint(20, (images * 20,), generator=draw), torch.rand(images * 20, generator=draw)
    values, row = torch.randn(images * 20, 64, generator=draw).relu(), torch.arange(images).repeat_interleave(20)

    def by_similarity(values: Tensor, labels: Tensor, scores: Tensor, row: Tensor) -> Tensor:
        return kcenter_of_similarities(ccms(Objects(values, labels, scores, row, images)), images // 8, first=0)

    yield "ccms", (values, labels, scores, row), by_similarity


def timed(choose: Callable[..., Any], given: Sequence[Tensor], device: torch.device) -> tuple[list[int], float]:
    moved = [part.to(device) for part in given]
    if device.type == "cuda":
        torch.cuda.synchronize()
    start = time.perf_counter()
    picks = choose(*moved).tolist()
    return picks, time.perf_counter() - start


def compared(device: torch.device, *, tiny: bool) -> dict[str, dict[str, Any]]:
    found = {}
    for name, given, choose in cases(tiny=tiny):
        timed(choose, given, device)  # a GPU's libraries load
        there, seconds = timed(choose, given, device)
        here, on_cpu = timed(choose, given, torch.device("cpu"))
        found[name] = {"same": there == here, "seconds": round(seconds, 4), "cpu_seconds": round(on_cpu, 4)}
        print(
            f"{name}: {'same' if there == here else 'OTHER'} picks, {seconds:.3f} s, on the CPU {on_cpu:.3f} s",
            flush=True,
        )
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda", choices=["cpu", "cuda"])
    parser.add_argument("--tiny", action="store_true")
    given = parser.parse_args()
    if given.device == "cuda" and not torch.cuda.is_available():
        raise SystemExit("there is no CUDA device")
    device = torch.device(given.device)
    methods = compared(device, tiny=given.tiny)
    print(json.dumps({"device": describe_device(device), "methods": methods}))
    raise SystemExit(not all(method["same"] for method in methods.values()))


if __name__ == "__main__":
    main()
