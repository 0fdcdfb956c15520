import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from alpl.callbacks.inference import interleave
from alpl.data.batch import BalancedSampler, PartlyLabeledImages, PassSampler, ShardSampler
from alpl.errors import ConfigError

EPOCHS = 4

sizes = st.fixed_dictionaries(
    {
        "num_labeled": st.integers(1, 50),
        "num_unlabeled": st.integers(0, 200),
        "batch_size": st.integers(2, 32),
        "world_size": st.integers(1, 4),
        "seed": st.integers(0, 2**31),
    }
)
fractions = st.sampled_from([0.5, 0.25])


def _split(num_labeled, num_unlabeled, seed=0):
    """Labeled and unlabeled indices, mixed and neither contiguous nor sorted."""
    order = 3 * torch.randperm(num_labeled + num_unlabeled, generator=torch.Generator().manual_seed(seed)) + 1
    return order[:num_labeled], order[num_labeled:]


def _epoch(sampler, epoch):
    sampler.set_epoch(epoch)
    return [batch.tolist() for batch in sampler]


def _ranks(make, world_size):
    """``[epoch][rank][batch]``: what each process meets in each epoch."""
    samplers = [make(rank) for rank in range(world_size)]
    return [[_epoch(sampler, epoch) for sampler in samplers] for epoch in range(EPOCHS)]


def _row(epochs, belongs):
    """The images of one kind in the order in which they were drawn: by batch, then by process."""
    return [
        image
        for ranks in epochs
        for batches in zip(*ranks, strict=True)
        for batch in batches
        for image in batch
        if image in belongs
    ]


def _is_a_row_of_passes(row, images):
    """Every full pass holds each image once; the pass that was begun holds none twice."""
    passes = [row[start : start + len(images)] for start in range(0, len(row), len(images))]
    full, begun = passes[:-1], passes[-1]
    return all(sorted(part) == sorted(images) for part in full) and len(set(begun)) == len(begun)


# --- balanced batches


def _balanced(case, fraction):
    """The sampler of a rank, and (labeled, unlabeled); None where the share leaves no room."""
    labeled, unlabeled = _split(case["num_labeled"], case["num_unlabeled"])
    place = {"seed": case["seed"], "world_size": case["world_size"]}
    return (
        lambda rank: BalancedSampler(labeled, unlabeled, case["batch_size"], fraction, rank=rank, **place),
        set(labeled.tolist()),
        set(unlabeled.tolist()),
    )


