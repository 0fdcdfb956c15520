"""NORIS against loops written from the paper: Algorithms 1 and 2, greed on Eq. 7 and 8, Eq. 4 to 6, 9 and 10."""

import math
import random

import pytest
import torch
from forked import Forked
from hypothesis import given, settings
from hypothesis import strategies as st
from memory_peak import STATUS

from alpl.errors import ConfigError
from alpl.selection.image_distance import FeatureDistance
from alpl.selection.noris import Kernel, noris
from alpl.selection.object_distance import ObjectDistance


def euclidean(f, g):
    return math.sqrt(sum((x - y) ** 2 for x, y in zip(f, g, strict=True)))


def apart_by(metric, f, g):
    if metric != "cosine":
        return euclidean(f, g) ** (2 if metric == "squared_euclidean" else 1)
    lengths = math.sqrt(sum(x * x for x in f)) * math.sqrt(sum(x * x for x in g))
    if not lengths:
        return 0.0 if f == g else 1.0
    return 1 - sum(x * y for x, y in zip(f, g, strict=True)) / lengths


def equation_9_10(objects, images, u, v, *, metric="squared_euclidean", aggregation="maximum", of_empty=1.0):
    if u == v:
        return 0.0  # sim(u, u) = 1
    apart = [apart_by(metric, a, b) for a in objects[u] for b in objects[v]]
    joined = (
        max(apart, default=of_empty) if aggregation == "maximum" else sum(apart) / len(apart) if apart else of_empty
    )
    return joined * (apart_by(metric, images[u], images[v]) if images else 1.0)


def similarities(distances, shape, alpha):
    largest = max((d for row in distances for d in row), default=0.0)
    if not largest:
        return [[1.0] * len(distances) for _ in distances]
    if shape == "gaussian":
        spread = (alpha * largest) ** 2 / math.pi
        return [[math.exp(-(d**2) / spread) for d in row] for row in distances]
    return [[max(0.0, 1 - d / (alpha * largest)) for d in row] for row in distances]


def algorithm(information, sim, budget, variant):
    """Algorithms 1 and 2, step by step: yields what every sample is worth before each pick, and is told the pick."""
    sigma, free = list(information), list(range(len(information)))
    for _ in range(budget):
        pick = yield {u: sigma[u] for u in free}
        free.remove(pick)
        losers = free if variant == "sum" else [max(free, key=lambda u: (sim[u][pick], -u))] if free else []
        for u in losers:
            sigma[u] = sigma[u] - sim[u][pick] * sigma[pick]


def equation_7(information, sim, chosen):
    return sum(information[u] - sum(sim[u][v] * information[v] for v in chosen if v != u) for u in chosen)


def equation_8(information, sim, chosen):
    total = 0.0
    for u in chosen:
        others = [v for v in chosen if v != u]  # in the order of the picks: the first of equal ones counts
        total += information[u]
        if others:
            closest = max(others, key=lambda v: (sim[u][v], -others.index(v)))
            total -= sim[u][closest] * information[closest]
    return total


def greedy(objective, information, sim, budget):
    chosen = []
    for _ in range(budget):
        now = objective(information, sim, chosen)
        free = [u for u in range(len(information)) if u not in chosen]
        chosen.append((yield {u: objective(information, sim, [*chosen, u]) - now for u in free}))


def steps(information, sim, budget, variant):
    if variant == "sum_equation_7":
        return greedy(equation_7, information, sim, budget)
    if variant == "max_equation_8":
        return greedy(equation_8, information, sim, budget)
    return algorithm(information, sim, budget, variant)


def follow(information, sim, budget, variant, picks, values):
    """Every pick is the best one, but for rounding, and worth what it says."""
    reference = steps(information, sim, budget, variant)
    worth = next(reference, None)
    for pick, value in zip(picks.tolist(), values.tolist(), strict=True):
        assert worth[pick] >= max(worth.values()) - 1e-9
        assert value == pytest.approx(worth[pick], abs=1e-9)
        try:
            worth = reference.send(pick)
        except StopIteration:
            worth = None
    assert worth is None  # as many picks as asked for


