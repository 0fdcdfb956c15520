import json
import math

import pytest
import torch
from PIL import Image

from alpl.acquisition import Context, FlipInconsistency, Query
from alpl.boxes.objects import AbstractDetectionImages
from alpl.errors import ConfigError
from alpl.pool import Pool
from alpl.predictions import Form, Posterior, Predictions
from alpl.recording import gallery
from alpl.recording.gallery import record_gallery

CLASSES = ("car", "dog")


class Plain(AbstractDetectionImages):
    """Images of one color each; image i has red 10 i."""

    def __init__(self, sizes):
        self.sizes = torch.tensor(sizes)
        self.names = tuple(f"image {number}" for number in range(len(sizes)))

    def __getitem__(self, index):
        height, width = self.sizes[index].tolist()
        return torch.tensor([10 * index, 128, 255], dtype=torch.uint8)[:, None, None].expand(3, height, width)


@pytest.fixture
def images():
    return Plain([(40, 60), (300, 900), (50, 50), (640, 200), (30, 30)])


def _predictions(**changes):
    """Images 1, 3 and 4: two detections, none, three."""
    fields = {
        "index": torch.tensor([1, 3, 4]),
        "row": torch.tensor([0, 0, 2, 2, 2]),
        "labels": torch.tensor([0, 1, 1, 0, 0]),
        "scores": torch.tensor([0.9, 0.2, 0.6, 0.55, 0.1]),
        "boxes": torch.arange(20.0).view(5, 4) + 0.123,
    }
    return Predictions(**{**fields, **changes})


def _query(index, object_utility=None):
    values = torch.arange(len(index), 0, -1).double() / 4
    return Query(torch.tensor(index), values, object_utility=object_utility)


def _read(folder):
    return json.loads((folder / "gallery.json").read_text())


def test_each_image_has_its_own_detections_and_the_one_of_highest_value_decided(tmp_path, images):
    values = torch.tensor([0.25, math.nan, 0.5, 0.75, math.nan])
    record_gallery(tmp_path / "g", _query([4, 3, 1], values), _predictions(), images, CLASSES, limit=9)
    about = _read(tmp_path / "g")
    assert (about["num_queried"], about["values_objects"], about["classes"]) == (3, True, ["car", "dog"])
    fourth, third, first = about["images"]
    assert [fourth[name] for name in ("index", "name", "rank", "utility", "width", "height", "file")] == [
        4, "image 4", 0, 0.75, 30, 30, "000.jpg",
    ]  # fmt: skip
    assert [(d["label"], d["value"], d["decided"]) for d in fourth["detections"]] == [
        (1, 0.5, False), (0, 0.75, True), (0, None, False),
    ]  # fmt: skip
    assert [d["score"] for d in fourth["detections"]] == pytest.approx([0.6, 0.55, 0.1])
    assert fourth["detections"][0]["box"] == [8.12, 9.12, 10.12, 11.12]
    assert third["detections"] == [] and (third["rank"], third["file"]) == (1, "001.jpg")
    assert [(d["value"], d["decided"]) for d in first["detections"]] == [(0.25, True), (None, False)]


def test_the_pictures_are_the_images_and_small(tmp_path, images):
    record_gallery(tmp_path / "g", _query([3, 1, 4]), _predictions(), images, CLASSES, limit=3)
    sizes = {}
    for entry in _read(tmp_path / "g")["images"]:
        picture = Image.open(tmp_path / "g" / entry["file"])
        sizes[entry["index"]] = picture.size
        assert picture.getpixel((5, 5)) == pytest.approx((10 * entry["index"], 128, 255), abs=3)
    assert sizes == {3: (100, 320), 1: (320, 107), 4: (30, 30)}
    assert sorted(path.name for path in (tmp_path / "g").iterdir()) == [
        "000.jpg", "001.jpg", "002.jpg", "gallery.json",
    ]  # fmt: skip


