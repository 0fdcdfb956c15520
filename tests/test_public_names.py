"""The names that people import: exported from their rooms, and told in the README."""

import importlib
import pkgutil
import re
from pathlib import Path

import pytest

import alpl

README = (Path(__file__).parent.parent / "README.md").read_text()
NAMES = (
    "acquisition boxes callbacks data exchange labeling learning loggers modules predictions querying selection studies"
)


@pytest.mark.parametrize("room", NAMES.split())
def test_exported_names_are_there(room: str) -> None:
    package = importlib.import_module(f"alpl.{room}")
    names = package.__all__
    assert len(set(names)) == len(names)
    for name in names:
        thing = getattr(package, name)
        home = getattr(thing, "__module__", f"alpl.{room}")
        assert home.startswith(f"alpl.{room}.") or not isinstance(thing, type), name


def test_sources_outside_the_package_find_the_types_of_objects() -> None:
    names, home = importlib.import_module("alpl.data.objects"), importlib.import_module("alpl.boxes.objects")
    assert "Objects" in names.__all__
    assert all(getattr(names, name) is getattr(home, name) for name in names.__all__)


def test_the_readme_tells_every_room() -> None:
    rooms = {info.name for info in pkgutil.iter_modules(alpl.__path__) if info.ispkg}
    told = set(re.findall(r"^\| `(\w+)/` \|", README, re.MULTILINE))
    assert told == rooms


def test_at_most_six_loose_files() -> None:
    loose = [info.name for info in pkgutil.iter_modules(alpl.__path__) if not info.ispkg]
    assert sorted(loose) == ["__main__", "errors", "experiment", "loop", "pool"]  # and __init__
