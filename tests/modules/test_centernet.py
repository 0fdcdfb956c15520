"""CenterNet: losses and detections beside loops, what acquisitions ask for, flip test, ensembles, scenes by heart."""

from functools import partial
from pathlib import Path

import pytest
import torch
from command import alpl
from configs import checked
from hydra.utils import instantiate
from padded_scenes import NUM_CLASSES, batch_of, images_of, objects_of
from test_detection_runs import scramble
from test_loss_prediction_runs import column

from alpl.boxes.centers import center_targets
from alpl.boxes.objects import Objects
from alpl.data.digit_scenes import DigitScenes
from alpl.errors import ConfigError
from alpl.metrics.voc_ap import VOCAveragePrecision
from alpl.modules.centernet import CenterNetDetector
from alpl.modules.detection_features import PointFeatures, RoiFeatures
from alpl.modules.detector import Suppression
from alpl.networks.centernet import CenterNet, TinyTrunk
from alpl.networks.loss_prediction import LossPrediction
from alpl.pool import Pool
from alpl.predictions import Form, Need

KEEP = Suppression(score_thresh=0.1, nms_thresh=None, pre_nms_top_k=30, max_detections=20)
TEST = Suppression(score_thresh=0.1, nms_thresh=None, pre_nms_top_k=30, max_detections=20)  # equal, and another
SHAPES = [(150, 210), (300, 100), (96, 96), (90, 200)]
CHANNELS = {"upsampled": (10, 8, 6, 4), "trunk": (5, 6, 8, 10)}


def made(seed=0, level=3, dropout=0.0, **options):
    torch.manual_seed(seed)
    trunk = TinyTrunk((4, 5, 6, 8, 10))
    network = partial(CenterNet, trunk, widths=(8, 6, 4), head_width=6, dropout=dropout)
    settings = {"evaluation": TEST, "acquisition": KEEP, "metric": VOCAveragePrecision, "num_passes": 3}
    settings |= {"optimizer": partial(torch.optim.SGD, lr=0.1), "features": RoiFeatures(level)}
    module = CenterNetDetector(network, NUM_CLASSES, **settings | options).eval()
    module.log = lambda *arguments, **options: None
    with torch.no_grad():  # heats, sizes and offsets that differ from cell to cell
        images = batch_of(images_of()).images
        for layer in module.modules():
            if isinstance(layer, torch.nn.BatchNorm2d):
                layer.momentum = 1.0
        module.network.train()(images)  # else the maps are the same everywhere but at the borders
        last = module.eval()._maps(images)[1]
        heads = (module.network.heat, 4.0, 0.0), (module.network.sizes, 8.0, 6.0), (module.network.offsets, 0.5, 0.5)
        for head, spread, bias in heads:
            for layer in (head[0], head[-1]):
                torch.nn.init.normal_(layer.weight)
                layer.bias.zero_()
            told = head(last)
            scale = spread / (told - told.mean()).abs().max()
            head[-1].weight.mul_(scale)
            head[-1].bias.fill_(bias - float(told.mean() * scale))
    return module


def output_of(module, images):
    return module.network(images)


# --- detections


def reference(heat, sizes, offsets, suppression, limit):
    """Peaks of one image, one by one: (score, label, cell, box), the best first."""
    found, (_, high, wide) = [], heat.shape
    heat, sizes, offsets = heat.tolist(), sizes.clamp(min=0).tolist(), offsets.tolist()
    for label, of_class in enumerate(heat):
        for i in range(high):
            for j in range(wide):
                score = of_class[i][j]
                around = [row[max(0, j - 1) : j + 2] for row in of_class[max(0, i - 1) : i + 2]]
                if score == max(map(max, around)) and score > suppression.score_thresh:
                    x, y, w, h = j + offsets[0][i][j], i + offsets[1][i][j], sizes[0][i][j], sizes[1][i][j]
                    box = [4 * (x - w / 2), 4 * (y - h / 2), 4 * (x + w / 2), 4 * (y + h / 2)]
                    box = [min(max(side, 0.0), top) for side, top in zip(box, limit[::-1] * 2, strict=True)]
                    found.append((score, label, i * wide + j, box))
    return sorted(found, key=lambda each: (-each[0], each[2], each[1]))[: suppression.max_detections]


