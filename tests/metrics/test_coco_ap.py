import contextlib
import io
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from alpl.boxes.objects import Objects
from alpl.errors import ConfigError
from alpl.metrics.coco_ap import COCOAveragePrecision

BOX = [0.0, 0.0, 10.0, 10.0]


def _image(boxes, labels, scores, truth, classes, difficult=None):
    found = {
        "boxes": torch.tensor(boxes).view(-1, 4).float(),
        "labels": torch.tensor(labels, dtype=torch.long),
        "scores": torch.tensor(scores, dtype=torch.float32),
    }
    difficult = torch.tensor(difficult or [False] * len(classes), dtype=torch.bool)
    return found, Objects(torch.tensor(truth).view(-1, 4).float(), torch.tensor(classes, dtype=torch.long), difficult)


def _scene(draws, num_images, num_classes, num_objects=5, num_found=8):
    """Objects and detections around them, some at random, a share of the objects difficult."""
    images = []
    for _ in range(num_images):
        n, d = (int(torch.randint(0, top + 1, (), generator=draws)) for top in (num_objects, num_found))
        corner = torch.rand(n, 2, generator=draws) * 150
        truth = torch.cat([corner, corner + 5 + 120 * torch.rand(n, 2, generator=draws)], 1)
        classes = torch.randint(num_classes, (n,), generator=draws)
        difficult = torch.rand(n, generator=draws) < 0.2
        which = torch.randint(max(n, 1), (d if n else 0,), generator=draws)
        boxes = truth[which] + 6 * torch.randn(len(which), 4, generator=draws)
        boxes[:, 2:] = torch.maximum(boxes[:, 2:], boxes[:, :2] + 1)
        guess = torch.randint(num_classes, (len(which),), generator=draws)
        labels = torch.where(torch.rand(len(which), generator=draws) < 0.7, classes[which], guess)
        scores = (torch.rand(len(which), generator=draws) * 20).round() / 20  # some of them equal
        images.append(({"boxes": boxes, "labels": labels, "scores": scores}, Objects(truth, classes, difficult)))
    return images


def _xywh(box):
    x1, y1, x2, y2 = box
    return [x1, y1, x2 - x1, y2 - y1]


