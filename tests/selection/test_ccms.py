"""CCMS against PPAL Eq. 6 and 7 written as loops, and the released code's distances against facts 3.4."""

import importlib
import math
import random

import pytest
import torch
from forked import Forked
from hypothesis import given, settings
from hypothesis import strategies as st
from memory_peak import STATUS

from alpl.selection.ccms import ccms
from alpl.selection.object_match import CosineMatch, KlMatch, unit_vectors
from alpl.selection.objects import Objects

module = importlib.import_module("alpl.selection.ccms")  # the room exports its function under the same name


def cosine(f, g):
    lengths = math.sqrt(sum(x * x for x in f)) * math.sqrt(sum(x * x for x in g))
    return sum(x * y for x, y in zip(f, g, strict=True)) / lengths if lengths else 0.0


def kl(p, q):
    return sum(a * (math.log(max(a, 1e-12)) - math.log(max(b, 1e-12))) for a, b in zip(p, q, strict=True))


def by_features(f, g):
    return cosine(f, g) + 1


def by_symmetric_kl(p, q):
    return 2 - min(2.0, (kl(p, q) + kl(q, p)) / 2)


def by_released_kl(p, q):
    return 2 - min(2.0, kl(q, p))


def equation_6(one, others, alike):
    feature, _, label = one
    matches = [alike(feature, g) for g, _, c in others if c == label]
    return max(matches) if matches else 0.0


def equation_7(ours, theirs, alike):
    total = sum(score for _, score, _ in ours)
    return sum(each[1] * equation_6(each, theirs, alike) for each in ours) / total if total else 0.0


def slow(images, alike=by_features, empty="dissimilar"):
    def similarity(a, b):
        if a == b:
            return 2.0
        if not images[a] or not images[b]:
            return 2.0 if empty == "similar" or (empty == "alike" and images[a] == images[b]) else 0.0
        return (equation_7(images[a], images[b], alike) + equation_7(images[b], images[a], alike)) / 2

    return [[similarity(a, b) for b in range(len(images))] for a in range(len(images))]


def released(images):
    """2 - distance, the distances as facts 3.4 tells the code; ``images`` hold detections by falling score."""

    def one_way(ours, theirs):
        if not ours or not theirs:
            return 0.0
        total, weights = 0.0, 0.0
        for rank, (f, score, label) in enumerate(ours):
            distances = []
            for other, (g, _, c) in enumerate(theirs):
                same = label == c
                distances.append(0.0 if same and rank == other else (1 - cosine(f, g) if same else 2.0))
            total += score * min(distances)
            weights += score
        return total / (weights + 1e-5)

    number = range(len(images))
    return [
        [2.0 if a == b else 2 - (one_way(images[a], images[b]) + one_way(images[b], images[a])) / 2 for b in number]
        for a in number
    ]


def objects_of(images, width):
    every = [(image, *each) for image, found in enumerate(images) for each in found]
    return Objects(
        torch.tensor([each[1] for each in every], dtype=torch.float64).view(-1, width),
        torch.tensor([each[3] for each in every], dtype=torch.long),
        torch.tensor([each[2] for each in every], dtype=torch.float64),
        torch.tensor([each[0] for each in every], dtype=torch.long),
        len(images),
    )


def random_images(draw, *, width=3, most=5, classes=3, probs=False, by_score=False):
    """Few values, so that features, scores and whole images repeat; images without detections among them."""

    def vector():
        values = [draw.choice([0.0, 0.5, 1.0, -2.0]) for _ in range(width)]
        if not probs:
            return tuple(values)
        positive = [abs(v) for v in values]
        return tuple(v / sum(positive) for v in positive) if sum(positive) else (1.0,) + (0.0,) * (width - 1)

    images = []
    for _ in range(draw.randint(0, 6)):
        if images and draw.random() < 0.15:
            images.append(list(draw.choice(images)))
            continue
        found = [
            (vector(), draw.choice([0.25, 0.5, 0.9, 0.0 if not by_score else 0.3]), draw.randrange(classes))
            for _ in range(draw.randint(0, most))
        ]
        images.append(sorted(found, key=lambda each: -each[1]) if by_score else found)
    return images


