"""Features of boxes between the cells of a map, against cells read one by one, and as PPAL's released code has them."""

from functools import partial

import pytest
import torch
from padded_scenes import NUM_CLASSES, batch_of, images_of
from torchvision.ops import roi_align

from alpl.errors import ConfigError
from alpl.metrics.voc_ap import VOCAveragePrecision
from alpl.modules.box_features import box_centers, sampled
from alpl.modules.dense_output import cells_of_sources, find
from alpl.modules.detector import Suppression
from alpl.modules.fcos import FcosDetector
from alpl.modules.retinanet import RetinaNetDetector
from alpl.networks.fpn import TinyFpn
from alpl.networks.towers import Towers
from alpl.predictions import Need

BEST = Suppression(score_thresh=0.0, nms_thresh=0.5, pre_nms_top_k=12, max_detections=None)  # some of each map
RETINANET = {"anchor_sizes": [[12], [20], [34], [56]], "aspect_ratios": [1.0], "towers": Towers(num_convs=1)}
FCOS = {"strides": [4, 8, 16, 32], "towers": Towers(num_convs=1, norm_groups=8)}


def made(kind, **options):
    torch.manual_seed(0)
    backbone = partial(TinyFpn, width=8, widths=(4, 8, 8, 8, 8))
    settings = {"metric": VOCAveragePrecision, "evaluation": BEST, "acquisition": BEST}
    settings |= RETINANET if kind is RetinaNetDetector else FCOS
    return kind(backbone, NUM_CLASSES, optimizer=partial(torch.optim.SGD, lr=0.1), **settings, **options).eval()


def batch_with(size, shapes):
    """A batch of black images of one padded size, height and width of each within it."""
    batch = batch_of(images_of()[: len(shapes)])
    return batch._replace(images=torch.zeros(len(shapes), 3, *size), shapes=torch.tensor(shapes))


