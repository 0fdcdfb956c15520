"""The selection core: seconds, peak memory, and how they compare with the obvious versions and with peers.

    python tests/benchmarks/selection.py [--quick] [--device cuda] [--only k-center] [--skip-others]

One line a case, and below it one for each version that it is compared with, measured in the same run, turn by turn with
ours. "peak" is memory beside the inputs, the result included (Linux; on CUDA what torch allocates), in MiB and in
multiples of the input. Obvious versions are the plain torch loops. Peers (scikit-activeml, small-text) are measured
where they are installed; baal has none of these methods. The full sizes take about half an hour with all that they are
compared with, and minutes with ``--skip-others``. The cases of similarity.py (CCMS, medoids, NORIS) come last.
"""

from __future__ import annotations

import argparse
import importlib.util
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np
import torch
from similarity import measured, noris_cases, similarity_cases
from sklearn.cluster import KMeans
from torch import Tensor

from alpl.selection.badge import badge
from alpl.selection.core_set import core_set
from alpl.selection.dbal import diverse_mini_batch
from alpl.selection.kcenter import kcenter_greedy


@dataclass(frozen=True)
class Case:
    """One line of the table, and the lines below it.

    Args:
        name: of the method.
        sizes: in words.
        ours: to be measured.
        others: what it is compared with, by name.
        inputs: bytes that the method is given.
    """

    name: str
    sizes: str
    ours: Callable[[], object]
    others: dict[str, Callable[[], object]] = field(default_factory=dict)
    inputs: int = 0


# --- made-up inputs


def spread(number: int, width: int) -> Tensor:
    """Independent normal features: distances are alike, the hardest to rule out."""
    return torch.randn(number, width, generator=torch.Generator().manual_seed(0))


def network_like(number: int, width: int) -> Tensor:
    """Ten classes of rectified features, as behind a last pooling."""
    draw = torch.Generator().manual_seed(0)
    middles = 0.7 * torch.randn(10, width, generator=draw)
    return (
        torch.randn(number, width, generator=draw).add_(middles[torch.randint(10, (number,), generator=draw)]).relu_()
    )


def tight(number: int, width: int) -> Tensor:
    """A hundred clusters, far apart and narrow: products in float32 cannot tell the members apart."""
    draw = torch.Generator().manual_seed(0)
    middles = torch.randn(100, width, generator=draw)
    noise = torch.randn(number, width, generator=draw).mul_(0.05)
    return noise.add_(middles[torch.randint(100, (number,), generator=draw)])


# --- the obvious versions


def kcenter_loop(features: Tensor, centers: Tensor, budget: int) -> Tensor:
    """Distances to the labeled by products, then one pass over the pool for each pick; all in float32."""
    nearest = torch.full((len(features),), torch.inf, device=features.device)
    for some in centers.split(512):
        nearest = torch.minimum(nearest, torch.cdist(features, some).square().amin(1))
    picks = torch.empty(budget, dtype=torch.long)
    for step in range(budget):
        picks[step] = pick = int(nearest.argmax())
        nearest = torch.minimum(nearest, (features - features[pick]).square().sum(1))
        nearest[pick] = -1.0
    return picks


def kl_loop(probs: Tensor, centers: Tensor, budget: int) -> Tensor:
    """The same with the symmetric divergence."""
    logs, nearest = probs.log(), torch.full((len(probs),), torch.inf, device=probs.device)
    picks = torch.empty(budget, dtype=torch.long)

    def closer(point: Tensor) -> Tensor:
        return torch.minimum(nearest, ((probs - point) * (logs - point.log())).sum(1) / 2)

    for center in centers:
        nearest = closer(center)
    for step in range(budget):
        picks[step] = pick = int(nearest.argmax())
        nearest = closer(probs[pick])
        nearest[pick] = -1.0
    return picks


def badge_loop(features: Tensor, probs: Tensor, budget: int) -> Tensor:
    """Embeddings formed, one pass over them for each pick."""
    errors = probs.clone()
    errors[torch.arange(len(probs)), probs.argmax(1)] -= 1
    embedded = (errors[:, :, None] * features[:, None]).flatten(1)
    nearest = torch.ones(len(features), device=features.device)
    picks = torch.empty(budget, dtype=torch.long)
    for step in range(budget):
        picks[step] = pick = int(torch.multinomial(nearest, 1))
        distances = (embedded - embedded[pick]).square().sum(1)
        nearest = torch.minimum(nearest, distances) if step else distances
        nearest[pick] = 0.0
    return picks