def random_samples(draw, number):
    width = draw.randint(1, 3)
    features = [[float(draw.randint(-3, 3)) for _ in range(width)] for _ in range(number)]
    information = [draw.choice([0.0, 0.25, 0.5, 1.0, 2.0]) for _ in range(number)]
    for i in range(1, number):
        if draw.random() < 0.25:
            twin = draw.randrange(i)
            features[i], information[i] = list(features[twin]), information[twin]
    return features, information


@pytest.mark.sample(2)
@pytest.mark.parametrize("variant", ["sum", "max", "sum_equation_7", "max_equation_8"])
@pytest.mark.parametrize("shape", ["gaussian", pytest.param("linear", marks=pytest.mark.slow)])
def test_same_as_the_loops(variant, shape):
    draw = random.Random(0)
    for _ in range(1000):
        number = draw.randint(0, 8)
        features, information = random_samples(draw, number)
        budget = draw.choice([min(1, number), number, draw.randint(0, number)])
        alpha = draw.choice([0.1, 0.5, 1.0])
        distances = [[euclidean(f, g) for g in features] for f in features]
        sim = similarities(distances, shape, alpha)
        distance = FeatureDistance(torch.tensor(features).view(number, -1) if number else torch.zeros(0, 2))
        picks, values = noris(torch.tensor(information), distance, budget, variant=variant, kernel=Kernel(shape, alpha))
        assert len(set(picks.tolist())) == budget
        follow(information, sim, budget, variant, picks, values)


@pytest.mark.parametrize("variant", ["sum", "max"])
def test_the_very_same_picks_where_all_numbers_are_exact(variant):
    # on a line of whole numbers with alpha d_max a power of two, linear similarities are exact: so are ties
    draw = random.Random(1)
    for _ in range(500):
        places = [0, 8] + [draw.randint(0, 8) for _ in range(draw.randint(0, 6))]
        information = [draw.choice([0.5, 1.0]) for _ in places]
        sim = [[max(0.0, 1 - abs(a - b) / 4) for a in places] for b in places]
        reference = algorithm(information, sim, 3 if len(places) > 2 else 2, variant)
        worth, expected = next(reference), []
        while worth is not None:
            expected.append(max(worth, key=lambda u: (worth[u], -u)))
            try:
                worth = reference.send(expected[-1])
            except StopIteration:
                worth = None
        distance = FeatureDistance(torch.tensor(places, dtype=torch.float32)[:, None])
        kernel = Kernel("linear", 0.5)
        found = noris(torch.tensor(information), distance, len(expected), variant=variant, kernel=kernel)[0]
        assert found.tolist() == expected


def test_by_hand():
    # d_max = 4, lambda = 4: sim(0, 1) = 0.75, sim(0, 2) = 0, sim(1, 2) = 0.25
    distance = FeatureDistance(torch.tensor([[0.0], [1.0], [4.0]]))
    kernel = Kernel("linear", 1.0)
    picks, values = noris(torch.tensor([1.0, 0.875, 0.5]), distance, 3, kernel=kernel)
    assert picks.tolist() == [0, 2, 1] and values.tolist() == [1.0, 0.5, 0.875 - 0.75 - 0.25 * 0.5]
    picks, values = noris(torch.tensor([1.0, 0.875, 0.5]), distance, 3, variant="max", kernel=kernel)
    assert picks.tolist() == [0, 2, 1] and values.tolist() == [1.0, 0.5, 0.875 - 0.75 - 0.25 * 0.5]
    # Eq. 7 charges both of a pair: 0.5 for image 2, 0.875 - 0.75 (1 + 0.875) for image 1
    values = noris(torch.tensor([1.0, 0.875, 0.5]), distance, 2, variant="sum_equation_7", kernel=kernel)[1]
    assert values.tolist() == [1.0, 0.5]
    last = noris(torch.tensor([1.0, 0.875, 0.0]), distance, 3, variant="sum_equation_7", kernel=kernel)[1][2]
    assert last.item() == 0.875 - 0.75 * 1.875 - 0.25 * 0.875