def _pycocotools(images, num_classes):
    """COCO's own evaluation of the same, and its per-class means."""
    truth, found = [], []
    for number, (detections, objects) in enumerate(images):
        rows = zip(objects.boxes.tolist(), objects.labels.tolist(), objects.difficult.tolist(), strict=True)
        for box, label, crowd in rows:
            w, h = _xywh(box)[2:]
            truth.append(
                {"id": len(truth) + 1, "image_id": number, "category_id": label, "bbox": _xywh(box),
                 "area": w * h, "iscrowd": int(crowd)}
            )  # fmt: skip
        for box, label, score in zip(*(detections[n].tolist() for n in ("boxes", "labels", "scores")), strict=True):
            found.append({"image_id": number, "category_id": label, "bbox": _xywh(box), "score": score})
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO()
        coco.dataset = {
            "info": {}, "images": [{"id": number} for number in range(len(images))], "annotations": truth,
            "categories": [{"id": label} for label in range(num_classes)],
        }  # fmt: skip
        coco.createIndex()
        evaluation = COCOeval(coco, coco.loadRes(found), "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    precision = evaluation.eval["precision"][:, :, :, 0, 2]
    per_class = [p[p > -1].mean() if (p > -1).any() else math.nan for p in np.moveaxis(precision, 2, 0)]
    return evaluation.stats[:3].tolist(), per_class


def _result(images, num_classes):
    metric = COCOAveragePrecision(num_classes)
    metric.update([found for found, _ in images], [objects for _, objects in images])
    return metric.compute()


@settings(max_examples=25)
@given(st.integers(0, 2**32 - 1), st.integers(1, 6), st.integers(1, 5))
def test_it_is_pycocotools(seed, num_images, num_classes):
    images = _scene(torch.Generator().manual_seed(seed), num_images, num_classes)
    if not any(len(found["labels"]) for found, _ in images):  # which pycocotools cannot load
        images.append(_image([BOX], [0], [0.5], [], []))
    averages, per_class = _pycocotools(images, num_classes)
    result = _result(images, num_classes)
    ours = [result["map"], result["map50"], result["map75"]]
    assert ours == pytest.approx([a if a > -1 else math.nan for a in averages], abs=1e-12, nan_ok=True)
    assert result["per_class"].tolist() == pytest.approx(per_class, abs=1e-12, nan_ok=True)


def test_the_scenes_are_of_every_kind():
    # else the test above would compare zeros
    averages, per_class = _pycocotools(_scene(torch.Generator().manual_seed(0), 40, 5), 5)
    assert 0.05 < averages[2] < averages[0] < averages[1] < 0.8 and min(per_class) > 0.03


def test_by_hand():
    # the first overlaps by 0.8: right at 0.50, 0.55, ... 0.80, so 7 of 10 overlaps; the class 1 is missed, 2 has none
    images = [_image([[0, 0, 10, 8]], [0], [0.9], [BOX, [50, 50, 60, 60]], [0, 1])]
    result = _result(images, 3)
    assert result["per_class"].tolist() == pytest.approx([0.7, 0.0, math.nan], nan_ok=True)
    assert (result["map"], result["map50"], result["map75"]) == pytest.approx((0.35, 0.5, 0.5))


@pytest.mark.slow
def test_recalls_of_whole_hundredths_are_pycocotools():
    # where rounding decides whether a recall is reached
    boxes = [[20.0 * k, 0.0, 20.0 * k + 10, 10.0] for k in range(100)]
    for number in range(1, 100, 4):
        images = [_image(boxes[:number], [0] * number, [0.5] * number, boxes, [0] * 100)]
        assert _result(images, 1)["map"] == pytest.approx(_pycocotools(images, 1)[0][0], abs=1e-12)


def test_a_difficult_object_is_neither_right_nor_wrong():
    near = [50.0, 50.0, 60.0, 60.0]
    images = [_image([near, near, BOX], [0, 0, 0], [0.9, 0.8, 0.7], [near, BOX], [0, 0], [True, False])]
    assert _result(images, 1)["map"] == pytest.approx(1.0)


def test_the_hundred_best_detections_of_an_image_count():
    # the right one has the lowest score of 100, then of 101
    def images(number):
        return [
            _image([[80.0, 80.0, 90.0, 90.0]] * number + [BOX], [0] * (number + 1), [0.9] * number + [0.1], [BOX], [0])
        ]

    assert _result(images(99), 1)["map"] == pytest.approx(0.01)
    assert _result(images(100), 1)["map"] == 0.0


@pytest.mark.parametrize(
    ("images", "expected"),
    [
        ([], math.nan),
        ([_image([], [], [], [], [])], math.nan),
        ([_image([BOX], [1], [0.5], [], [])], math.nan),
        ([_image([BOX], [1], [0.5], [BOX], [1], [True])], math.nan),  # all difficult
        ([_image([], [], [], [BOX], [1])], 0.0),
        ([_image([BOX], [0], [0.5], [BOX], [1])], 0.0),
        ([_image([BOX], [1], [0.5], [BOX], [1])], 1.0),
    ],
)
@pytest.mark.filterwarnings("ignore:The ``compute`` method:UserWarning")
def test_what_is_not_there(images, expected):
    result = _result(images, 2)
    assert result["per_class"].tolist() == pytest.approx([math.nan, expected], nan_ok=True)
    for name in ("map", "map50", "map75"):
        assert isinstance(result[name], float) and result[name] == pytest.approx(expected, nan_ok=True)


def test_batches_do_not_matter_and_reset_forgets():
    images = _scene(torch.Generator().manual_seed(1), 9, 3)
    metric = COCOAveragePrecision(3)
    metric.update(*zip(*images[:5], strict=True))
    metric.reset()
    for start in range(0, 9, 2):
        metric.update(*zip(*images[start : start + 2], strict=True))
    assert metric.compute()["map"] == _result(images, 3)["map"] > 0.05


def test_forward_gives_the_batch_and_keeps_the_whole():
    metric, far = COCOAveragePrecision(1), [50.0, 50.0, 60.0, 60.0]
    for boxes, expected in ((BOX, 1.0), (far, 0.0)):
        images = [_image([boxes], [0], [0.5], [BOX], [0])] * 2
        assert metric(*zip(*images, strict=True))["map"] == pytest.approx(expected)
    # of equal score, so in the order of the images: two right, two wrong; 51 of the 101 recalls are reached
    assert metric.compute()["map"] == pytest.approx(51 / 101)


def test_what_cannot_be_is_an_error():
    with pytest.raises(ConfigError, match="num_classes must be >= 1, got 0"):
        COCOAveragePrecision(0)
    with pytest.raises(ValueError, match=r"labels of detections must lie in \[0, 2\), got 2 to 2"):
        COCOAveragePrecision(2).update(*zip(_image([BOX], [2], [0.5], [], []), strict=True))