@torch.no_grad()
def test_detections_are_the_peaks_of_a_loop():
    module, batch = made(), batch_of(images_of())
    found = module.detect(batch, KEEP, Need.POSTERIOR | Need.BOXES)
    output = output_of(module, batch.images)
    heat = output.heat.sigmoid()
    assert found.posterior.form is Form.SIGMOID and found.row.unique().tolist() == [0, 1, 2, 3]
    for row in range(4):
        limit = batch.shapes[row].tolist()
        expected = reference(heat[row], output.sizes[row], output.offsets[row], KEEP, [float(side) for side in limit])
        chosen = found.row == row
        assert len(expected) == int(chosen.sum()) > 10
        assert found.labels[chosen].tolist() == [label for _, label, _, _ in expected]
        torch.testing.assert_close(found.scores[chosen], torch.tensor([score for score, *_ in expected]))
        cells = [cell for _, _, cell, _ in expected]
        torch.testing.assert_close(found.posterior.probs[chosen], heat[row].flatten(1)[:, cells].T)
        scale = batch.sizes[row].flip(0).repeat(2) / batch.shapes[row].flip(0).repeat(2)
        boxes = torch.tensor([box for *_, box in expected]) * scale
        torch.testing.assert_close(found.boxes[chosen], boxes, atol=1e-2, rtol=1e-4)


@torch.no_grad()
def test_the_network_that_says_its_targets_finds_the_objects(monkeypatch):
    module = made()
    images = torch.zeros(2, 3, 96, 96)
    objects = [objects_of(3, 0, 96, 96, most=20), objects_of(4, 1, 96, 96, most=20)]
    aims = center_targets(objects, NUM_CLASSES, (24, 24), 4, "as_written")
    sizes, offsets = torch.zeros(2, 2, 24 * 24), torch.zeros(2, 2, 24 * 24)
    sizes[aims.row, :, aims.cells], offsets[aims.row, :, aims.cells] = aims.sizes, aims.offsets
    said = (torch.logit(aims.heat, 1e-4), sizes.view(2, 2, 24, 24), offsets.view(2, 2, 24, 24))
    for name, value in zip(("heat", "sizes", "offsets"), said, strict=True):
        monkeypatch.setattr(getattr(module.network, name), "forward", lambda _, value=value: value)
    batch = batch_of([(each * 0).to(torch.uint8) for each in images], resize=lambda image: image.float())
    found = module.detect(batch, Suppression(0.5, None, 100, 100), Need.BOXES)
    expected = sorted((n, *o.boxes[i].tolist()) for n, o in enumerate(objects) for i in range(len(o)))
    told = sorted((int(n), *box.tolist()) for n, box in zip(found.row, found.boxes, strict=True))
    torch.testing.assert_close(torch.tensor(told), torch.tensor(expected), atol=1e-3, rtol=0)


@torch.no_grad()
def test_no_detection_is_legal():
    module = made(dropout=0.2)
    found = module.detect(batch_of(images_of()), Suppression(1.0, None), module.provides & ~Need.FLIP)
    assert len(found.row) == 0 and found.boxes.shape == (0, 4) and found.posterior.probs.shape == (0, NUM_CLASSES)
    assert found.views.probs.shape == (3, 0, NUM_CLASSES) and found.features.shape == (0, 4)
    assert found.image_features.shape == (4, 4)


# --- what acquisitions ask for


