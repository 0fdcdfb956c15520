"""AP at several overlaps is each overlap's own."""

import numpy as np
import pytest
import torch

from alpl.boxes.objects import Objects
from alpl.errors import ConfigError
from alpl.metrics.voc_ap import VOCAveragePrecision
from alpl.metrics.voc_overlaps import VOCOverlaps


def batches() -> list[tuple[list[dict[str, torch.Tensor]], list[Objects]]]:
    random = torch.Generator().manual_seed(4)
    made = []
    for _ in range(3):
        corners = torch.rand(6, 2, generator=random) * 50
        truth = torch.cat([corners, corners + 20], 1)
        labels = torch.randint(3, (6,), generator=random)
        boxes = truth + torch.rand(6, 4, generator=random) * 6 - 3
        found = {"boxes": boxes, "labels": labels, "scores": torch.rand(6, generator=random)}
        made.append(([found], [Objects(truth, labels, torch.zeros(6, dtype=torch.bool))]))
    return made


def test_it_is_each_overlap_s_own() -> None:
    both, half, three_quarters = VOCOverlaps(3), VOCAveragePrecision(3), VOCAveragePrecision(3, 0.75)
    for _ in range(2):  # a reset forgets all
        for detections, targets in batches():
            for metric in (both, half, three_quarters):
                metric.update(detections, targets)
        found, first, second = both.compute(), half.compute(), three_quarters.compute()
        assert found["map"] == found["map50"] == first["map"] and found["map75"] == second["map"] < first["map"]
        np.testing.assert_array_equal(found["per_class"], first["per_class"])
        for metric in (both, half, three_quarters):
            metric.reset()
    assert np.isnan(both.compute()["map75"])


@pytest.mark.parametrize("given", [[], [0.5, 0.5], [0.5, 0.501]])
def test_overlaps_that_cannot_be_told_apart(given: list[float]) -> None:
    with pytest.raises(ConfigError, match="iou_threshs must be different percents"):
        VOCOverlaps(3, given)
