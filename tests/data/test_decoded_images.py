"""What was decoded once is not decoded again, by other processes either, as long as the file has not changed."""

import os
from pathlib import Path

import pytest

from alpl.data import decoded_images
from alpl.data.decoded_images import DecodedImages
from alpl.data.image_files import stamp


@pytest.fixture
def files(tmp_path):
    paths = [tmp_path / folder / name for folder in ("a", "b") for name in ("1.png", "2.png")]
    for path in paths:
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(path.name.encode())
    return [str(path) for path in paths]


@pytest.fixture
def another_process(monkeypatch):
    return lambda: monkeypatch.setattr(decoded_images, "_decoded", {})


def note(folder, paths):
    decoded = DecodedImages(folder, paths)
    for path in paths:
        decoded.add(path, stamp(path))
    decoded.save()


def test_other_processes_know_it(files, tmp_path, another_process):
    another_process()
    note(str(tmp_path / "cache"), files[:3])
    another_process()
    assert [path in DecodedImages(str(tmp_path / "cache"), files) for path in files] == [True, True, True, False]
    note(str(tmp_path / "cache"), files[3:])
    another_process()
    known = DecodedImages(str(tmp_path / "cache"), files)
    assert all(path in known for path in files), "what was noted before stays"
    another_process()
    assert files[0] not in DecodedImages(None, files)


def test_a_file_that_changed_is_not_known(files, tmp_path, another_process):
    note(str(tmp_path / "cache"), files)
    os.utime(files[0], ns=(1, 1))
    Path(files[1]).write_bytes(b"longer")
    Path(files[2]).unlink()
    another_process()
    known = DecodedImages(str(tmp_path / "cache"), files)
    assert [path in known for path in files] == [False, False, False, True]


@pytest.mark.parametrize("content", [b"", b"\xff{", b'{"decoded": [1]}', b'{"decoded": {"a": 1}}', b"[]"])
def test_a_broken_note_is_written_anew(files, tmp_path, another_process, content):
    another_process()
    note(str(tmp_path / "cache"), files[:2])
    (noted,) = (tmp_path / "cache").iterdir()
    noted.write_bytes(content)
    another_process()
    assert files[0] not in DecodedImages(str(tmp_path / "cache"), files)
    note(str(tmp_path / "cache"), files[:2])
    another_process()
    assert files[0] in DecodedImages(str(tmp_path / "cache"), files)


def test_a_cache_that_cannot_be_written_stops_nobody(files, tmp_path, another_process):
    another_process()
    (tmp_path / "cache").write_text("a file")
    note(str(tmp_path / "cache"), files)
    assert files[0] in DecodedImages(str(tmp_path / "cache"), files), "this process knows it"