@pytest.mark.parametrize("maps", CHANNELS)
@pytest.mark.parametrize("level", [0, 3])
@torch.no_grad()
def test_features_are_averages_of_one_map_over_the_box_and_over_the_image(maps, level, monkeypatch):
    module, batch = made(level=level, feature_maps=maps), batch_of(images_of())
    found = module.detect(batch, KEEP, Need.BOXES | Need.FEATURES | Need.IMAGE_FEATURES)
    stages = module.network.stages(batch.images)
    map_ = (stages if maps == "trunk" else module.network.upsampled(stages[-1]))[level]
    assert found.features.shape[1] == found.image_features.shape[1] == CHANNELS[maps][level]
    stride = batch.images.shape[3] // map_.shape[3]
    for row in range(4):
        high, wide = (-(-int(side) // stride) for side in batch.shapes[row])
        torch.testing.assert_close(found.image_features[row], map_[row, :, :high, :wide].mean((1, 2)))
    # a map that says where its cells are: the average is the middle of the box
    y, x = torch.meshgrid(*((torch.arange(n) + 0.5) * stride for n in map_.shape[2:]), indexing="ij")
    places = torch.stack([x, y]).expand(4, 2, *x.shape)
    monkeypatch.setattr(module, "_maps", lambda _, maps=module._maps: ([places] * 4, maps(batch.images)[1]))
    again = module.detect(batch, KEEP, Need.FEATURES)
    ratios = (batch.shapes / batch.sizes)[again.row][:, [1, 0, 1, 0]]
    boxes = found.boxes * ratios
    inner = (
        (boxes[:, :2] > stride / 2) & (boxes[:, 2:] < torch.tensor([x.max(), y.max()])) & (boxes[:, 2:] > boxes[:, :2])
    ).all(1)
    assert inner.any()
    torch.testing.assert_close(again.features[inner], ((boxes[:, :2] + boxes[:, 2:]) / 2)[inner], atol=1e-2, rtol=0)


@torch.no_grad()
def test_the_trunk_can_speak_for_the_image():
    batch = batch_of(images_of())
    for maps in CHANNELS:
        module = made(image_features="trunk", feature_maps=maps)
        found = module.detect(batch, KEEP, Need.IMAGE_FEATURES).image_features
        c5 = module.network.stages(batch.images)[-1]
        inside = [
            c5[row, :, : -(-h // 32), : -(-w // 32)].mean((1, 2)) for row, (h, w) in enumerate(batch.shapes.tolist())
        ]
        torch.testing.assert_close(found, torch.stack(inside))


@torch.no_grad()
def test_views_are_passes_with_dropout_in_the_head_of_the_heat_alone():
    module, batch = made(dropout=0.5), batch_of(images_of())
    torch.manual_seed(3)
    found = module.predict_batch(batch, Need.POSTERIOR | Need.VIEWS)
    assert found.views.probs.shape == (3, len(found.row), NUM_CLASSES)
    assert not torch.equal(found.views.probs[0], found.views.probs[1])
    assert not any(layer.training for layer in module.modules())
    assert torch.equal(found.posterior.probs, module.predict_batch(batch, Need.POSTERIOR).posterior.probs)
    assert Need.VIEWS not in made().provides and Need.VIEWS in module.provides


@torch.no_grad()
def test_the_flip_view_is_the_mirrored_cell_of_the_mirrored_input():
    module, batch = made(), batch_of(images_of())
    found = module.predict_batch(batch, Need.POSTERIOR | Need.FLIP)
    output = output_of(module, batch.images)
    mirrored = output_of(module, batch.images.flip(-1)).heat.sigmoid()
    assert torch.equal(found.views.probs[0], found.posterior.probs)
    heat, width = output.heat.sigmoid(), output.heat.shape[3]
    alone = 0
    for row, label, score, probs in zip(found.row, found.labels, found.scores, found.views.probs[1], strict=True):
        places = (heat[row, label] == score).nonzero().tolist()  # in the padding cells are alike
        alone += len(places) == 1
        assert any(torch.allclose(probs, mirrored[row, :, i, width - 1 - j]) for i, j in places)
    assert alone > 40


@torch.no_grad()
def test_the_flip_test_is_of_the_mean_heat_and_size_and_of_the_test_alone():
    plain, flipping, batch = made(), made(flip_test=True), batch_of(images_of())
    ours, other = output_of(plain, batch.images), output_of(plain, batch.images.flip(-1))
    heat = (ours.heat.sigmoid() + other.heat.sigmoid().flip(-1)) / 2
    sizes = (ours.sizes + other.sizes.flip(-1)) / 2
    found = flipping.detect(batch, flipping.evaluation, Need.BOXES)
    expected = reference(heat[2], sizes[2], ours.offsets[2], TEST, batch.shapes[2].float().tolist())
    chosen = found.row == 2
    torch.testing.assert_close(found.scores[chosen], torch.tensor([score for score, *_ in expected]))
    scale = 96 / float(batch.shapes[2, 0])
    torch.testing.assert_close(
        found.boxes[chosen], torch.tensor([box for *_, box in expected]) * scale, atol=1e-2, rtol=1e-4
    )
    unflipped = plain.detect(batch, KEEP, Need.BOXES)
    assert torch.equal(flipping.detect(batch, KEEP, Need.BOXES).boxes, unflipped.boxes)
    assert not torch.equal(unflipped.scores, found.scores)


@torch.no_grad()
def test_an_ensemble_is_the_mean_of_its_members():
    members, batch = [made(0), made(1)], batch_of(images_of())
    together = CenterNetDetector.ensemble(members)
    found = together.detect(batch, KEEP, Need.POSTERIOR | Need.BOXES | Need.VIEWS | Need.IMAGE_FEATURES)
    outputs = [output_of(member, batch.images) for member in members]
    heat, sizes, offsets = (sum(parts) / 2 for parts in zip(*outputs, strict=True))
    heat = sum(output.heat.sigmoid() for output in outputs) / 2
    expected = reference(heat[1], sizes[1], offsets[1], KEEP, batch.shapes[1].float().tolist())
    torch.testing.assert_close(found.scores[found.row == 1], torch.tensor([score for score, *_ in expected]))
    torch.testing.assert_close(found.views.probs.mean(0), found.posterior.probs)
    assert torch.equal(found.image_features, members[0].detect(batch, KEEP, Need.IMAGE_FEATURES).image_features)
    alone = CenterNetDetector.ensemble(members[:1]).detect(batch, KEEP, Need.BOXES)
    assert torch.equal(alone.boxes, members[0].detect(batch, KEEP, Need.BOXES).boxes)


# --- training


@torch.no_grad()
def test_losses_positives_and_maps_are_those_of_a_loop():
    module = made(loss_prediction=LossPrediction)
    module.wants_positives = True
    images, sizes = torch.randn(3, 3, 96, 96), torch.full((3, 2), 96)
    objects = [objects_of(3, 0, 96, 96), Objects.none(), objects_of(4, 1, 96, 96)]
    losses = module.losses_of(images, sizes, objects)
    output = output_of(module, images)
    told, size_sum, offset_sum = [], 0.0, 0.0
    for row, each in enumerate(objects):
        for box, label in zip(each.boxes.tolist(), each.labels.tolist(), strict=True):
            x, y, w, h = ((box[0] + box[2]) / 8, (box[1] + box[3]) / 8, (box[2] - box[0]) / 4, (box[3] - box[1]) / 4)
            i, j = int(y), int(x)
            said, off = output.sizes[row, :, i, j], output.offsets[row, :, i, j]
            size_sum += float((said - torch.tensor([w, h])).abs().sum())
            offset_sum += float((off - torch.tensor([x - j, y - i])).abs().sum())
            told.append((row, label, float(output.heat[row, label, i, j].sigmoid())))
    assert float(losses.parts["sizes"]) == pytest.approx(0.1 * size_sum / 14.0001, rel=1e-4)
    assert float(losses.parts["offsets"]) == pytest.approx(offset_sum / 14.0001, rel=1e-4)
    found = zip(*(part.tolist() for part in losses.positives[:3]), strict=True)
    assert [pytest.approx(one) for one in found] == told and float(losses.positives.ious.max()) > 0
    assert [each.shape[1] for each in losses.maps] == [10, 8, 6, 4] and losses.per_image.shape == (3,)


def test_every_parameter_gets_a_gradient_with_and_without_objects():
    for objects in ([objects_of(2, 0, 96, 96), Objects.none()], [Objects.none()] * 2):
        module = made()
        module.losses_of(torch.randn(2, 3, 96, 96), torch.full((2, 2), 96), objects).step(
            torch.ones(2, dtype=torch.bool)
        )["loss"].backward()
        assert all(each.grad is not None for each in module.parameters())


def test_what_does_not_fit_is_refused():
    for options, message in (
        ({"features": PointFeatures()}, "model.features must be RoiFeatures"),
        ({"features": RoiFeatures(4)}, "features.level must be < 4"),
        ({"feature_maps": "fpn"}, "model.feature_maps must be upsampled or trunk, got 'fpn'"),
        ({"image_features": "all"}, "model.image_features must be level or trunk"),
        ({"targets": "as_told"}, "model.targets must be as_written or as_released"),
        ({"size_weight": 0.0}, "model.size_weight must be > 0"),
    ):
        with pytest.raises(ConfigError, match=message):
            made(**options)


# --- learning and whole runs


@pytest.mark.slow
def test_twenty_scenes_are_learned_by_heart():
    splits = DigitScenes(num_train=20, num_test=1, size=64, most_digits=3).load()
    torch.manual_seed(0)
    config = checked("data=digit_scenes", "model=centernet_tiny").model
    module = instantiate(config, _convert_="all", num_classes=10, scheduler=None).train()
    module.log = lambda *arguments, **options: None
    (optimizer,), _ = module.configure_optimizers()
    images, objects = [splits.train[n] for n in range(20)], [splits.train_objects[n] for n in range(20)]
    batch = batch_of(images, None, objects, resize=lambda image: image / 127.5 - 1)
    for step in range(70):
        loss = module.training_step(batch, step)["loss"]
        optimizer.zero_grad(), loss.backward()
        torch.nn.utils.clip_grad_norm_(module.parameters(), 10.0)
        optimizer.step()
    with torch.no_grad():
        module.eval().test_step(batch, 0)
    assert module.test_results()["test/map"] > 0.95


SMOKE = ["scale=smoke_centernet", "trainer.max_epochs=1", "schedule.cycles=1"]


@pytest.mark.slow
def test_it_asks_for_the_largest_losses_and_no_label_leaks(tmp_path: Path, monkeypatch) -> None:
    true = alpl(tmp_path / "true", *SMOKE, "method=llal").run_folder()
    utility = column(true / "cycle_00" / "query.csv", "utility")
    assert utility == sorted(utility, reverse=True) and len(set(utility)) > 3
    assert all(loss > 0 for loss in column(true / "cycle_00" / "epochs.csv", "train/ranking_loss"))
    scramble(monkeypatch, Pool.load(true / "cycle_01" / "pool.csv").labeled)
    wrong = alpl(tmp_path / "wrong", *SMOKE, "method=llal").run_folder()
    for name in ("cycle_00/query.csv", "cycle_00/model.pt", "cycle_01/model.pt"):
        assert (true / name).read_bytes() == (wrong / name).read_bytes(), name