def _share(case, fraction):
    """The whole numbers next to the share, one of which every batch must hold; all of it without a pool."""
    exact = case["batch_size"] * fraction
    return {int(exact), -int(-exact // 1)} if case["num_unlabeled"] else {case["batch_size"]}


@given(sizes, fractions)
@settings(max_examples=60, deadline=None)
def test_every_batch_of_every_process_has_the_labeled_share(case, fraction):
    if case["batch_size"] * fraction < 1:
        return  # refused, see below
    make, labeled, unlabeled = _balanced(case, fraction)
    numbers = set()
    for ranks in _ranks(make, case["world_size"]):
        for batch in (batch for batches in ranks for batch in batches):
            numbers.add(sum(image in labeled for image in batch))
            assert len(batch) == case["batch_size"] and set(batch) <= labeled | unlabeled
    assert len(numbers) == 1 and numbers <= _share(case, fraction)


@given(sizes, fractions)
@settings(max_examples=60, deadline=None)
def test_labeled_and_unlabeled_images_come_in_passes_over_all_processes_and_epochs(case, fraction):
    if case["batch_size"] * fraction < 1:
        return
    make, labeled, unlabeled = _balanced(case, fraction)
    epochs = _ranks(make, case["world_size"])
    assert _is_a_row_of_passes(_row(epochs, labeled), labeled)
    assert not unlabeled or _is_a_row_of_passes(_row(epochs, unlabeled), unlabeled)


@given(sizes, fractions)
@settings(max_examples=60, deadline=None)
def test_an_epoch_is_the_fewest_batches_that_pass_over_the_labeled_images(case, fraction):
    if case["batch_size"] * fraction < 1:
        return
    make, labeled, _ = _balanced(case, fraction)
    for ranks in _ranks(make, case["world_size"]):
        assert {len(batches) for batches in ranks} == {len(make(0))}
        drawn = len(_row([ranks], labeled))
        assert drawn - drawn // len(ranks[0]) < len(labeled) <= drawn


@given(sizes, fractions, st.integers(0, EPOCHS - 1))
@settings(max_examples=40, deadline=None)
def test_a_resumed_epoch_is_the_undisturbed_one(case, fraction, epoch):
    if case["batch_size"] * fraction < 1 or case["num_labeled"] < case["world_size"]:
        return
    make_balanced, labeled, _ = _balanced(case, fraction)
    index = torch.tensor(sorted(labeled))
    place = {"seed": case["seed"], "world_size": case["world_size"]}
    for make in (make_balanced, lambda rank: PassSampler(index, case["batch_size"], rank=rank, **place)):
        undisturbed = _ranks(make, case["world_size"])[epoch]
        assert [_epoch(make(rank), epoch) for rank in range(case["world_size"])] == undisturbed


def test_hand_computed_balanced_batches():
    labeled, unlabeled = torch.tensor([7, 8, 9]), torch.tensor([0, 1])
    make = lambda rank: BalancedSampler(labeled, unlabeled, 4, 0.5, seed=3, rank=rank, world_size=2)  # noqa: E731
    epochs = _ranks(make, 2)
    assert [len(batches) for ranks in epochs for batches in ranks] == [1] * 2 * EPOCHS  # 4 labeled a step, 3 to see
    assert all({0, 1} == set(batch[2:]) for ranks in epochs for batches in ranks for batch in batches)
    row = _row(epochs, {7, 8, 9})
    assert len(row) == 4 * EPOCHS and all(set(row[i : i + 3]) == {7, 8, 9} for i in range(0, 15, 3))


def test_fewer_labeled_images_than_a_share_repeat_within_the_batch():
    sampler = BalancedSampler(torch.tensor([4]), torch.arange(3), 8, 0.5, seed=0)
    (batch,) = _epoch(sampler, 0)
    assert batch[:4] == [4] * 4 and sorted(batch[4:7]) == [0, 1, 2]


def test_an_empty_pool_gives_labeled_batches():
    sampler = BalancedSampler(torch.arange(6), torch.arange(0), 3, 0.5, seed=0)
    batches = _epoch(sampler, 0)
    assert len(batches) == 2 and sorted(batches[0] + batches[1]) == list(range(6))


def test_epochs_and_seeds_differ():
    labeled, unlabeled = _split(20, 40)
    balanced = [BalancedSampler(labeled, unlabeled, 8, 0.5, seed=seed) for seed in (0, 1)]
    passes = [PassSampler(labeled, 8, seed=seed) for seed in (0, 1)]
    for first, second in (balanced, passes):
        assert _epoch(first, 0) != _epoch(second, 0)
        assert _epoch(first, 0) != _epoch(first, 1)
    first, second = ([i for batch in _epoch(balanced[0], epoch) for i in batch[:4]] for epoch in (0, 1))
    assert sorted(first) == sorted(second) and first != second  # every pass has an order of its own


def test_labeled_and_unlabeled_images_are_shuffled_apart():
    """Equal numbers of both must not be paired in the same order in every pass."""
    sampler = BalancedSampler(torch.arange(16), torch.arange(100, 116), 4, 0.5, seed=0)
    batches = _epoch(sampler, 0)
    assert [b % 100 for batch in batches for b in batch[:2]] != [b % 100 for batch in batches for b in batch[2:]]


@pytest.mark.parametrize(("batch_size", "fraction"), [(2, 0.1), (4, 0.95), (1, 0.5), (8, 0.0)])
def test_a_share_without_room_is_refused(batch_size, fraction):
    with pytest.raises(ConfigError, match=r"labeled_fraction must leave room .* batch of"):
        BalancedSampler(torch.arange(3), torch.arange(3, 9), batch_size, fraction, seed=0)


def test_balanced_batches_need_a_labeled_image():
    with pytest.raises(ConfigError, match="at least one labeled image"):
        BalancedSampler(torch.arange(0), torch.arange(3), 4, 0.5, seed=0)


# --- plain passes


@given(sizes)
@settings(max_examples=80, deadline=None)
def test_a_pass_holds_every_image_once_over_all_processes(case):
    world_size, batch_size = case["world_size"], case["batch_size"]
    index, _ = _split(case["num_labeled"] + case["num_unlabeled"], 0)
    if len(index) < world_size:
        return  # refused, see below
    make = lambda rank: PassSampler(index, batch_size, seed=case["seed"], rank=rank, world_size=world_size)  # noqa: E731
    for ranks in _ranks(make, world_size):
        assert sorted(_row([ranks], set(index.tolist()))) == sorted(index.tolist())
        assert {len(batches) for batches in ranks} == {len(make(0))}
        for batches in zip(*ranks, strict=True):
            lengths = [len(batch) for batch in batches]
            assert max(lengths) - min(lengths) <= 1 and min(lengths) >= 1 and max(lengths) <= batch_size + 1
        assert all(len(batch) == batch_size for batches in ranks for batch in batches[:-1])


@pytest.mark.parametrize(
    ("num_images", "world_size", "expected"),
    [
        (10, 1, [4, 4, 2]),
        (8, 1, [4, 4]),
        (3, 1, [3]),
        (17, 2, [8, 9]),  # the one image left cannot serve two processes
        (18, 2, [8, 8, 2]),
        (3, 3, [3]),
    ],
)
def test_hand_computed_sizes_of_a_pass(num_images, world_size, expected):
    make = lambda rank: PassSampler(torch.arange(num_images), 4, seed=0, rank=rank, world_size=world_size)  # noqa: E731
    batches = zip(*(_epoch(make(rank), 0) for rank in range(world_size)), strict=True)
    assert [sum(map(len, step)) for step in batches] == expected


@pytest.mark.parametrize(
    ("num_images", "world_size", "expected"),
    [
        (9, 1, [4, 5]),  # one image has no variance for batch norm
        (10, 1, [4, 4, 2]),
        (8, 1, [4, 4]),
        (19, 2, [8, 11]),  # the three images left would leave one to a process
        (20, 2, [8, 8, 4]),
        (1, 1, [1]),  # there is no batch before
    ],
)
def test_a_handful_that_is_too_small_for_batch_norm_joins_the_batch_before(num_images, world_size, expected):
    place = {"least": 2, "seed": 0, "world_size": world_size}
    samplers = [PassSampler(torch.arange(num_images), 4, rank=rank, **place) for rank in range(world_size)]
    batches = list(zip(*(_epoch(sampler, 0) for sampler in samplers), strict=True))
    assert [sum(map(len, step)) for step in batches] == expected
    assert sorted(image for step in batches for part in step for image in part) == list(range(num_images))


def test_fewer_images_than_processes_are_refused():
    with pytest.raises(ConfigError, match=r"must be <= the images to train on \(2\), got 3"):
        PassSampler(torch.arange(2), 4, seed=0, world_size=3)


# --- evaluation


@given(st.integers(0, 200), st.integers(1, 32), st.integers(1, 4))
@settings(max_examples=80, deadline=None)
def test_shards_hold_every_image_once_and_interleave_to_the_pool(num_images, batch_size, world_size):
    index, _ = _split(num_images, 0)
    samplers = [ShardSampler(index, batch_size, rank=rank, world_size=world_size) for rank in range(world_size)]
    ranks = [_epoch(sampler, 0) for sampler in samplers]
    assert [len(sampler) for sampler in samplers] == [len(batches) for batches in ranks]
    for batches in ranks:
        assert all(0 < len(batch) <= batch_size for batch in batches)
        assert all(len(batch) == batch_size for batch in batches[:-1])
    shards = [np.array([image for batch in batches for image in batch], dtype=np.int64) for batches in ranks]
    assert max(map(len, shards)) - min(map(len, shards)) <= 1
    assert interleave([shard for shard in shards if len(shard)]).tolist() == index.tolist()


# --- the data set


@given(st.integers(0, 12), st.lists(st.integers(0, 11), max_size=20))
@settings(max_examples=50, deadline=None)
def test_a_batch_has_the_targets_of_its_labeled_images_only(num_labeled, wanted):
    labeled = torch.randperm(12, generator=torch.Generator().manual_seed(num_labeled))[:num_labeled]
    truth = dict(zip(labeled.tolist(), range(50, 50 + num_labeled), strict=True))
    images = torch.arange(12, dtype=torch.uint8).view(12, 1, 1, 1)
    dataset = PartlyLabeledImages(images, labeled, torch.arange(50, 50 + num_labeled), augment=True)
    batch = dataset[torch.tensor(wanted, dtype=torch.long)]
    assert batch.images.flatten().tolist() == batch.index.tolist() == wanted and batch.augment
    assert batch.labeled.tolist() == [image in truth for image in wanted]
    assert batch.targets.tolist() == [truth[image] for image in wanted if image in truth]


def test_targets_must_fit_the_labeled_images():
    with pytest.raises(ValueError, match=r"one per labeled image \(2\), got 3"):
        PartlyLabeledImages(torch.zeros(4, 1, 1, 1, dtype=torch.uint8), torch.arange(2), torch.arange(3), augment=False)