def check(found, expected):
    number = len(expected)
    torch.testing.assert_close(
        found.double(), torch.tensor(expected, dtype=torch.float64).view(number, number), rtol=0, atol=4e-6
    )
    assert torch.equal(found, found.T)


@pytest.mark.sample(1)
@pytest.mark.parametrize("tile", [1, 2, 5, 1024])
def test_cosine_is_equation_6_and_7(monkeypatch, tile):
    monkeypatch.setattr(module, "_TILE", tile)
    draw = random.Random(tile)
    for case in range(300):
        images = random_images(draw, classes=1 if case % 5 == 0 else 3)
        empty = draw.choice(module.EMPTY_RULES)
        check(ccms(objects_of(images, 3), empty=empty), slow(images, empty=empty))


@pytest.mark.slow
def test_released_is_what_the_facts_tell():
    draw = random.Random(1)
    for _ in range(1000):
        images = random_images(draw, by_score=True)
        found = ccms(objects_of(images, 3), empty="similar", same_rank=True, epsilon=1e-5)
        check(found, released(images))


@pytest.mark.sample(1)
@pytest.mark.parametrize(("direction", "alike"), [("symmetric", by_symmetric_kl), ("as_released", by_released_kl)])
@pytest.mark.parametrize("tile", [2, 1024])
def test_kl_is_the_same_equations_on_posteriors(monkeypatch, direction, alike, tile):
    monkeypatch.setattr(module, "_TILE", tile)
    draw = random.Random(2)
    for _ in range(500):
        images = random_images(draw, probs=True)
        check(ccms(objects_of(images, 3), KlMatch(direction)), slow(images, alike))


def test_by_hand():
    # the car of image 0 is at 60 degrees to that of image 1; the person of image 0 finds no other
    values = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.5, 3**0.5 / 2]])
    found = ccms(Objects(values, torch.tensor([7, 2, 7]), torch.tensor([0.75, 0.25, 0.5]), torch.tensor([0, 0, 1]), 3))
    assert found[0, 1].item() == pytest.approx((0.75 * 1.5 + 1.5) / 2)
    assert found[2].tolist() == [0.0, 0.0, 2.0]


def test_same_rank_makes_equal_what_is_not():
    values = torch.tensor([[1.0, 0.0], [-1.0, 0.0]])
    objects = Objects(values, torch.tensor([1, 1]), torch.tensor([0.5, 0.9]), torch.tensor([0, 1]), 2)
    assert ccms(objects)[0, 1] == 0 and ccms(objects, same_rank=True)[0, 1] == 2


def test_ranks_are_by_score_within_an_image():
    objects = Objects(
        torch.zeros(5, 1),
        torch.zeros(5).long(),
        torch.tensor([0.1, 0.9, 0.5, 0.7, 0.7]),
        torch.tensor([0, 0, 0, 2, 2]),
        3,
    )
    assert objects.ranks().tolist() == [2, 0, 1, 0, 1]


@pytest.mark.parametrize("number", [0, 1, 3])
def test_no_detections_at_all(number):
    objects = Objects(torch.zeros(0, 4), torch.zeros(0).long(), torch.zeros(0), torch.zeros(0).long(), number)
    assert torch.equal(ccms(objects), 2 * torch.eye(number))
    assert torch.equal(ccms(objects, empty="alike"), torch.full((number, number), 2.0))
    assert torch.equal(ccms(objects, empty="similar", epsilon=1e-5), torch.full((number, number), 2.0))


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32), st.sampled_from(module.EMPTY_RULES), st.booleans(), st.sampled_from([0.0, 1e-5]))
def test_symmetries(seed, empty, same_rank, epsilon):
    draw = random.Random(seed)
    images = random_images(draw, by_score=True)
    options = {"empty": empty, "same_rank": same_rank, "epsilon": epsilon}
    found = ccms(objects_of(images, 3), **options)
    assert torch.equal(found, found.T) and torch.equal(found.diagonal(), torch.full((len(images),), 2.0))
    assert bool(((found >= 0) & (found <= 2)).all())
    order = draw.sample(range(len(images)), len(images))
    other = ccms(objects_of([images[i] for i in order], 3), **options)
    torch.testing.assert_close(other, found[order][:, order], rtol=0, atol=2e-6)
    longer = [[(tuple(7 * x for x in f), t, c + 4) for f, t, c in image] for image in images]
    torch.testing.assert_close(ccms(objects_of(longer, 3), **options), found, rtol=0, atol=2e-6)


