import dataclasses
import re

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from alpl.errors import DataError
from alpl.pool import EXCLUDED, UNLABELED, Pool


def _long(*values):
    return torch.tensor(values, dtype=torch.long)


@st.composite
def histories(draw):
    """Give N, the excluded images, the initial set, and the queries, which may leave images unlabeled."""
    num_images = draw(st.integers(1, 40))
    order = draw(st.permutations(range(num_images)))
    num_parts = draw(st.integers(2, 7))
    cuts = draw(st.lists(st.integers(0, num_images), min_size=num_parts, max_size=num_parts).map(sorted))
    first, *parts = [order[a:b] for a, b in zip([0, *cuts], cuts, strict=False)]
    return num_images, first, parts[0], [part for part in parts[1:] if part]


def _played(history):
    """Play a history; beside the pool give the obvious bookkeeping, a dict index -> cycle."""
    num_images, excluded, initial, queries = history
    pool = Pool.create(num_images, _long(*initial), _long(*excluded))
    cycles = dict.fromkeys(excluded, EXCLUDED) | dict.fromkeys(initial, 0)
    # a first query on nothing labeled is itself the initial set
    for number, query in enumerate(queries, start=1 if initial else 0):
        pool = pool.reveal(_long(*query))
        cycles |= dict.fromkeys(query, number)
    return pool, cycles


@given(histories())
def test_every_image_is_labeled_unlabeled_or_excluded(history):
    pool, cycles = _played(history)
    assert pool.cycle.tolist() == [cycles.get(index, UNLABELED) for index in range(history[0])]
    labeled, unlabeled = pool.labeled.tolist(), pool.unlabeled.tolist()
    assert labeled == sorted(index for index, cycle in cycles.items() if cycle >= 0)
    assert sorted(labeled + unlabeled + list(history[1])) == list(range(pool.num_images))
    assert unlabeled == sorted(unlabeled)
    assert (pool.num_images, pool.num_labeled) == (history[0], len(labeled))


@given(histories())
def test_a_saved_pool_comes_back_and_its_bytes_are_stable(tmp_path_factory, history):
    pool, _ = _played(history)
    folder = tmp_path_factory.mktemp("pool")
    pool.save(folder / "a.csv")
    again = Pool.load(folder / "a.csv")
    again.save(folder / "b.csv")
    assert torch.equal(again.cycle, pool.cycle) and again.cycle.dtype == torch.long
    assert (folder / "a.csv").read_bytes() == (folder / "b.csv").read_bytes()


def test_the_file_is_what_a_person_reads(tmp_path):
    pool = Pool.create(7, _long(4, 1), excluded=_long(6)).reveal(_long(5, 0)).reveal(_long(2))
    pool.save(tmp_path / "pool.csv")
    expected = b"# num_images=7 num_labeled=5\nindex,cycle\n6,-2\n1,0\n4,0\n0,1\n5,1\n2,2\n"
    assert (tmp_path / "pool.csv").read_bytes() == expected


def test_reveal_gives_a_new_pool_and_leaves_the_old_one():
    initial, query = _long(1), _long(2, 0)
    old = Pool.create(4, initial)
    new = old.reveal(query)
    initial[0], query[0] = 3, 3
    assert old.cycle.tolist() == [-1, 0, -1, -1] and new.cycle.tolist() == [1, 0, 1, -1]
    with pytest.raises(dataclasses.FrozenInstanceError):
        old.cycle = new.cycle
    assert new.cycle.data_ptr() != old.cycle.data_ptr()


def test_a_pool_may_start_without_labels_and_end_without_unlabeled_images():
    pool = Pool.create(3, _long(), excluded=_long(0))
    assert pool.num_labeled == 0 and pool.unlabeled.tolist() == [1, 2]
    pool = pool.reveal(_long(2, 1))
    assert pool.cycle.tolist() == [EXCLUDED, 0, 0] and pool.unlabeled.numel() == 0


@pytest.mark.parametrize(
    ("initial", "excluded", "message"),
    [
        (_long(5), None, "initial must lie in [0, 5), got [5]"),
        (_long(-1, 0), None, "initial must lie in [0, 5), got [-1]"),
        (_long(3, 1, 3, 1, 2), None, "initial must not repeat an image, got [1, 3] more than once"),
        (_long(3), _long(1, 3), "initial must not hold excluded images, got [3]"),
        (_long(3), _long(9), "excluded must lie in [0, 5), got [9]"),
        (_long(3), _long(2, 2), "excluded must not repeat an image, got [2] more than once"),
        (torch.tensor([1.0]), None, "initial must be Long[n], got torch.float32 of shape [1]"),
        (_long(1, 2)[None], None, "initial must be Long[n], got torch.int64 of shape [1, 2]"),
        (torch.tensor([True] * 5), None, "initial must be Long[n], got torch.bool of shape [5]"),
    ],
)
def test_create_refuses_what_is_no_set_of_images(initial, excluded, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        Pool.create(5, initial, excluded)


@pytest.mark.parametrize(
    ("index", "message"),
    [
        (_long(0), "index must hold unlabeled images only, got [0]"),
        (_long(2, 1), "index must hold unlabeled images only, got [1]"),
        (_long(4), "index must hold unlabeled images only, got [4]"),
        (_long(2, 2), "index must not repeat an image, got [2] more than once"),
        (_long(2, 5), "index must lie in [0, 5), got [5]"),
        (_long(-3), "index must lie in [0, 5), got [-3]"),
        (torch.tensor([2], dtype=torch.int32), "index must be Long[n], got torch.int32 of shape [1]"),
    ],
)
def test_reveal_refuses_what_is_not_unlabeled(index, message):
    pool = Pool.create(5, _long(0), excluded=_long(4)).reveal(_long(1))
    with pytest.raises(ValueError, match=re.escape(message)):
        pool.reveal(index)


@pytest.mark.parametrize(
    ("cycle", "message"),
    [
        (torch.zeros(3), "cycle must be Long[N], got torch.float32 of shape [3]"),
        (torch.zeros(3, 1, dtype=torch.long), "cycle must be Long[N], got torch.int64 of shape [3, 1]"),
        (_long(0, -3), "cycle must be >= -2, got [-3]"),
    ],
)
def test_a_pool_is_made_of_cycles(cycle, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        Pool(cycle)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "must hold a pool"),
        ("index,cycle\n1,0\n", "must hold a pool"),
        ("# num_images=3\nindex,cycle\n1,0\n", "must hold a pool"),
        ("# num_images=x num_labeled=1\nindex,cycle\n1,0\n", "must hold a pool"),
        ("# num_images=3 num_labeled=1\nindex,cycle\n1,0,0\n", "must hold a pool"),
        ("# num_images=3 num_labeled=1\nindex,cycle\n1,first\n", "must hold a pool"),
        ("# num_images=3 num_labeled=1\nindex,cycle\n7,0\n", r"index must lie in \[0, 3\), got \[7\]"),
        ("# num_images=3 num_labeled=2\nindex,cycle\n1,0\n1,1\n", r"index must not repeat .* got \[1\]"),
        ("# num_images=3 num_labeled=0\nindex,cycle\n1,-7\n", r"cycle must be >= -2, got \[-7\]"),
        ("# num_images=3 num_labeled=2\nindex,cycle\n1,0\n", "must list num_labeled=2 labeled images, lists 1"),
    ],
)
def test_what_is_no_whole_pool_file_is_a_data_error(tmp_path, text, message):
    path = tmp_path / "pool.csv"
    path.write_text(text)
    with pytest.raises(DataError, match=message) as caught:
        Pool.load(path)
    assert str(path) in str(caught.value)
