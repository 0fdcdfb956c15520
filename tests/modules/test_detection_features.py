"""Features of detections: what part of which map they are read from."""

import pytest
import torch

from alpl.errors import ConfigError
from alpl.modules.detection_features import PointFeatures, RoiFeatures

BOXES_PER_CELL = (2, 3)


def ramp(images=2, height=8, width=8):
    """A map whose channels are the x and y of the cell's center and the image, in units of the image."""
    y, x = torch.meshgrid((torch.arange(height) + 0.5) / height, (torch.arange(width) + 0.5) / width, indexing="ij")
    return torch.stack([torch.stack([x, y, torch.full_like(x, image)]) for image in range(images)])


@pytest.mark.parametrize("output_size", [1, 3])
def test_the_mean_of_a_linear_map_is_its_value_at_the_center_of_the_box(output_size):
    maps = (torch.zeros(2, 5, 4, 4), ramp())
    boxes = torch.tensor([[0.25, 0.25, 0.75, 0.5], [0.2, 0.3, 0.8, 0.9], [0.5, 0.5, 0.6, 0.7]])
    row = torch.tensor([0, 0, 1])
    found = RoiFeatures(1, output_size)(maps, boxes, row, torch.zeros(3, dtype=torch.long), BOXES_PER_CELL)
    centers = (boxes[:, :2] + boxes[:, 2:]) / 2
    torch.testing.assert_close(found, torch.cat([centers, row[:, None]], 1), atol=1e-5, rtol=0)


def test_only_the_part_inside_the_image_counts():
    maps, row, source = (ramp(1),), torch.zeros(2, dtype=torch.long), torch.zeros(2, dtype=torch.long)
    boxes = torch.tensor([[-3.0, 0.25, 0.5, 0.75], [1.5, 1.5, 2.0, 2.0]])  # the second is outside
    found = RoiFeatures(0)(maps, boxes, row, source, BOXES_PER_CELL[:1])
    inside = RoiFeatures(0)(maps, torch.tensor([[0.0, 0.25, 0.5, 0.75]]), row[:1], source[:1], BOXES_PER_CELL[:1])
    assert torch.equal(found[:1], inside)
    assert found[0, 0] == pytest.approx(0.25, abs=0.02) and found[1, :2].tolist() == pytest.approx([1 - 1 / 16] * 2)


def test_the_maps_of_a_pass_in_half_precision_give_single_precision():
    features = RoiFeatures(0)((ramp(1).bfloat16(),), torch.rand(0, 4), *torch.zeros(2, 0, dtype=torch.long), (2,))
    assert features.shape == (0, 3) and features.dtype == torch.float32


def test_points_are_the_cell_of_the_source_on_its_own_map():
    maps = (torch.randn(2, 4, 3, 3), torch.randn(2, 4, 2, 2))
    places = [(0, i, j) for i in range(3) for j in range(3) for _ in range(2)]
    places += [(1, i, j) for i in range(2) for j in range(2) for _ in range(3)]
    sources = torch.arange(len(places)).repeat(2)
    row = torch.tensor([0, 1]).repeat_interleave(len(places))
    found = PointFeatures()(maps, torch.zeros(len(row), 4), row, sources, BOXES_PER_CELL)
    for number, (image, source) in enumerate(zip(row.tolist(), sources.tolist(), strict=True)):
        level, i, j = places[source]
        assert torch.equal(found[number], maps[level][image, :, i, j])
    nothing = torch.zeros(0, dtype=torch.long)
    assert PointFeatures()(maps, torch.zeros(0, 4), nothing, nothing, BOXES_PER_CELL).shape == (0, 4)


def test_maps_that_cannot_be_read_are_refused():
    PointFeatures().check([8, 8])
    RoiFeatures(1).check([512, 1024])
    with pytest.raises(ConfigError, match=r"features of points need maps of one width .* got \[512, 1024\]"):
        PointFeatures().check([512, 1024])
    with pytest.raises(ConfigError, match=r"features\.level must be < 2, the number of maps, got 2"):
        RoiFeatures(2).check([512, 1024])
    for arguments in ((-1, 1), (0, 0)):
        with pytest.raises(ConfigError, match=r"features\.level must be >= 0 and output_size >= 1"):
            RoiFeatures(*arguments)
