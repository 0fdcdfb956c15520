"""Selection by similarity: CCMS, medoids, NORIS and class balance. One row a case.

    python tests/benchmarks/similarity.py [--quick | --full] [--device cuda] [--only ccms] [--skip-others]

See table.py for the columns. The obvious versions are plain torch versions of the papers' equations: loops over pairs
of images (whose features are scaled to length 1 and sorted by image beforehand), every cluster in every iteration, one
candidate after the other. The floor is the products of the objects of each class with each other, without the symmetry
that ours makes use of. ``--full`` adds the loop over the pairs of 1,664 images and the sizes of COCO: many minutes.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain

import torch
from table import Case, Work, arguments, print_table
from torch import Tensor

from alpl.selection.balanced_kcenter import balanced_kcenter
from alpl.selection.ccms import ccms
from alpl.selection.class_balance import balanced_choice, class_targets
from alpl.selection.image_distance import FeatureDistance
from alpl.selection.medoids import kcenter_of_similarities, refine_medoids
from alpl.selection.noris import VARIANTS, noris
from alpl.selection.object_distance import ObjectDistance
from alpl.selection.object_match import KlMatch, unit_vectors
from alpl.selection.objects import Objects

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


def balanced_kcenter_by_loops(
    features: Tensor, centers: Tensor, probs: Tensor, targets: Tensor, weight: float, budget: int
) -> list[int]:
    """Thesis Algorithm 2, all distances and all norms anew for each pick's row."""
    nearest = torch.cdist(features, centers).amin(1)
    lack, picks = targets.clone(), []
    for _ in range(budget):
        worth = -nearest + weight * (lack - probs).abs().sum(1)
        worth[picks] = torch.inf
        picks.append(int(worth.argmin()))
        nearest = torch.minimum(nearest, torch.cdist(features, features[picks[-1:]]).flatten())
        lack = lack - probs[picks[-1]]
    return picks


# --- the cases


def ccms_case(
    task: str, images: int, width: int, classes: int, device: str, *, obvious: bool = False, grows: bool = False
) -> Case:
    """100 detections an image."""

    def prepare() -> Work:
        objects = made_up(images, 100, width, classes, device)
        by_pairs = (lambda: ccms_by_pairs(objects)) if obvious else None
        return Work(lambda: ccms(objects), by_pairs, lambda: class_products(objects), inputs=(objects.values,))

    return Case(task, f"N {images} x 100, F {width}, K {classes}", prepare, grows)