def test_the_gaussian_at_alpha_d_max():
    assert Kernel("gaussian", 0.3)(torch.tensor([0.3 * 7.0]).double(), 7.0).item() == pytest.approx(math.exp(-math.pi))


def test_values_may_rise_again_below_zero():
    # all samples are equal: the first pick takes everything from the others, 0.5 - 1 < 0, which then add
    distance = FeatureDistance(torch.zeros(3, 2))
    picks, values = noris(torch.tensor([1.0, 0.5, 0.25]), distance, 3)
    assert picks.tolist() == [0, 1, 2] and values.tolist() == [1.0, -0.5, -0.25]


def random_objects(draw):
    number, width, own = draw.randint(1, 6), draw.randint(1, 3), draw.randint(1, 2)
    images = [[float(draw.randint(-2, 2)) for _ in range(own)] for _ in range(number)]
    objects = [
        [[float(draw.randint(-3, 3)) for _ in range(width)] for _ in range(draw.choice([0, 1, 2, 4]))]
        for _ in range(number)
    ]
    return objects, images, width


def object_distance(objects, images, width, **options):
    every = [f for image in objects for f in image]
    row = torch.tensor([i for i, image in enumerate(objects) for _ in image], dtype=torch.long)
    options |= {} if images else {"num_images": len(objects)}
    return ObjectDistance(torch.tensor(every).view(-1, width), row, torch.tensor(images) if images else None, **options)


METRICS = ["squared_euclidean", "euclidean", "cosine"]


@pytest.mark.sample(2)
@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("aggregation", ["maximum", "average"])
@pytest.mark.parametrize(
    "empty",
    ["image", *(pytest.param(each, marks=pytest.mark.slow) for each in ("typical", "typical, no image features"))],
)
def test_object_distances_are_equation_9_and_10_and_those_of_table_4(metric, aggregation, empty):
    draw = random.Random(0)
    for _ in range(170):  # 18 times: 3060 cases
        objects, images, width = random_objects(draw)
        number = len(images)
        if empty.endswith("features"):
            images = []
        every = [f for image in objects for f in image]
        squares = [apart_by("cosine" if metric == "cosine" else METRICS[0], f, g) for f in every for g in every]
        typical = sum(squares) / len(squares) if squares else 1.0
        of_empty = 1.0 if empty == "image" else (math.sqrt(typical) if metric == "euclidean" else typical)
        options = {"metric": metric, "aggregation": aggregation}
        expected = [
            [equation_9_10(objects, images, u, v, of_empty=of_empty, **options) for v in range(number)]
            for u in range(number)
        ]
        limit = draw.choice([1000, 2**20])
        options |= {"empty": empty.split(",")[0], "memory_limit": limit}
        distance = object_distance(objects, images, width, **options)
        for u, row in enumerate(expected):
            assert distance.row(u).tolist() == pytest.approx(row, rel=1e-12, abs=1e-12)
        assert distance.largest() == pytest.approx(max(d for row in expected for d in row), rel=1e-12, abs=1e-12)


@pytest.mark.slow
@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 60), st.sampled_from(METRICS), st.booleans(), st.sampled_from([64, 2**14]))
def test_the_largest_distance_is_that_of_the_rows(seed, number, metric, average, limit):
    power = seed % 2 * 4
    generator = torch.Generator().manual_seed(seed)
    images = 100 + torch.randn(number, 4, generator=generator) * torch.rand(number, 1, generator=generator) ** power
    row = torch.randint(number, (3 * number,), generator=generator).sort().values
    objects = 30 + torch.randn(3 * number, 5, generator=generator)
    options = {"metric": metric, "aggregation": "average" if average else "maximum"}
    for distance in (
        FeatureDistance(images, limit),
        ObjectDistance(objects, row, images, **options),
        ObjectDistance(objects, row, None, num_images=number, empty="typical", **options),
    ):
        rows = torch.stack([distance.row(image) for image in range(number)])
        assert distance.largest() == pytest.approx(float(rows.max()), rel=1e-10)
        torch.testing.assert_close(rows, rows.T, rtol=1e-10, atol=1e-12)
        assert bool((rows >= 0).all()) and bool((rows.diagonal() == 0).all())