def dbal_scikit_learn(features: Tensor, weights: Tensor, budget: int) -> list[int]:
    """Weighted k-means by scikit-learn, started at random as ours is, as many iterations."""
    kept = weights.argsort(descending=True)[: 10 * budget].cpu()
    points = features.cpu()[kept].numpy()
    model = KMeans(budget, init="random", n_init=1, max_iter=20, random_state=0)
    apart = model.fit(points, sample_weight=weights.cpu()[kept].numpy()).transform(points)
    return [int(kept[apart[:, k].argmin()]) for k in range(budget)]


# --- the peers


def kcenter_peers(features: Tensor, centers: Tensor, budget: int) -> dict[str, Callable[[], object]]:
    """Those that are installed."""
    peers: dict[str, Callable[[], object]] = {}
    everyone = torch.cat([centers, features]).cpu().numpy()
    number = len(centers)
    if importlib.util.find_spec("skactiveml"):
        from skactiveml.pool import k_greedy_center

        labels = np.where(np.arange(len(everyone)) < number, 0.0, np.nan)
        peers["scikit-activeml"] = lambda: k_greedy_center(everyone, labels, budget, random_state=0)
    if importlib.util.find_spec("small_text") and len(features) < 10_000:  # all distances again for each pick
        from small_text.query_strategies.coresets import greedy_coreset

        places = np.arange(len(everyone))
        peers["small-text"] = lambda: greedy_coreset(
            everyone, places[number:], places[:number], budget, distance_metric="euclidean"
        )
    return peers


# --- the cases


def kcenter_case(features: Tensor, num_labeled: int, budget: int, what: str, compared: str = "") -> Case:
    """``compared``: "loop", "peers" or nothing."""
    centers, rest = features[:num_labeled], features[num_labeled:]
    others: dict[str, Callable[[], object]] = {}
    if compared:
        others["torch loop"] = lambda: kcenter_loop(rest, centers, budget)
    if compared == "peers":
        others |= kcenter_peers(rest, centers, budget)
    sizes = f"N {len(features)}, F {features.shape[1]}, L {num_labeled}, b {budget}"
    size = features.numel() * features.element_size()
    return Case(f"k-center, {what}", sizes, lambda: kcenter_greedy(rest, centers, budget), others, size)