def ccms_cases(device: str, quick: bool) -> Iterator[Case]:
    """CCMS, how it grows, and its variant for SSD."""
    number = 416 if quick else 1664
    yield ccms_case("ccms", 60 if quick else 512, 256, 20, device, obvious=True)
    yield ccms_case("ccms, one class", number // 8, 256, 1, device)
    for share in (4, 2, 1):
        yield ccms_case("ccms, growth with N", number // share, 256, 20, device, grows=share < 4)
    for width in (64, 128, 256):
        yield ccms_case("ccms, growth with F", number // 4, width, 20, device, grows=width > 64)
    for classes in (5, 20, 80):
        yield ccms_case("ccms, growth with K", number // 4, 256, classes, device, grows=classes > 5)

    def by_kl() -> Work:
        probs = made_up(number, 100, 21, 20, device, probs=True)
        return Work(lambda: ccms(probs, KlMatch()), inputs=(probs.values,))

    yield Case("ccms by KL", f"N {number} x 100, C 21, K 20", by_kl)


def medoid_cases(device: str, quick: bool) -> Iterator[Case]:
    """k-centers and medoids of a CCMS matrix."""
    number = 416 if quick else 1664

    def centers_and_square() -> tuple[Tensor, Tensor]:
        square = ccms(made_up(number, 20, 64, 20, device))
        return kcenter_of_similarities(square, number // 4, 0), square

    def centers() -> Work:
        _, square = centers_and_square()
        return Work(lambda: kcenter_of_similarities(square, number // 4, 0))

    def medoids() -> Work:
        start, square = centers_and_square()
        return Work(lambda: refine_medoids(square, start), lambda: medoids_by_loops(square, start))

    def growing(budget: int) -> Case:
        def prepare() -> Work:
            square = ccms(made_up(number, 20, 64, 20, device))
            return Work(lambda: refine_medoids(square, kcenter_of_similarities(square, budget, 0)))

        return Case("k-center and medoids, growth with b", f"N {number}, b {budget}", prepare, budget > number // 16)

    yield Case("k-center of similarities", f"N {number}, b {number // 4}", centers)
    yield Case("medoids", f"N {number}, b {number // 4}, 100 iterations", medoids)
    yield from (growing(number // share) for share in (16, 8, 4))


def full_cases(device: str) -> Iterator[Case]:
    """The loop over pairs at the size of VOC, and PPAL on COCO: 4 GiB of memory must do."""
    yield ccms_case("ccms, VOC", 1664, 256, 20, device, obvious=True)

    def coco() -> Work:
        objects = made_up(9464, 100, 256, 80, device)
        return Work(lambda: ccms(objects), inputs=(objects.values,))

    def medoids() -> Work:
        features = torch.randn(9464, 16, generator=torch.Generator().manual_seed(0)).to(device)
        square = (unit_vectors(features) @ unit_vectors(features).T + 1).fill_diagonal_(2)
        square = (square + square.T) / 2
        return Work(lambda: refine_medoids(square, kcenter_of_similarities(square, 2365, 0)), inputs=(square,))

    yield Case("ccms, COCO", "N 9464 x 100, F 256, K 80", coco)
    yield Case("k-center and medoids, COCO", "N 9464, b 2365, 100 iterations", medoids)


def noris_inputs(number: int, device: str) -> tuple[Objects, Tensor, Tensor]:
    """Objects, image features, information."""
    draw = torch.Generator().manual_seed(1)
    images, information = torch.randn(number, 64, generator=draw), torch.rand(number, generator=draw)
    return made_up(number, 20, 64, 20, device), images.to(device), information.to(device)


def noris_cases(device: str, quick: bool) -> Iterator[Case]:
    """NORIS on image features and on objects."""
    number, budget, few = (1000, 100, 150) if quick else (11600, 1655, 300)

    def on_images(variant: str, picks: int = budget, task: str = "", *, grows: bool = False) -> Case:
        def prepare() -> Work:
            _, images, known = noris_inputs(number, device)
            return Work(
                lambda: noris(known, FeatureDistance(images), picks, variant=variant),  # type: ignore[arg-type]
                inputs=(images,),
            )

        return Case(task or f"noris {variant}", f"N {number}, F 64, b {picks}", prepare, grows)

    def on_objects(size: int, picks: int, compared: bool, *, grows: bool = False, **options: str) -> Case:
        def prepare() -> Work:
            objects, images, known = noris_inputs(size, device)
            distance = lambda: ObjectDistance(objects.values, objects.row, images, **options)  # type: ignore[arg-type]  # noqa: E731
            obvious = (lambda: noris_by_pairs(known, objects, images, picks)) if compared else None
            return Work(lambda: noris(known, distance(), picks), obvious, inputs=(objects.values,))

        task = ", ".join(["noris on objects", *options.values()])
        return Case(task, f"N {size} x 20, F 64, b {picks}", prepare, grows)

    yield from map(on_images, VARIANTS)
    for share in (4, 2, 1):
        yield on_images("sum", budget // share, "noris, growth with b", grows=share < 4)
    yield on_objects(few, few // 10, True)
    yield on_objects(number // 2, budget, False)
    yield on_objects(number, budget // 2, False, grows=True)
    yield on_objects(number, budget, False, grows=True)
    yield on_objects(number, budget, False, metric="cosine", aggregation="average")


def balance_cases(device: str, quick: bool) -> Iterator[Case]:
    """Thesis Eq. 4.8 and Algorithm 2."""
    size, budget = (9000, 500) if quick else (45_000, 2500)

    def inputs(number: int, classes: int, spread: float = 2.0) -> tuple[Tensor, Tensor]:
        logits = spread * torch.randn(number, classes, generator=torch.Generator().manual_seed(0))
        probs = logits.softmax(1).to(device)
        return torch.xlogy(probs, probs).sum(1), probs

    def ranking(
        number: int, classes: int, weight: float, picks: int = budget, kind: str = "", *, grows: bool = False
    ) -> Case:
        def prepare() -> Work:
            cost, probs = inputs(number, classes, 4.0 if kind == "sharp" else 2.0)
            targets = class_targets(torch.full((classes,), 50, device=device), picks)
            ours = lambda: f"gap {100 * balanced_choice(cost, probs, targets, weight, picks).gap:.3f} %"  # noqa: E731
            return Work(ours, inputs=(probs,))

        task = ", ".join(["class balance", *([kind] if kind else []), f"lambda {weight:g}"])
        return Case(task, f"N {number}, C {classes}, b {picks}", prepare, grows)

    def greedy() -> Work:
        _, probs = inputs(size, 100)
        features = torch.randn(size, 64, generator=torch.Generator().manual_seed(1)).to(device)
        targets = class_targets(torch.full((100,), 50, device=device), budget)
        given = (features[budget:], features[:budget], probs[budget:], targets.float(), 0.5, budget)
        return Work(
            lambda: balanced_kcenter(*given), lambda: balanced_kcenter_by_loops(*given), inputs=(features, probs)
        )

    for weight in (0.6, 2.0, 10.0):
        yield ranking(size, 100, weight)
    yield ranking(size, 100, 2.0, kind="sharp")
    for share in (4, 2, 1):
        yield ranking(size // share, 100, 2.0, kind="growth with N", grows=share < 4)
    for share in (4, 2, 1):
        yield ranking(size, 100, 2.0, budget // share, "growth with b", grows=share < 4)
    yield ranking(size, 10, 0.6)
    yield Case("balanced k-center", f"N {size - budget}, F 64, C 100, L {budget}, b {budget}", greedy)


GROUPS = (ccms_cases, medoid_cases, noris_cases, balance_cases)


def main() -> None:
    """Print the table."""
    parser = arguments(__doc__ or "")
    parser.add_argument("--full", action="store_true", help="the sizes of VOC and COCO too, many minutes")
    chosen = parser.parse_args()
    cases = [group(chosen.device, chosen.quick) for group in GROUPS]
    cases += [full_cases(chosen.device)] if chosen.full else []
    print_table(chain.from_iterable(cases), chosen)


if __name__ == "__main__":
    main()
