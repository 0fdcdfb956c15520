"""Files that come more than once: one file under several paths, and copies."""

import os
from pathlib import Path

import pytest
import torch

from alpl.data import repeats
from alpl.data.repeats import find_repeats


@pytest.fixture
def paths(tmp_path):
    """Ten files and, by their names, what they are."""
    long = bytes(torch.randint(256, (9000,), generator=torch.Generator().manual_seed(0)).tolist())
    contents = {
        "a": long, "b": b"other" + long[5:], "copy of a": long, "c": b"tiny", "copy of c": b"tiny", "empty": b"",
        "also empty": b"",
    }  # fmt: skip
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
    (tmp_path / "link to a").symlink_to("a")
    os.link(tmp_path / "b", tmp_path / "hard link to b")
    return [str(tmp_path / name) for name in [*contents, "link to a", "hard link to b", "not there"]]


def names(paths, groups):
    return [[Path(paths[at]).name for at in group] for group in groups]


def test_links_are_the_file_and_copies_are_alike(paths):
    found = find_repeats(paths)
    assert names(paths, found.files) == [["a", "link to a"]]
    assert names(paths, found.copies) == [
        ["a", "copy of a"], ["b", "hard link to b"], ["c", "copy of c"], ["empty", "also empty"],
    ]  # fmt: skip


def test_a_path_that_comes_again_repeats_whether_it_is_there_or_not(paths):
    found = find_repeats([paths[0], paths[-1], paths[0], paths[-1]])
    assert found.files == [[0, 2], [1, 3]] and found.copies == []


def test_only_files_that_end_alike_are_read(paths, monkeypatch):
    read = []
    monkeypatch.setattr(repeats, "content_of", lambda path: read.append(path) or path)
    find_repeats(paths[:2])
    assert len(read) == 2, "of equal length, and alike in the end"
    read.clear()
    with Path(paths[1]).open("ab") as stream:
        stream.write(b"x")
    assert find_repeats(paths[:2]).copies == [] and read == []


def test_nothing_repeats_among_none():
    assert find_repeats([]) == ([], [])