def test_little_memory_gives_the_same():
    generator = torch.Generator().manual_seed(0)
    row = torch.randint(40, (400,), generator=generator).sort().values
    objects = Objects(
        torch.randn(400, 8, generator=generator),
        torch.randint(2, (400,), generator=generator),
        torch.rand(400, generator=generator),
        row,
        40,
    )
    whole = ccms(objects)
    for limit in (2**14 + 2**13, 2**16, 2**18):
        torch.testing.assert_close(ccms(objects, memory_limit=limit), whole, rtol=0, atol=2e-6)
    with pytest.raises(ValueError, match="memory_limit must be at least"):
        ccms(objects, memory_limit=1000)


_MEASURE = """
import torch
from alpl.selection.ccms import ccms
from alpl.selection.objects import Objects
from memory_peak import peak_of
number, each = 200, 45
objects = Objects(torch.randn(number * each, 256), torch.zeros(number * each).long(), torch.rand(number * each),
    torch.arange(number).repeat_interleave(each), number)  # 9 MB of features in one class
few = objects.row < 20
ccms(Objects(objects.values[few], objects.labels[few], objects.scores[few], objects.row[few], 20))  # loads libraries
print(peak_of(lambda: ccms(objects, memory_limit=2**22)) - 4 * number**2 - 100 * number * each)
"""


@pytest.mark.slow
@pytest.mark.skipif(not STATUS.exists(), reason="needs Linux's record of a process")
def test_the_memory_limit_is_kept():
    process = Forked("-c", _MEASURE)
    out, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
    assert int(out) < 1.25 * 2**22  # the rest: what the allocator keeps


def test_unit_vectors_do_not_overflow():
    vectors = torch.tensor([[3e30, 4e30], [3e-30, 4e-30], [0.0, 0.0]])
    torch.testing.assert_close(unit_vectors(vectors), torch.tensor([[0.6, 0.8], [0.6, 0.8], [0.0, 0.0]]))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"row": torch.tensor([1, 0])}, "row must be ascending"),
        ({"row": torch.tensor([0, 2])}, r"row must lie in \[0, 2\)"),
        ({"scores": torch.tensor([0.5, -0.1])}, "scores must be finite and >= 0"),
        ({"labels": torch.tensor([0])}, "values, labels, scores and row must be"),
        ({"values": torch.tensor([[1.0], [math.nan]])}, "values must be finite"),
    ],
)
def test_wrong_objects(change, message):
    right = {"values": torch.ones(2, 1), "labels": torch.tensor([0, 0]), "scores": torch.ones(2)}
    with pytest.raises(ValueError, match=message):
        ccms(Objects(**(right | {"row": torch.tensor([0, 1]), "num_images": 2} | change)))


def test_wrong_options():
    objects = Objects(torch.ones(1, 1), torch.zeros(1).long(), torch.ones(1), torch.zeros(1).long(), 1)
    with pytest.raises(ValueError, match="empty must be one of"):
        ccms(objects, empty="far")
    with pytest.raises(ValueError, match="epsilon must be finite and >= 0"):
        ccms(objects, epsilon=-1.0)
    with pytest.raises(ValueError, match="direction must be symmetric or as_released"):
        KlMatch("forward")


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("match", [CosineMatch(), KlMatch()])
def test_cuda_gives_the_same(match):
    generator = torch.Generator().manual_seed(0)
    values = torch.randn(3000, 16, generator=generator).softmax(-1)
    parts = (values, torch.randint(5, (3000,), generator=generator), torch.rand(3000, generator=generator))
    row = torch.randint(200, (3000,), generator=generator).sort().values
    on_cpu = ccms(Objects(*parts, row, 200), match, same_rank=True)
    on_cuda = ccms(Objects(*(part.cuda() for part in parts), row.cuda(), 200), match, same_rank=True)
    torch.testing.assert_close(on_cuda.cpu(), on_cpu, rtol=0, atol=1e-5)
