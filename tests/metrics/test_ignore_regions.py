"""Regions of no class: what is found there is neither right nor wrong, whatever the metric."""

import math

import pytest
import torch

from alpl.boxes.ignore_regions import share_within
from alpl.boxes.objects import NO_CLASS, Objects
from alpl.metrics.coco_ap import COCOAveragePrecision
from alpl.metrics.kitti_ap import KITTIAveragePrecision
from alpl.metrics.voc_ap import VOCAveragePrecision
from alpl.metrics.voc_overlaps import VOCOverlaps

METRICS = (VOCAveragePrecision, VOCOverlaps, COCOAveragePrecision, KITTIAveragePrecision)
BOX, FAR, REGION = [0.0, 0.0, 50.0, 50.0], [100.0, 0.0, 150.0, 50.0], [90.0, 0.0, 200.0, 90.0]


def _map(metric, found, boxes, regions=(), label=0):
    measured = metric(2)
    objects = Objects(
        torch.tensor([*boxes, *regions]).view(-1, 4),
        torch.tensor([*[label] * len(boxes), *[NO_CLASS] * len(regions)]).long(),
        torch.tensor([*[False] * len(boxes), *[True] * len(regions)]).bool(),
    )
    detections = {
        "boxes": torch.tensor([box for box, _, _ in found]).view(-1, 4),
        "labels": torch.tensor([label for _, label, _ in found]).long(),
        "scores": torch.tensor([score for _, _, score in found]).float(),
    }
    # so often that all recalls of KITTI are reached
    measured.update([detections] * 41, [objects] * 41)
    return measured.compute()["map"]


@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::DeprecationWarning")
@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("label", [0, 1])
def test_what_lies_in_a_region_costs_nothing(metric, label):
    found = [(FAR, label, 0.9), (BOX, label, 0.5)]
    assert _map(metric, found, [BOX], label=label) < 0.6
    assert _map(metric, found, [BOX], [REGION], label) == pytest.approx(1.0)
    assert _map(metric, found, [BOX], [REGION, REGION], label) == pytest.approx(1.0)
    assert _map(metric, found, [BOX], [[100.0, 0.0, 120.0, 50.0]], label) < 0.6  # two fifths of it


@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::DeprecationWarning")
@pytest.mark.parametrize("metric", METRICS)
def test_an_object_in_a_region_is_found_all_the_same(metric):
    found = [(FAR, 0, 0.9), (BOX, 0, 0.5)]
    assert _map(metric, found, [BOX, FAR], [REGION]) == pytest.approx(1.0)
    assert _map(metric, found[1:], [BOX, FAR], [REGION]) < 0.6  # nor is it excused where it is not


@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::DeprecationWarning")
@pytest.mark.parametrize("metric", METRICS)
def test_regions_alone_are_nothing_to_find(metric):
    assert math.isnan(_map(metric, [(FAR, 0, 0.9)], [], [REGION]))
    assert math.isnan(_map(metric, [], [], [REGION]))


@pytest.mark.parametrize("metric", METRICS)
def test_other_labels_below_zero_are_refused(metric):
    objects = Objects(torch.tensor([BOX]), torch.tensor([-2]), torch.tensor([True]))
    nothing = {"boxes": torch.zeros(0, 4), "labels": torch.zeros(0).long(), "scores": torch.zeros(0)}
    with pytest.raises(ValueError, match=r"labels of targets must lie in \[0, 2\), got -2 to -2"):
        metric(2).update([nothing], [objects])


def test_a_duplicate_in_a_region_is_excused_by_vocs():
    found = [(BOX, 0, 0.9), (BOX, 0, 0.8), (FAR, 0, 0.7)]
    assert _map(VOCAveragePrecision, found, [BOX, FAR]) < 0.9
    assert _map(VOCAveragePrecision, found, [BOX, FAR], [BOX]) == pytest.approx(1.0)


def test_shares_by_hand():
    boxes = torch.tensor([[0.0, 0, 10, 10], [5, 5, 5, 9], [0, 0, 4, 5]])
    regions = torch.tensor([[0.0, 0, 10, 5], [2, 0, 90, 90], [50, 50, 60, 60]])
    assert share_within(boxes, regions).tolist() == [[0.5, pytest.approx(0.8), 0], [0, 0, 0], [1, 0.5, 0]]
    assert share_within(boxes, regions[:0]).shape == (3, 0) and share_within(boxes[:0], regions).shape == (0, 3)