def test_equal_objects_are_at_no_distance():
    objects = torch.full((6, 3), 0.1)
    distance = ObjectDistance(objects, torch.tensor([0, 0, 1, 2, 2, 2]), torch.randn(3, 4))
    assert distance.largest() == 0.0
    assert noris(torch.tensor([0.5, 1.0, 0.75]), distance, 3)[0].tolist() == [1, 2, 0]


def test_by_hand_on_objects():
    # objects of image 0 at 0 and 2, of image 1 at 5; images at 1 and 4
    arguments = (torch.tensor([[0.0], [2.0], [5.0]]), torch.tensor([0, 0, 1]), torch.tensor([[1.0], [4.0]]))
    assert ObjectDistance(*arguments).row(0).tolist() == [0, 25 * 9]
    assert ObjectDistance(*arguments, aggregation="average").row(0).tolist() == [0, (25 + 9) / 2 * 9]
    options = {"metric": "euclidean", "aggregation": "average"}
    assert ObjectDistance(*arguments, **options).row(1).tolist() == [(5 + 3) / 2 * 3, 0]
    # at a right angle to the first object, 45 degrees to the second; the images' features differ in length alone
    turned = (torch.tensor([[3.0, 0.0], [1.0, 1.0], [0.0, 2.0]]), torch.tensor([0, 0, 1]))
    without = {"empty": "typical", "num_images": 2, "metric": "cosine"}
    assert ObjectDistance(*turned, None, **without).row(0).tolist() == pytest.approx([0, 1])
    average = ObjectDistance(*turned, None, aggregation="average", **without).row(0)
    assert average.tolist() == pytest.approx([0, 1 - math.sqrt(0.5) / 2])
    assert ObjectDistance(*turned, torch.tensor([[1.0], [7.0]]), metric="cosine").row(0).tolist() == pytest.approx(
        [0, 0]
    )


def test_noris_on_objects():
    draw = random.Random(3)
    for _ in range(300):
        objects, images, width = random_objects(draw)
        number = len(images)
        information = [draw.choice([0.25, 0.5, 1.0]) for _ in range(number)]
        distances = [[equation_9_10(objects, images, u, v) for v in range(number)] for u in range(number)]
        variant = draw.choice(["sum", "max", "sum_equation_7", "max_equation_8"])
        picks, values = noris(
            torch.tensor(information), object_distance(objects, images, width), number, variant=variant
        )
        follow(information, similarities(distances, "gaussian", 0.5), number, variant, picks, values)


_MEASURE = """
import torch
from alpl.selection.object_distance import ObjectDistance
from memory_peak import peak_of
draw = torch.Generator().manual_seed(0)
row = torch.arange(2000).repeat_interleave(15)
objects, images = torch.randn(30_000, 64, generator=draw), torch.randn(2000, 64, generator=draw)

def measured():
    distance = ObjectDistance(objects, row, images, **options)
    distance.row(5)
    if metric == "squared_euclidean":
        distance.largest()

for metric, aggregation in (("squared_euclidean", "maximum"), ("euclidean", "average"), ("cosine", "average")):
    options = {"metric": metric, "aggregation": aggregation, "memory_limit": 2**21}
    ObjectDistance(objects[:300], row[:300], images[:20], **options).largest()  # loads code
    print(peak_of(measured))
"""


