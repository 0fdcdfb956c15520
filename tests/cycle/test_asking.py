"""What a person is shown of a query: names that stay one image's, boxes that can be accepted, sizes of the files."""

from pathlib import Path

import torch
from PIL import Image

from alpl.cycle.asking import _names, _size_of, _visible
from alpl.data.base import Picture
from alpl.exchange import Item, Task


def picture(name: str) -> Picture:
    return Picture(name, None, lambda: torch.zeros(1))


def test_a_name_of_an_earlier_cycle_is_not_given_again() -> None:
    pictures = [picture("a/frame_1.png"), picture("a/frame_2.png")]
    assert _names([7, 8], pictures, set()) == ["frame_1.png", "frame_2.png"]
    assert _names([7, 8], pictures, {"frame_1"}) == ["image_000000007.png", "frame_2.png"]


def test_boxes_are_shown_within_the_image_and_none_without_area() -> None:
    task = Task(3, "a.png", "a.png", 30, 40, 0, 1.0, ())
    item = _visible(Item("car", (-4.0, 2.0, 50.0, 12.5), 0.5), task)
    assert item == Item("car", (0.0, 2.0, 40.0, 12.5), 0.5)
    assert _visible(Item("car", (41.0, 2.0, 50.0, 12.5), 0.5), task) is None
    assert _visible(Item("car", None, 0.5), task) == Item("car", None, 0.5)


def test_the_size_is_the_files(tmp_path: Path) -> None:
    Image.new("RGB", (96, 32)).save(tmp_path / "a.png")
    assert _size_of(str(tmp_path / "a.png")) == (32, 96) and _size_of(str(tmp_path / "gone.png")) is None