def slow(map_, x, y):
    """Bilinear by hand: the four cells around a point in cells, whose centers are at .5; those outside are 0."""
    columns, rows = x * map_.shape[2] - 0.5, y * map_.shape[1] - 0.5
    found = torch.zeros(map_.shape[0])
    for row in (int(rows // 1), int(rows // 1) + 1):
        for column in (int(columns // 1), int(columns // 1) + 1):
            if 0 <= row < map_.shape[1] and 0 <= column < map_.shape[2]:
                found += (1 - abs(rows - row)) * (1 - abs(columns - column)) * map_[:, row, column]
    return found


def test_a_map_of_its_own_coordinates_tells_where_it_was_read() -> None:
    columns, rows = torch.meshgrid(torch.arange(8.0), torch.arange(6.0), indexing="xy")
    map_ = torch.stack([columns, rows]).expand(2, 2, 6, 8)
    batch = batch_with((48, 64), [[48, 64], [40, 64]])
    boxes = torch.tensor([[8.0, 8, 24, 16], [30, 20, 34, 28], [16, 16, 16, 32]])
    centers = box_centers(boxes, torch.tensor([0, 1, 1]), batch, exchanged=False)
    expected = torch.tensor([[16.0, 12], [32, 24], [16, 24]]) / 8 - 0.5  # cells of 8 pixels, their middle is theirs
    torch.testing.assert_close(sampled(map_, torch.tensor([0, 1, 1]), centers), expected)


def test_points_equal_the_four_cells_around_them() -> None:
    draw = torch.Generator().manual_seed(0)
    map_, row = torch.randn(3, 5, 4, 7, generator=draw), torch.randint(0, 3, (40,), generator=draw)
    centers = torch.rand(40, 2, generator=draw) * 1.4 - 0.2
    expected = torch.stack([slow(map_[i], *point) for i, point in zip(row.tolist(), centers.tolist(), strict=True)])
    torch.testing.assert_close(sampled(map_, row, centers), expected, rtol=1e-4, atol=1e-5)
    assert sampled(map_, row[:0], centers[:0]).shape == (0, 5)


def test_height_and_width_are_exchanged_as_released() -> None:
    square, wide = batch_with((64, 64), [[64, 64]]), batch_with((608, 1024), [[600, 1000]])
    boxes, row = torch.tensor([[10.0, 20, 30, 28]]), torch.tensor([0])
    both = [box_centers(boxes, row, square, exchanged=exchanged) for exchanged in (False, True)]
    assert torch.equal(*both)
    far = torch.tensor([[780.0, 290, 820, 310], [280, 290, 320, 310]])  # centers at x = 800 and 300, y = 300
    centers = box_centers(far, torch.tensor([0, 0]), wide, exchanged=True)
    torch.testing.assert_close(centers, torch.tensor([[800 / 600, 0.3], [0.5, 0.3]]))  # without the padding
    features = sampled(torch.ones(1, 4, 19, 32), torch.tensor([0, 0]), centers)
    assert not features[0].any() and torch.equal(features[1], torch.ones(4))


@pytest.mark.parametrize("kind", [RetinaNetDetector, FcosDetector])
@pytest.mark.parametrize("source", ["pyramid", "class_tower"])
@torch.no_grad()
def test_a_detection_has_the_feature_at_its_center(kind, source) -> None:
    """On the map that it comes from, whatever lies beside it in the batch."""
    module, batch = made(kind, feature_sample="center", feature_source=source), batch_of(images_of())
    maps = list(module.network.backbone(batch.images).values())
    shown = maps if source == "pyramid" else [module.network.head.class_tower(map_) for map_ in maps]
    output = module.output_of(module.network.backbone(batch.images), batch.images)
    found = find([output], module.decode, batch, BEST)
    level, _ = cells_of_sources(output, found.detections.sources)
    height, width = batch.images.shape[-2:]
    middle = (found.input_boxes[:, :2] + found.input_boxes[:, 2:]) / 2 / torch.tensor([width, height])
    features = module.detect(batch, BEST, Need.FEATURES).features
    assert len(features) > 50 and len(level.unique()) > 1
    for place in range(0, len(features), 7):
        expected = slow(shown[level[place]][found.detections.row[place]], *middle[place].tolist())
        torch.testing.assert_close(features[place], expected, rtol=1e-3, atol=1e-4)
    exchanged = made(kind, feature_sample="as_released", feature_source=source).detect(batch, BEST, Need.FEATURES)
    assert not torch.allclose(exchanged.features, features)  # the images are not square


@pytest.mark.parametrize("kind", [RetinaNetDetector, FcosDetector])
@pytest.mark.parametrize(("source", "level"), [("pyramid", None), ("class_tower", 1)])
@torch.no_grad()
def test_a_detection_has_the_average_over_its_box_and_the_image_that_of_the_same_map(kind, source, level) -> None:
    options = {"feature_level": level, "feature_source": source, "feature_sample": "box"}
    module, batch = made(kind, **options), batch_of(images_of())
    maps = list(module.network.backbone(batch.images).values())
    shown = maps if source == "pyramid" else [module.network.head.class_tower(map_) for map_ in maps]
    output = module.output_of(module.network.backbone(batch.images), batch.images)
    found = find([output], module.decode, batch, BEST)
    own, _ = cells_of_sources(output, found.detections.sources)
    row, features = found.detections.row, module.detect(batch, BEST, Need.FEATURES).features
    assert len(features) > 50 and len(own.unique()) > 1
    boxes = found.input_boxes
    for place in ((boxes[:, 2:] - boxes[:, :2]).amin(1) > 1).nonzero().flatten()[::7].tolist():  # others: nearest cell
        map_ = shown[own[place] if level is None else level]
        scale = map_.shape[3] / batch.images.shape[3]
        region = torch.cat([torch.zeros(1), boxes[place]])[None]
        expected = roi_align(map_[row[place], None], region, 1, spatial_scale=scale, aligned=True)[0, :, 0, 0]
        torch.testing.assert_close(features[place], expected, rtol=1e-3, atol=1e-4)
    if level is None:
        return
    given = made(kind, **options, image_feature_source="level").detect(batch, BEST, Need.IMAGE_FEATURES).image_features
    stride = batch.images.shape[3] // shown[level].shape[3]
    for image, (high, wide) in enumerate(batch.shapes.tolist()):
        content = shown[level][image, :, : -(-high // stride), : -(-wide // stride)]
        torch.testing.assert_close(given[image], content.mean((1, 2)))


def test_where_a_feature_is_read_is_checked() -> None:
    with pytest.raises(ConfigError, match="feature_sample must be one of cell, center, box, as_released, got 'middle'"):
        made(RetinaNetDetector, feature_sample="middle")
