"""The selection core: k-center, core-set, CDAL, DBAL and BADGE beside their obvious versions and peers; small cases.

    python tests/benchmarks/selection.py [--quick] [--device cuda] [--only k-center] [--skip-others]

See table.py for the columns, similarity.py for CCMS, medoids and NORIS. The obvious versions are plain torch loops in
float32. Peers (scikit-activeml, small-text) are measured where they are installed; baal has none of these methods. The
full sizes take about half an hour, a few minutes with ``--skip-others``, and ``--quick`` a minute or two.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterator
from functools import partial
from itertools import chain
from typing import TypeAlias

import numpy as np
import torch
from sklearn.cluster import KMeans
from table import Case, Work, arguments, print_table
from torch import Tensor

from alpl.predictions import Posterior, Predictions
from alpl.selection.badge import badge
from alpl.selection.balance_dual import raise_dual
from alpl.selection.cdal import ClassContexts
from alpl.selection.class_balance import balanced_choice, class_targets
from alpl.selection.core_set import CoreSet, core_set
from alpl.selection.dbal import diverse_mini_batch
from alpl.selection.image_distance import FeatureDistance
from alpl.selection.kcenter import Metric, kcenter_greedy, kcenter_greedy_by
from alpl.selection.noris import noris

Make: TypeAlias = Callable[[int, int], Tensor]
Sizes: TypeAlias = tuple[int, int, int, int]
"""N, F, L, b."""


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
    """Squared lengths once, the distances to the labeled by products, then one matrix-vector product a pick.

    The fastest plain loop there is; ``torch.cdist`` and differences take longer. With float32 its products cancel.
    """
    lengths = features.square().sum(1)
    nearest = torch.full((len(features),), torch.inf, device=features.device)
    for some in centers.split(512) if len(centers) else ():
        pairs = torch.addmm(some.square().sum(1), features, some.T, alpha=-2)
        nearest = torch.minimum(nearest, pairs.amin(1) + lengths)
    picks = torch.empty(budget, dtype=torch.long)
    for step in range(budget):
        picks[step] = pick = int(nearest.argmax())
        nearest = torch.minimum(nearest, (features @ features[pick]).mul_(-2).add_(lengths).add_(lengths[pick]))
        nearest[pick] = -torch.inf
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


def contexts_loop(predictions: Predictions, budget: int) -> Tensor:
    """k-center on the mixtures of each class, all images and classes after each pick; the last images are centers."""
    assert predictions.posterior is not None
    probs, number = predictions.posterior.probs, predictions.num_images
    classes = probs.shape[1]
    weights = -torch.xlogy(probs, probs).sum(1, keepdim=True)
    group = predictions.row * classes + probs.argmax(1)
    sums = probs.new_zeros(number * classes, classes).index_add_(0, group, weights * probs)
    mixtures = (sums / sums.sum(1, keepdim=True)).clamp(min=1e-12).view(number, classes, classes)
    has, logs = sums.sum(1).view(number, classes) > 0, mixtures.log()
    mixtures, logs = (torch.where(has[:, :, None], part, 0.0) for part in (mixtures, logs))
    candidates = number - number // 10
    nearest = torch.full((candidates,), torch.inf, device=probs.device)
    picks = torch.empty(budget, dtype=torch.long)

    def closer(image: int) -> Tensor:
        terms = (mixtures[:candidates] - mixtures[image]) * (logs[:candidates] - logs[image])
        apart = torch.where(has[:candidates] & has[image], terms.sum(2), 0.0).sum(1) / 2
        return torch.minimum(nearest, apart)

    for center in range(candidates, number):
        nearest = closer(center)
    for step in range(budget):
        picks[step] = pick = int(nearest.argmax())
        nearest = closer(pick)
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


def badge_factors(features: Tensor, probs: Tensor, budget: int) -> Tensor:
    """Norms once, then one product of errors and one of features for each pick: the fastest plain loop there is."""
    errors = probs.clone()
    errors[torch.arange(len(probs)), probs.argmax(1)] -= 1
    norms = errors.square().sum(1) * features.square().sum(1)
    nearest = torch.ones(len(features), device=features.device)
    picks = torch.empty(budget, dtype=torch.long)
    for step in range(budget):
        picks[step] = pick = int(torch.multinomial(nearest, 1))
        products = (errors @ errors[pick]).mul_(features @ features[pick])
        distances = (norms + norms[pick]).sub_(products, alpha=2).clamp_(min=0)
        nearest = torch.minimum(nearest, distances) if step else distances
        nearest[pick] = 0.0
    return picks


def kl_products(probs: Tensor, centers: Tensor, budget: int) -> Tensor:
    """The symmetric divergence by products: two of a matrix and a vector for each pick."""
    logs, others = probs.log(), centers.log()
    own = (probs * logs).sum(1)
    cross = probs @ others.T + logs @ centers.T
    nearest = (own[:, None] + (centers * others).sum(1) - cross).amin(1) / 2
    picks = torch.empty(budget, dtype=torch.long)
    for step in range(budget):
        picks[step] = pick = int(nearest.argmax())
        nearest = torch.minimum(nearest, (own + own[pick] - probs @ logs[pick] - logs @ probs[pick]) / 2)
        nearest[pick] = -1.0
    return picks


def noris_matrix(information: Tensor, features: Tensor, budget: int) -> Tensor:
    """Algorithm 1 with the whole matrix of similarities, in float32."""
    distances = torch.cdist(features, features)
    similarity = (distances / (0.5 * distances.max())).square_().mul_(-torch.pi).exp_()
    values, free = information.clone(), torch.ones_like(information, dtype=torch.bool)
    picks = torch.empty(budget, dtype=torch.long)
    for step in range(budget):
        picks[step] = pick = int(torch.where(free, values, -torch.inf).argmax())
        free[pick] = False
        values = values - similarity[pick] * values[pick]
    return picks


def dbal_faiss(features: Tensor, weights: Tensor, budget: int) -> object:
    """Weighted k-means by faiss, as many iterations, and the point nearest to each center."""
    import faiss

    points = features[weights.argsort(descending=True)[: 10 * budget]].numpy()
    mass = weights.sort(descending=True).values[: 10 * budget].numpy()
    model = faiss.Kmeans(points.shape[1], budget, niter=20, seed=0, min_points_per_centroid=1)
    model.train(points, weights=mass)
    return faiss.knn(model.centroids, points, 1)


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


def kcenter_case(task: str, make: Make, sizes: Sizes, device: str, compared: str = "", *, grows: bool = False) -> Case:
    """``compared``: "loop", "peers" or nothing."""
    number, width, labeled, budget = sizes

    def prepare() -> Work:
        features = make(number, width).to(device)
        centers, rest = features[:labeled], features[labeled:]
        obvious = (lambda: kcenter_loop(rest, centers, budget)) if compared else None
        peers = kcenter_peers(rest, centers, budget) if compared == "peers" else {}
        return Work(lambda: kcenter_greedy(rest, centers, budget), obvious, None, peers, (features,))

    return Case(task, f"N {number}, F {width}, L {labeled}, b {budget}", prepare, grows)


def kcenter_cases(device: str, quick: bool) -> Iterator[Case]:
    """k-center greedy on easy and hard features."""
    number, width, labeled, budget = sizes = (12_000, 128, 1000, 500) if quick else (50_000, 512, 5000, 2500)
    small = (number // 8, width, labeled // 8, budget // 8)
    yield kcenter_case("k-center, spread", spread, sizes, device, "peers")
    yield kcenter_case("k-center, spread", spread, small, device, "peers")
    yield kcenter_case("k-center, network-like", network_like, sizes, device, "loop")
    yield kcenter_case("k-center, tight clusters", tight, sizes, device, "loop")
    yield kcenter_case("k-center, no labeled", spread, (number, width, 0, budget), device, "loop")
    yield kcenter_case("k-center, float16", lambda *size: spread(*size).half(), sizes, device)

    def cosine() -> Work:
        features = network_like(number, width).to(device)
        unit = torch.nn.functional.normalize(features)
        rest, centers = features[labeled:], features[:labeled]
        return Work(
            lambda: kcenter_greedy(rest, centers, budget, metric="cosine"),
            lambda: kcenter_loop(unit[labeled:], unit[:labeled], budget),
            inputs=(features,),
        )

    yield Case("k-center, cosine", f"N {number}, F {width}, L {labeled}, b {budget}", cosine)


def growth_cases(device: str, quick: bool) -> Iterator[Case]:
    """How k-center greedy grows when one of N, F, L, b doubles."""
    sizes = (12_000, 128, 1000, 500) if quick else (50_000, 512, 5000, 2500)
    for place, what in enumerate(("N", "F", "L", "b")):
        for share in (4, 2, 1):
            size = tuple(value // share if k == place else value for k, value in enumerate(sizes))
            yield kcenter_case(f"growth with {what}", spread, size, device, grows=share < 4)  # type: ignore[arg-type]


def core_set_cases(device: str, quick: bool) -> Iterator[Case]:
    """The greedy start with its bound, and the integer program."""
    number, width, budget = (5000, 64, 100) if quick else (50_000, 512, 2500)
    few = 300 if quick else 1000

    def bound() -> Work:
        features = network_like(number, width).to(device)
        rest, centers = features[budget:], features[:budget]
        return Work(lambda: _said(core_set(rest, centers, budget, num_outliers=number // 10_000)), inputs=(features,))

    def exact() -> Work:
        features = spread(few, 16).to(device)
        rest, centers = features[20:], features[:20]
        return Work(lambda: _said(core_set(rest, centers, 20, num_outliers=1, seconds_a_step=10.0)))

    yield Case("core-set, bound", f"N {number}, F {width}, L {budget}, b {budget}", bound)
    yield Case("core-set, exact", f"N {few}, F 16, b 20, 10 s a step", exact)


def cluster_cases(device: str, quick: bool) -> Iterator[Case]:
    """DBAL and BADGE."""
    number, width, budget = (5000, 64, 100) if quick else (50_000, 512, 1000)

    def inputs(count: int) -> tuple[Tensor, Tensor, Tensor]:
        draw = torch.Generator().manual_seed(1)
        weights, probs = torch.rand(count, generator=draw), (2 * torch.randn(count, 10, generator=draw)).softmax(1)
        return network_like(count, width).to(device), weights.to(device), probs.to(device)

    def dbal() -> Work:
        features, weights, _ = inputs(number)
        return Work(
            lambda: diverse_mini_batch(features, weights, budget, prefilter=10.0, seed=0),
            lambda: dbal_scikit_learn(features, weights, budget),
            inputs=(features,),
        )

    def badge_of(count: int, picks: int, compared: bool) -> Case:
        def prepare() -> Work:
            features, _, probs = inputs(count)
            obvious = (lambda: badge_loop(features, probs, picks)) if compared else None
            ours = lambda: badge(features, probs, picks, torch.Generator().manual_seed(0))  # noqa: E731
            return Work(ours, obvious, inputs=(features, probs))

        return Case("badge", f"N {count}, F {width}, C 10, b {picks}", prepare)

    yield Case("dbal (obvious: sklearn)", f"N {number}, F {width}, b {budget}, beta 10", dbal)
    yield badge_of(number // 5, budget // 4, True)
    yield badge_of(number, budget, False)


def cdal_cases(device: str, quick: bool) -> Iterator[Case]:
    """k-center greedy on mixtures."""
    number, labeled, budget = (5000, 500, 250) if quick else (50_000, 5000, 2500)
    few = number // 25

    def image() -> Work:
        probs = (2 * torch.randn(number, 100, generator=torch.Generator().manual_seed(0))).softmax(1).to(device)
        rest, centers = probs[labeled:], probs[:labeled]
        return Work(
            lambda: kcenter_greedy(rest, centers, budget, metric="symmetric_kl"),
            lambda: kl_loop(rest, centers, budget),
            inputs=(probs,),
        )

    def by_class() -> Work:
        draw = torch.Generator().manual_seed(0)
        probs = (2 * torch.randn(10 * few, 20, generator=draw)).softmax(1).to(device)
        row = torch.arange(few, device=device).repeat_interleave(10)
        predictions = Predictions(torch.arange(few), row, Posterior(probs))
        return Work(
            lambda: kcenter_greedy_by(ClassContexts(predictions), few - few // 10, few // 10, few // 20),
            lambda: contexts_loop(predictions, few // 20),
            inputs=(probs,),
        )

    yield Case("cdal, image", f"N {number}, C 100, L {labeled}, b {budget}", image)
    yield Case("cdal, class", f"N {few} x 10, C 20, L {few // 10}, b {few // 20}", by_class)


def small_cases(device: str, quick: bool) -> Iterator[Case]:
    """Small pools beside the plain loops that are the fastest there; they take turns in one process."""

    def kcenter(metric: Metric) -> Work:
        features = spread(2000, 512).to(device)
        given = torch.nn.functional.normalize(features) if metric == "cosine" else features
        rest, centers = given[200:], given[:200]
        return Work(
            lambda: kcenter_greedy(features[200:], features[:200], 100, metric=metric),
            lambda: kcenter_loop(rest, centers, 100),
        )

    def kl() -> Work:
        probs = (2 * spread(2000, 100)).softmax(1).to(device)
        given = (probs[200:], probs[:200], 100)
        return Work(lambda: kcenter_greedy(*given, metric="symmetric_kl"), lambda: kl_products(*given))

    def gradients(number: int, classes: int, picks: int) -> Work:
        features, probs = spread(number, 64).to(device), (2 * spread(number, classes)).softmax(1).to(device)
        draw = lambda: badge(features, probs, picks, torch.Generator().manual_seed(0))  # noqa: E731
        return Work(draw, lambda: badge_factors(features, probs, picks))

    def redundancy(number: int) -> Work:
        features, known = spread(number, 512).to(device), spread(number, 1)[:, 0].abs().to(device)
        return Work(lambda: noris(known, FeatureDistance(features), 100), lambda: noris_matrix(known, features, 100))

    def clusters() -> Work:
        features, weights = network_like(10_000, 64), spread(10_000, 1)[:, 0].abs()
        peers = {"faiss": lambda: dbal_faiss(features, weights, 100)} if importlib.util.find_spec("faiss") else {}
        return Work(lambda: diverse_mini_batch(features, weights, 100, prefilter=10.0, seed=0), peers=peers)

    def balance(number: int, picks: int) -> Work:
        probs = (2 * spread(number, 100)).softmax(1).double().to(device)
        cost, targets = torch.xlogy(probs, probs).sum(1), class_targets(torch.full((100,), 50, device=device), picks)
        given = (cost, probs, targets, 2.0, picks)
        ours = lambda: f"gap {100 * balanced_choice(*given).gap:.3f} %"  # noqa: E731
        return Work(ours, lambda: raise_dual(*given, 600))

    yield Case("small, k-center", "N 2000, F 512, L 200, b 100", lambda: kcenter("euclidean"), together=True)
    yield Case("small, k-center cosine", "N 2000, F 512, L 200, b 100", lambda: kcenter("cosine"), together=True)
    yield Case("small, cdal, image", "N 2000, C 100, L 200, b 100", kl, together=True)
    sizes = ((5000, 10, 250), (20_000, 100, 500), (50_000, 10, 1000))
    for number, classes, picks in sizes[:1] if quick else sizes:
        size = f"N {number}, F 64, C {classes}, b {picks}"
        yield Case("small, badge", size, partial(gradients, number, classes, picks), together=True)
    for number in (2000,) if quick else (2000, 10_000):
        yield Case("small, noris sum", f"N {number}, F 512, b 100", partial(redundancy, number), together=True)
    yield Case("small, dbal", "N 10000, F 64, b 100, beta 10", clusters, together=True)
    for number, picks in ((1000, 100),) if quick else ((1000, 100), (10_000, 500)):
        size = f"N {number}, C 100, b {picks}"
        yield Case("small, class balance (obvious: the dual)", size, partial(balance, number, picks), together=True)


GROUPS = (kcenter_cases, core_set_cases, cluster_cases, cdal_cases, growth_cases, small_cases)
"""A new method is a new line here."""


def _said(found: CoreSet) -> str:
    return f"radius {found.radius:.3f}, bound {found.bound:.3f}, gap {100 * found.gap:.1f} %"


def main() -> None:
    """Print the table."""
    chosen = arguments(__doc__ or "").parse_args()
    print_table(chain.from_iterable(group(chosen.device, chosen.quick) for group in GROUPS), chosen)


if __name__ == "__main__":
    main()