def kcenter_cases(device: str, quick: bool) -> Iterator[Case]:
    """k-center greedy, and how it grows with N, F and b."""
    number, width, labeled, budget = (12_000, 128, 1000, 500) if quick else (50_000, 512, 5000, 2500)
    features = spread(number, width).to(device)
    yield kcenter_case(features, labeled, budget, "spread", "peers")
    for share in (8, 4, 2):
        compared = "peers" if share == 8 else ""
        yield kcenter_case(features[: number // share], labeled // share, budget // share, "N, L, b", compared)
    for share in (8, 4, 2):
        yield kcenter_case(features[:, : width // share].contiguous(), labeled, budget, "F")
    for share in (4, 2):
        yield kcenter_case(features, labeled, budget // share, "b")
    yield kcenter_case(features, labeled, 2 * budget, "b")
    yield kcenter_case(features, 0, budget, "no labeled", "loop")
    del features
    for make, what in ((network_like, "network-like"), (tight, "tight clusters")):
        features = make(number, width).to(device)
        yield kcenter_case(features, labeled, budget, what, "loop")
    unit = torch.nn.functional.normalize(features)
    yield Case(
        "k-center, cosine",
        f"N {number}, F {width}, L {labeled}, b {budget}",
        lambda: kcenter_greedy(features[labeled:], features[:labeled], budget, metric="cosine"),
        {"torch loop": lambda: kcenter_loop(unit[labeled:], unit[:labeled], budget)},
        features.numel() * 4,
    )


def core_set_cases(device: str, quick: bool) -> Iterator[Case]:
    """The greedy start with its bound, and the integer program."""
    number, width, budget = (5000, 64, 100) if quick else (50_000, 512, 2500)
    features = network_like(number, width).to(device)
    yield Case(
        "core-set, bound",
        f"N {number}, F {width}, b {budget}",
        lambda: _said(core_set(features[budget:], features[:budget], budget, num_outliers=number // 10_000)),
        inputs=features.numel() * 4,
    )
    few = spread(300 if quick else 1000, 16).to(device)
    yield Case(
        "core-set, exact",
        f"N {len(few)}, F 16, b 20, 10 s a step",
        lambda: _said(core_set(few[20:], few[:20], 20, num_outliers=1, seconds_a_step=10.0)),
        inputs=few.numel() * 4,
    )


def cluster_cases(device: str, quick: bool) -> Iterator[Case]:
    """DBAL and BADGE."""
    number, width, budget = (5000, 64, 100) if quick else (50_000, 512, 1000)
    features = network_like(number, width).to(device)
    draw = torch.Generator().manual_seed(1)
    weights = torch.rand(number, generator=draw).to(device)
    probs = (2 * torch.randn(number, 10, generator=draw)).softmax(1).to(device)
    size = features.numel() * 4
    yield Case(
        "dbal",
        f"N {number}, F {width}, b {budget}, beta 10",
        lambda: diverse_mini_batch(features, weights, budget, prefilter=10.0, seed=0),
        {"scikit-learn": lambda: dbal_scikit_learn(features, weights, budget)},
        size,
    )
    few, known = features[: number // 5].clone(), probs[: number // 5].clone()
    yield Case(
        "badge",
        f"N {len(few)}, F {width}, C 10, b {budget // 4}",
        lambda: badge(few, known, budget // 4, torch.Generator().manual_seed(0)),
        {"torch loop": lambda: badge_loop(few, known, budget // 4)},
        few.numel() * 4,
    )
    yield Case(
        "badge",
        f"N {number}, F {width}, C 10, b {budget}",
        lambda: badge(features, probs, budget, torch.Generator().manual_seed(0)),
        inputs=size,
    )


def cdal_cases(device: str, quick: bool) -> Iterator[Case]:
    """k-center greedy on mixtures."""
    number, labeled, budget = (5000, 500, 250) if quick else (50_000, 5000, 2500)
    probs = (2 * torch.randn(number, 100, generator=torch.Generator().manual_seed(0))).softmax(1).to(device)
    rest, centers = probs[labeled:], probs[:labeled]
    yield Case(
        "cdal, image",
        f"N {number}, C 100, L {labeled}, b {budget}",
        lambda: kcenter_greedy(rest, centers, budget, metric="symmetric_kl"),
        {"torch loop": lambda: kl_loop(rest, centers, budget)},
        probs.numel() * 4,
    )


def similarity_and_noris(device: str, quick: bool) -> Iterator[Case]:
    """The cases of similarity.py."""
    for make in (similarity_cases, noris_cases):
        for case in make(device, quick):
            yield Case(case.name, case.sizes, case.ours, {case.other_name: case.other} if case.other else {})


GROUPS = (kcenter_cases, core_set_cases, cluster_cases, cdal_cases, similarity_and_noris)
"""A new method is a new line here."""


def _said(found: object) -> None:
    print(f"  radius {found.radius:.4f}, bound {found.bound:.4f}, gap {100 * found.gap:.1f} %")  # type: ignore[attr-defined]


def measure(case: Case, device: str, turns: int, alone: bool) -> None:
    """Print the lines of a case; of several turns the fastest counts."""
    others = {} if alone else case.others
    ours: list[tuple[float, float]] = []
    theirs: dict[str, list[tuple[float, float]]] = {name: [] for name in others}
    for _ in range(turns if others else 1):
        ours.append(measured(case.ours, device))
        for name, other in others.items():
            theirs[name].append(measured(other, device))
    seconds, peak = min(seconds for seconds, _ in ours), max(peak for _, peak in ours)
    share = f"{2**20 * peak / case.inputs:8.2f} x" if case.inputs else ""
    print(f"{case.name:26} {case.sizes:38} {seconds:9.2f} {peak:9.0f} {share:10}", flush=True)
    for name, found in theirs.items():
        least, most = min(seconds for seconds, _ in found), max(peak for _, peak in found)
        print(f"{'':26} {name:38} {least:9.2f} {most:9.0f} {'':10} {least / seconds:8.1f} times ours", flush=True)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="small sizes, a minute")
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    parser.add_argument("--only", default="", help="cases whose name contains this")
    parser.add_argument("--skip-others", action="store_true", help="ours alone")
    parser.add_argument("--turns", type=int, default=1, help="of ours and the others, of which the fastest counts")
    chosen = parser.parse_args()
    kcenter_greedy(spread(500, 8), spread(500, 8), 50)  # loads the libraries, which is not to be measured
    print(f"{'method':26} {'sizes':38} {'seconds':>9} {'peak MiB':>9} {'of input':>10}")
    for group in GROUPS:
        for case in group(chosen.device, chosen.quick):
            if chosen.only in case.name:
                measure(case, chosen.device, chosen.turns, chosen.skip_others)


if __name__ == "__main__":
    main()