@pytest.mark.slow
@pytest.mark.skipif(not STATUS.exists(), reason="needs Linux's record of a process")
def test_object_distances_take_the_memory_that_is_stated():
    # as in test_kcenter_limits; three copies of the objects were 44 MiB, five 73
    process = Forked("-c", _MEASURE)
    out, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
    of_objects, of_images, interpreter = 8 * 64 * 30_000, 8 * 64 * 2000, 3 * 2**19
    for line, (objects, by_image) in zip(out.split(), [(1, 2), (1, 4), (2, 4)], strict=True):
        stated = 2**21 + objects * of_objects + by_image * of_images + 150 * 30_000
        assert int(line) < stated + interpreter, f"{int(line) / 2**20:.1f} MiB, {stated / 2**20:.1f} stated"


def test_wrong_arguments():
    distance = FeatureDistance(torch.ones(2, 1))
    for information, budget, message in [
        ([0.1], 1, r"information must be Float\[2\]"),
        ([0.1, -0.1], 1, "information must be finite and >= 0"),
        ([0.1, math.nan], 1, "information must be finite and >= 0"),
        ([0.1, 0.1], 3, r"budget must be in \[0, 2\]"),
    ]:
        with pytest.raises(ValueError, match=message):
            noris(torch.tensor(information), distance, budget)
    with pytest.raises(ValueError, match="variant must be one of sum, max, sum_equation_7, max_equation_8"):
        noris(torch.ones(2), distance, 1, variant="mean")
    with pytest.raises(ConfigError, match="similarity must be gaussian or linear"):
        Kernel("cosine")
    for alpha in (0.0, 1.5):
        with pytest.raises(ConfigError, match=r"alpha must be in \(0, 1\]"):
            Kernel("linear", alpha)
    with pytest.raises(ValueError, match="features must be finite"):
        FeatureDistance(torch.tensor([[math.inf]]))
    with pytest.raises(ValueError, match="row must be ascending"):
        ObjectDistance(torch.ones(2, 1), torch.tensor([1, 0]), torch.ones(2, 1))
    with pytest.raises(ValueError, match="empty must be one of image, typical"):
        ObjectDistance(torch.ones(1, 1), torch.tensor([0]), torch.ones(1, 1), empty="far")
    with pytest.raises(ValueError, match="metric must be one of squared_euclidean, euclidean, cosine, got 'city'"):
        ObjectDistance(torch.ones(1, 1), torch.tensor([0]), torch.ones(1, 1), metric="city")
    with pytest.raises(ValueError, match="aggregation must be one of maximum, average"):
        ObjectDistance(torch.ones(1, 1), torch.tensor([0]), torch.ones(1, 1), aggregation="sum")
    with pytest.raises(ValueError, match="empty must be typical where there are no image features"):
        ObjectDistance(torch.ones(1, 1), torch.tensor([0]), None, num_images=1)
    with pytest.raises(ValueError, match="image_features or num_images must be given, got both or neither"):
        ObjectDistance(torch.ones(1, 1), torch.tensor([0]), None)
    with pytest.raises(ValueError, match="objects and row must be"):
        ObjectDistance(torch.ones(2, 1), torch.tensor([0]), torch.ones(1, 1))
    with pytest.raises(ValueError, match="num_images must be >= 0, got -1"):
        ObjectDistance(torch.ones(0, 1), torch.empty(0, dtype=torch.long), None, num_images=-1, empty="typical")


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("variant", ["sum", "max", "sum_equation_7", "max_equation_8"])
def test_cuda_picks_the_same(variant):
    generator = torch.Generator().manual_seed(0)
    images, objects = torch.randn(300, 6, generator=generator), torch.randn(1500, 8, generator=generator)
    row = torch.randint(300, (1500,), generator=generator).sort().values
    information = torch.rand(300, generator=generator)
    on_cpu = noris(information, ObjectDistance(objects, row, images), 60, variant=variant)[0]
    on_cuda = noris(information.cuda(), ObjectDistance(objects.cuda(), row.cuda(), images.cuda()), 60, variant=variant)[
        0
    ]
    assert on_cuda.tolist() == on_cpu.tolist()
