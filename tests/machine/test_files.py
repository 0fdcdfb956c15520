import json
import os
import pickle

import numpy as np
import pytest
import torch

from alpl.errors import ConfigError
from alpl.machine import files


class Payload:
    """Unpickling this writes a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (files.write_text, (self.path, "ran"))


class InterruptedWriteError(Exception):
    """A stand-in for whatever ends a write."""


def _names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_file_appears_only_when_it_is_whole(tmp_path):
    path = tmp_path / "new" / "a.txt"
    with files.whole_file(path) as stream:
        stream.write("one\ntwo\n")
        assert not path.exists()
    assert path.read_bytes() == b"one\ntwo\n"
    assert _names(path.parent) == ["a.txt"]


def test_the_old_file_stays_until_the_new_one_is_whole(tmp_path):
    path = tmp_path / "a.bin"
    path.write_bytes(b"old")
    with files.whole_file(path, "wb") as stream:
        stream.write(b"new")
        stream.flush()
        assert path.read_bytes() == b"old"
    assert path.read_bytes() == b"new"


@pytest.mark.parametrize("exists", [False, True])
def test_an_interrupted_file_leaves_what_was_there(tmp_path, exists):
    path = tmp_path / "a.txt"
    if exists:
        path.write_text("old")
    with pytest.raises(InterruptedWriteError), files.whole_file(path) as stream:
        stream.write("half")
        raise InterruptedWriteError
    assert _names(tmp_path) == (["a.txt"] if exists else [])
    assert not exists or path.read_text() == "old"


def test_the_data_is_on_the_disk_before_the_name_is(tmp_path, monkeypatch):
    seen = []
    fsync = os.fsync
    monkeypatch.setattr(os, "fsync", lambda number: seen.append((tmp_path / "a.txt").exists()) or fsync(number))
    files.write_text(tmp_path / "a.txt", "text")
    assert seen == [False]


def test_a_folder_appears_only_when_it_is_whole(tmp_path):
    path = tmp_path / "new" / "folder"
    with files.whole_folder(path) as temporary:
        (temporary / "a").write_text("a")
        assert not path.exists()
    assert _names(path) == ["a"] and _names(path.parent) == ["folder"]


def test_a_new_folder_takes_the_place_of_the_old_one(tmp_path):
    path = tmp_path / "folder"
    path.mkdir()
    (path / "old").write_text("old")
    with files.whole_folder(path) as temporary:
        (temporary / "new").write_text("new")
        assert _names(path) == ["old"]
    assert _names(path) == ["new"] and _names(tmp_path) == ["folder"]


@pytest.mark.parametrize("exists", [False, True])
def test_an_interrupted_folder_leaves_what_was_there(tmp_path, exists):
    path = tmp_path / "folder"
    if exists:
        path.mkdir()
        (path / "old").write_text("old")
    with pytest.raises(InterruptedWriteError), files.whole_folder(path) as temporary:
        (temporary / "new").write_text("half")
        raise InterruptedWriteError
    assert _names(tmp_path) == (["folder"] if exists else [])
    assert not exists or _names(path) == ["old"]


def test_what_a_killed_process_left_of_a_folder_is_not_taken_over(tmp_path):
    stale = tmp_path / f".folder.{os.getpid()}.tmp"
    stale.mkdir()
    (stale / "half").write_text("half")
    with files.whole_folder(tmp_path / "folder") as temporary:
        (temporary / "new").write_text("new")
    assert _names(tmp_path) == ["folder"] and _names(tmp_path / "folder") == ["new"]


@pytest.mark.parametrize("fails", [False, True])
def test_a_writer_that_wants_a_name_is_whole_or_not_at_all(tmp_path, fails):
    path = tmp_path / "a.txt"
    path.write_text("old")

    def write(temporary):
        temporary.write_text("new")
        assert path.read_text() == "old"
        if fails:
            raise InterruptedWriteError

    if fails:
        with pytest.raises(InterruptedWriteError):
            files.replace_with(path, write)
    else:
        files.replace_with(path, write)
    assert path.read_text() == ("old" if fails else "new") and _names(tmp_path) == ["a.txt"]


def test_json_is_readable_and_keeps_its_order(tmp_path):
    value = {"z": 1, "a": {"é": [0.1, None, True]}}
    files.write_json(tmp_path / "a.json", value)
    assert "é" in (tmp_path / "a.json").read_text(encoding="utf-8")
    assert list(files.read_json(tmp_path / "a.json")) == ["z", "a"] and files.read_json(tmp_path / "a.json") == value


def test_a_value_that_is_no_json_leaves_the_old_file(tmp_path):
    files.write_json(tmp_path / "a.json", 1)
    with pytest.raises(TypeError):
        files.write_json(tmp_path / "a.json", {"a": object()})
    assert json.loads((tmp_path / "a.json").read_text()) == 1 and _names(tmp_path) == ["a.json"]


@pytest.mark.parametrize("memory_map", [False, True])
@pytest.mark.parametrize(
    "array",
    [
        np.arange(6, dtype=np.uint8).reshape(2, 3),
        np.arange(6.0).reshape(2, 3).T,
        np.zeros((0, 4), dtype=np.float16),
        np.array([True, False]),
        np.array(3.5),
    ],
)
def test_arrays_come_back(tmp_path, array, memory_map):
    files.write_array(tmp_path / "a.npy", array)
    again = files.read_array(tmp_path / "a.npy", memory_map=memory_map)
    np.testing.assert_array_equal(again, array)
    assert (again.dtype, again.shape) == (array.dtype, array.shape)
    assert isinstance(again, np.memmap) == memory_map


def test_arrays_are_never_pickled(tmp_path):
    array = np.array([Payload(tmp_path / "proof")], dtype=object)
    with pytest.raises(ValueError, match="Object arrays cannot be saved"):
        files.write_array(tmp_path / "a.npy", array)
    assert _names(tmp_path) == []
    np.save(tmp_path / "a.npy", array, allow_pickle=True)
    (tmp_path / "b.npy").write_bytes(pickle.dumps(Payload(tmp_path / "proof")))
    for name in ("a.npy", "b.npy"):
        with pytest.raises(ValueError, match=r"[Oo]bject|pickle"):
            files.read_array(tmp_path / name)
    assert not (tmp_path / "proof").exists()


def test_tensors_come_back(tmp_path):
    state = {"weight": torch.rand(2, 3), "steps": torch.tensor(4), "epoch": 3}
    files.write_tensors(tmp_path / "a.pt", state)
    again = files.read_tensors(tmp_path / "a.pt")
    assert torch.equal(again["weight"], state["weight"]) and (int(again["steps"]), again["epoch"]) == (4, 3)


def test_a_checkpoint_runs_no_code(tmp_path):
    torch.save({"weight": torch.rand(2), "evil": Payload(tmp_path / "proof")}, tmp_path / "a.pt")
    with pytest.raises(ConfigError, match=r"must hold only tensors and plain values: .*a\.pt"):
        files.read_tensors(tmp_path / "a.pt")
    assert not (tmp_path / "proof").exists()
    torch.load(tmp_path / "a.pt", weights_only=False)  # the payload is live: only the loader stood in its way
    assert (tmp_path / "proof").exists()


@pytest.mark.parametrize("content", [b"no checkpoint", b""])
def test_a_file_that_is_no_checkpoint_is_an_error(tmp_path, content):
    (tmp_path / "a.pt").write_bytes(content)
    with pytest.raises(ConfigError, match="must hold only tensors and plain values"):
        files.read_tensors(tmp_path / "a.pt")


def test_a_missing_checkpoint_is_an_error(tmp_path):
    with pytest.raises(ConfigError, match=r"checkpoint file does not exist: .*a\.pt"):
        files.read_tensors(tmp_path / "a.pt")
