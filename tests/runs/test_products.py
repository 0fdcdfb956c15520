"""A product is made once, whole or not at all, whoever wants it and whatever happens to its maker."""

import json
import logging
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from alpl.errors import ConfigError
from alpl.machine.interruption import Interrupted
from alpl.runs.products import ABOUT, Product, Products, fault_of

CONTENT = {"network": "vgg16", "seed": 0}


def never(text: str) -> None:
    raise AssertionError(text)


def fill(folder: Path) -> None:
    (folder / "weights").mkdir(exist_ok=True)
    (folder / "weights" / "backbone.pt").write_bytes(b"weights")
    (folder / "epochs.csv").write_text("epoch\n0\n")


def refuse(folder: Path) -> None:
    raise AssertionError(f"{folder} is made again")


def made(root: Path, make: Callable[[Path], None] = fill) -> Product:
    product = Products(root, never).get("backbone", CONTENT, make)
    assert product is not None
    return product


def child(work: Callable[[], object]) -> int:
    """Do it in a process of its own; give its id."""
    pid = os.fork()
    if pid == 0:
        code = 70
        try:
            work()
            code = 0
        finally:
            os._exit(code)
    return pid


def wait_until(holds: Callable[[], bool]) -> None:
    for _ in range(1200):
        if holds():
            return
        time.sleep(0.05)
    raise AssertionError("it never holds")


def make_slowly(root: Path) -> None:
    """Begin, write a part, and wait for a word to go on."""

    def make(folder: Path) -> None:
        with (root / "makers").open("a") as stream:
            stream.write(f"{os.getpid()}\n")
        (folder / "part").write_text("half")
        wait_until((root / "go").exists)
        fill(folder)

    Products(root, lambda text: (root / "waiting").write_text(text) and None).get("backbone", CONTENT, make)


def makers(root: Path) -> list[int]:
    return [int(line) for line in (root / "makers").read_text().split()] if (root / "makers").exists() else []


def test_it_is_made_once_and_says_what_it_is_of(tmp_path: Path) -> None:
    product = made(tmp_path)
    assert made(tmp_path, refuse) == product
    assert product.name == Products(tmp_path, never).name("backbone", dict(reversed(CONTENT.items())))
    assert product.files == ["epochs.csv", "weights/backbone.pt"]
    about = json.loads((product.folder / ABOUT).read_text())
    assert about["content"] == CONTENT and about["kind"] == "backbone" and about["seconds"] >= 0
    assert "git_commit" in about["environment"] and str(os.getpid()) in about["made_by"]
    other = Products(tmp_path, never).get("backbone", CONTENT | {"seed": 1}, fill)
    assert other is not None and other.folder != product.folder


def test_a_maker_that_fails_leaves_no_product_but_its_part(tmp_path: Path) -> None:
    def fail(folder: Path) -> None:
        (folder / "part").write_text("half")
        raise RuntimeError("out of luck")

    with pytest.raises(RuntimeError, match="out of luck"):
        made(tmp_path, fail)
    assert [path.name for path in (tmp_path / "backbone").iterdir() if not path.name.startswith(".")] == []

    def go_on(folder: Path) -> None:
        assert (folder / "part").read_text() == "half"
        (folder / "part").rename(folder / "whole")
        (folder / ".whole.1.tmp").write_text("of a writer that was killed")

    assert made(tmp_path, go_on).files == ["whole"]


@pytest.mark.parametrize("which", ["weights/backbone.pt", "epochs.csv", ABOUT])
@pytest.mark.parametrize("how", ["gone", "cut", "changed"])
def test_a_broken_product_is_named_and_made_again(tmp_path: Path, caplog, monkeypatch, which: str, how: str) -> None:
    monkeypatch.setattr(logging.getLogger("alpl"), "propagate", True)  # a run in this process has taken it
    product = made(tmp_path)
    path = product.folder / which
    content = path.read_bytes()
    path.unlink() if how == "gone" else path.write_bytes(content[:-1] + b"#" if how == "changed" else content[:-1])
    if which == ABOUT and how == "cut":  # only the last line break: it says the same
        path.write_bytes(content[:-5])
    assert fault_of(product.folder) is not None
    made(tmp_path)
    assert fault_of(product.folder) is None and path.exists()
    assert str(product.folder) in caplog.text and which in caplog.text


def test_a_cache_that_cannot_be_written_to_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(ConfigError, match=r"paths.cache must be a folder .* got .*file/cache: Not a directory"):
        made(tmp_path / "file" / "cache")


def test_a_cache_that_cannot_be_written_to_still_gives_what_it_holds(tmp_path: Path, monkeypatch) -> None:
    product = made(tmp_path)

    def read_only(*args: object, **options: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "mkdir", read_only)
    monkeypatch.setattr(os, "open", read_only)
    assert made(tmp_path, refuse) == product
    with pytest.raises(ConfigError, match="Permission denied"):
        Products(tmp_path, never).get("backbone", {}, fill)


def test_of_two_processes_one_makes_it_and_the_other_waits(tmp_path: Path) -> None:
    pids = [child(lambda: make_slowly(tmp_path)) for _ in range(2)]
    wait_until(lambda: bool(makers(tmp_path)) and (tmp_path / "waiting").exists())
    (maker,) = makers(tmp_path)
    wait_until(lambda: f"process {maker} on " in (tmp_path / "waiting").read_text())
    assert Products(tmp_path, never).get("backbone", CONTENT, refuse, wait=False) is None
    (tmp_path / "go").touch()
    assert [os.waitpid(pid, 0)[1] for pid in pids] == [0, 0]
    assert len(makers(tmp_path)) == 1 and fault_of(made(tmp_path, refuse).folder) is None


def test_the_waiting_one_takes_over_from_a_killed_maker(tmp_path: Path) -> None:
    pids = {child(lambda: make_slowly(tmp_path)) for _ in range(2)}
    wait_until(lambda: bool(makers(tmp_path)) and (tmp_path / "waiting").exists())
    (killed,) = makers(tmp_path)
    os.kill(killed, signal.SIGKILL)
    wait_until(lambda: len(makers(tmp_path)) == 2)
    (tmp_path / "go").touch()
    (other,) = pids - {killed}
    assert os.WIFSIGNALED(os.waitpid(killed, 0)[1]) and os.waitpid(other, 0)[1] == 0
    assert made(tmp_path, refuse).files == ["epochs.csv", "part", "weights/backbone.pt"]


def test_a_wait_can_be_left(tmp_path: Path) -> None:
    def leave(text: str) -> None:
        raise Interrupted

    pid = child(lambda: make_slowly(tmp_path))
    wait_until(lambda: bool(makers(tmp_path)))
    with pytest.raises(Interrupted):
        Products(tmp_path, leave).get("backbone", CONTENT, refuse)
    (tmp_path / "go").touch()
    assert os.waitpid(pid, 0)[1] == 0
