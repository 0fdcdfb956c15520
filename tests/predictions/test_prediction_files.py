"""Predictions written part by part are those that were given, and never half there."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from made_predictions import make_predictions, tensors_of

from alpl.machine.files import GrowingArray
from alpl.predictions import Predictions
from alpl.predictions.prediction_files import join, writing


def assert_same(one, other):
    ours, theirs = tensors_of(one), tensors_of(other)
    assert ours.keys() == theirs.keys()
    for name, (tensor, form) in ours.items():
        assert torch.equal(tensor, theirs[name][0]) and tensor.dtype == theirs[name][0].dtype, name
        assert form == theirs[name][1]


@pytest.mark.parametrize("fields", [("labels", "scores"), ("posterior", "labels", "boxes", "views", "image_features")])
@pytest.mark.parametrize("memory_map", [False, True])
def test_parts_become_a_whole(tmp_path, fields, memory_map):
    parts = [make_predictions(counts, fields, seed=number) for number, counts in enumerate([[2, 0, 1], [0, 0], [3]])]
    with writing(tmp_path / "p") as writer:
        for part in parts:
            writer.append(part)
        assert not (tmp_path / "p").exists()
    assert_same(Predictions.load(tmp_path / "p", memory_map=memory_map), Predictions.concat(parts))
    Predictions.concat(parts).save(tmp_path / "q")  # the same files as from one piece
    for path in (tmp_path / "q").iterdir():
        assert path.read_bytes() == (tmp_path / "p" / path.name).read_bytes(), path.name


def test_no_detection_at_all_is_read_back(tmp_path):
    nothing = make_predictions([0, 0, 0])
    with writing(tmp_path / "p") as writer:
        writer.append(nothing)
    for memory_map in (False, True):
        assert_same(Predictions.load(tmp_path / "p", memory_map=memory_map), nothing)


def test_an_error_leaves_nothing(tmp_path):
    def fail():
        with writing(tmp_path / "p") as writer:
            writer.append(make_predictions([1, 2]))
            raise RuntimeError("lost power")

    with pytest.raises(RuntimeError, match="lost power"):
        fail()
    assert list(tmp_path.iterdir()) == []


def test_parts_must_have_the_same_fields(tmp_path):
    with writing(tmp_path / "p") as writer:
        writer.append(make_predictions([1], ("labels",)))
        with pytest.raises(ValueError, match="same fields"):
            writer.append(make_predictions([1], ("labels", "scores")))


def test_a_growing_array_refuses_another_shape_or_type(tmp_path):
    with GrowingArray(tmp_path / "a.npy", np.zeros((0, 3), np.float32)) as file:
        file.append(np.ones((2, 3), np.float32))
        for part in (np.ones((2, 4), np.float32), np.ones((2, 3), np.float64)):
            with pytest.raises(ValueError, match=r"a\.npy must get parts of float32 \[3\]"):
                file.append(part)
    np.testing.assert_array_equal(np.load(tmp_path / "a.npy"), np.ones((2, 3)))


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(0, 3), min_size=1, max_size=12), st.integers(1, 4), st.integers(1, 3))
def test_shards_of_processes_are_joined_in_the_order_of_the_pool(tmp_path_factory, counts, num_processes, block):
    folder = tmp_path_factory.mktemp("shards")
    whole = make_predictions(counts)
    whole = Predictions(**{**vars(whole), "index": torch.arange(len(counts)) * 3 + 1})
    shards = [folder / f"process_{number}" for number in range(num_processes)]
    for number, shard in enumerate(shards):
        with writing(shard) as writer:
            own = torch.arange(len(counts))[number::num_processes]
            if len(own):
                writer.append(whole.take(own))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("alpl.predictions.prediction_files._BLOCK", block)
        join(shards, folder / "joined")
    assert_same(Predictions.load(folder / "joined"), whole)
    assert [path.name for path in folder.iterdir()] == ["joined"]


@given(st.lists(st.integers(0, 3), min_size=1, max_size=8), st.data())
def test_a_slice_is_what_take_gives(counts, data):
    whole = make_predictions(counts)
    start = data.draw(st.integers(0, len(counts)))
    stop = data.draw(st.integers(start, len(counts) + 2))
    assert_same(whole.slice(start, stop), whole.take(torch.arange(start, min(stop, len(counts)))))