def test_the_limit_keeps_the_first_of_the_query(tmp_path, images):
    record_gallery(tmp_path / "g", _query([4, 3, 1]), _predictions(), images, CLASSES, limit=2)
    about = _read(tmp_path / "g")
    assert [entry["index"] for entry in about["images"]] == [4, 3] and about["num_queried"] == 3
    with pytest.raises(ConfigError, match="limit must be >= 1, got 0"):
        record_gallery(tmp_path / "g", _query([4]), _predictions(), images, CLASSES, limit=0)


def test_a_query_without_values_of_objects_decides_by_none(tmp_path, images):
    record_gallery(tmp_path / "g", _query([1]), _predictions(), images, CLASSES, limit=1)
    about = _read(tmp_path / "g")
    assert about["values_objects"] is False
    assert [(d["value"], d["decided"]) for d in about["images"][0]["detections"]] == [(None, False)] * 2


def test_it_follows_from_a_query_on_memory_mapped_predictions(tmp_path, images):
    views = torch.tensor(
        [[[0.5, 0.5, 0.0]] * 5, [[0.5, 0.5, 0], [0.1, 0.9, 0], [0.4, 0.6, 0], [0.2, 0.8, 0], [1, 0, 0]]]
    )
    given = _predictions(views=Posterior(views, Form.BACKGROUND))
    given.save(tmp_path / "p")
    loaded = Predictions.load(tmp_path / "p", memory_map=True)
    pool = Pool.create(5, torch.tensor([0, 2]))
    query = FlipInconsistency().select(Context(pool, 3, seed=0, unlabeled=loaded))
    record_gallery(tmp_path / "g", query, loaded, images, CLASSES, limit=3)
    best = _read(tmp_path / "g")["images"][0]
    assert best["index"] == 4 and [d["decided"] for d in best["detections"]] == [False, True, False]
    assert best["utility"] == best["detections"][1]["value"] > 0


def test_a_gallery_is_whole_or_not_at_all(tmp_path, images, monkeypatch):
    monkeypatch.setattr(gallery, "_save_small", lambda *_: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        record_gallery(tmp_path / "g", _query([4]), _predictions(), images, CLASSES, limit=1)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("changes", "values", "index", "message"),
    [
        ({"boxes": None, "scores": None}, None, 4, "boxes, labels and scores for a gallery, boxes, scores missing"),
        ({}, torch.zeros(4), 4, r"object_utility must be Float\[5\], one an instance, got shape \[4\]"),
        ({}, None, 2, "predictions must hold image 2 once, got it 0 times"),
    ],
)
def test_predictions_that_do_not_fit_are_errors(tmp_path, images, changes, values, index, message):
    with pytest.raises(ValueError, match=message):
        record_gallery(tmp_path / "g", _query([index], values), _predictions(**changes), images, CLASSES, limit=1)
    assert list(tmp_path.iterdir()) == []


def test_uncertainties_are_told_with_their_place_among_what_counted(tmp_path, images):
    """A column that the head does not give (NaN) is left out; what did not count is compared all the same."""
    known = torch.tensor([1.0, 2.0, 4.0, 3.0, 2.5])
    columns = torch.stack([known, known.flip(0), torch.full((5,), math.nan), known], 1)
    values = torch.tensor([0.25, math.nan, 0.5, 0.75, math.nan])  # instances 0, 2 and 3 count
    record_gallery(tmp_path / "g", _query([4], values), _predictions(uncertainties=columns), images, CLASSES, limit=9)
    first, second, third = (one["uncertainties"] for one in _read(tmp_path / "g")["images"][0]["detections"])
    assert list(first) == ["class_aleatoric", "class_epistemic", "box_epistemic"]
    assert [one["class_aleatoric"] for one in (first, second, third)] == [
        {"value": 4.0, "share": pytest.approx(2 / 3, abs=1e-4)},
        {"value": 3.0, "share": pytest.approx(1 / 3, abs=1e-4)},
        {"value": 2.5, "share": pytest.approx(1 / 3, abs=1e-4)},
    ]
    nobody = torch.full((5,), math.nan)
    record_gallery(tmp_path / "g", _query([4], nobody), _predictions(uncertainties=columns), images, CLASSES, limit=9)
    assert _read(tmp_path / "g")["images"][0]["detections"][0]["uncertainties"]["class_aleatoric"]["share"] == 0.8
