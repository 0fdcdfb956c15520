"""RetinaNet and FCOS beside torchvision's own; what all dense detectors give: sources, posteriors, views, features."""

import json
from functools import partial
from pathlib import Path

import pytest
import torch
from command import alpl
from padded_scenes import NUM_CLASSES, batch_of, freeze_norm, images_of, objects_of
from torchvision.models.detection import FCOS, RetinaNet

from alpl.boxes.objects import Objects
from alpl.errors import ConfigError
from alpl.metrics.voc_ap import VOCAveragePrecision
from alpl.modules import dense_output
from alpl.modules.atss import AbstractAtssDetector, AtssDetector
from alpl.modules.ddod import DdodDetector
from alpl.modules.detector import Suppression
from alpl.modules.fcos import FcosDetector
from alpl.modules.retinanet import RetinaNetDetector
from alpl.networks.fpn import TinyFpn
from alpl.networks.towers import Towers
from alpl.predictions import Form, Need

KEEP = Suppression(score_thresh=0.05, nms_thresh=0.5, pre_nms_top_k=1000, max_detections=40)
BACKBONE = partial(TinyFpn, width=32, widths=(4, 8, 8, 8, 12))
ANCHORS = {"anchor_sizes": [[12, 16], [20, 28], [34, 46], [56, 76]], "aspect_ratios": [0.5, 1.0, 2.0]}
TOWERS = {"num_convs", "norm_groups", "init_std", "dropout", "focal_alpha", "focal_gamma"}
STRIDES = {"strides": [4, 8, 16, 32]}
SIZES = {"anchor_sizes": [16, 32, 64, 128]}


def retinanet(seed=0, **options):
    return _made(partial(RetinaNetDetector, BACKBONE, NUM_CLASSES), ANCHORS | options, seed)


def fcos(seed=0, **options):
    return _made(partial(FcosDetector, BACKBONE, NUM_CLASSES), STRIDES | options, seed)


def atss(seed=0, **options):
    return _made(partial(AtssDetector, BACKBONE, NUM_CLASSES), SIZES | options, seed)


def ddod(seed=0, **options):
    return _made(partial(DdodDetector, BACKBONE, NUM_CLASSES), SIZES | options, seed)


def _made(make, options, seed):
    torch.manual_seed(seed)
    ours = {name: options.pop(name) for name in TOWERS & options.keys()}
    if make.func is FcosDetector:
        ours = {"norm_groups": 32} | ours
    if issubclass(make.func, AbstractAtssDetector):
        ours = {"norm_groups": 32, "num_convs": 1} | ours
    make = partial(make, towers=Towers(**ours))
    settings = {"evaluation": KEEP, "acquisition": KEEP, "metric": VOCAveragePrecision, "num_passes": 3}
    module = make(**settings | options, optimizer=partial(torch.optim.SGD, lr=0.1)).eval()
    spread_out(module)
    return module


@torch.no_grad()
def spread_out(module):
    """Let scores and boxes differ as those of a trained network do, so that much is found and much suppressed."""
    head, batch = module.network.head, batch_of(images_of())
    layers = [(head.classification_head.cls_logits, 7.0, -2.0), (head.regression_head.bbox_reg, 2.0, 0.0)]
    if isinstance(module, FcosDetector):
        layers[1] = (head.regression_head.bbox_reg, 3.0, 2.0)
        layers.append((head.regression_head.bbox_ctrness, 4.0, 0.0))
    if isinstance(module, AbstractAtssDetector):
        layers.append((head.regression_head.confidence, 4.0, 0.0))
    for layer, spread, bias in layers:
        seen = []
        handle = layer.register_forward_hook(lambda _, __, out, seen=seen: seen.append(out.flatten()))
        layer.bias.zero_()
        head(list(module.network.backbone(batch.images).values()))
        handle.remove()
        layer.weight.mul_(spread / torch.cat(seen).abs().max())  # short of scores that round to 1
        layer.bias.fill_(bias)


BOTH = pytest.mark.parametrize("make", [retinanet, fcos])
SLOW = (pytest.param(each, marks=pytest.mark.slow) for each in (ddod, atss))
ALL = pytest.mark.parametrize("make", [retinanet, fcos, *SLOW])


def score_of(module, probs, confidence):
    """Of logits of the confidence, None where there is none."""
    if confidence is None:
        return probs
    product = probs * confidence.sigmoid()
    return product if isinstance(module, AbstractAtssDetector) else product.sqrt()


def theirs(module, suppression, **limits):
    """torchvision's detector with the same weights, images of 0 to 1 in, boxes in their pixels out."""
    ours = module.network
    options = {
        "min_size": 120,
        "max_size": 200,
        "score_thresh": suppression.score_thresh,
        "nms_thresh": suppression.nms_thresh,
        "detections_per_img": suppression.max_detections,
        "topk_candidates": suppression.pre_nms_top_k,
        "anchor_generator": ours.anchor_generator,
    } | limits
    kind = RetinaNet if isinstance(module, RetinaNetDetector) else FCOS
    made = kind(BACKBONE(), NUM_CLASSES, **options)
    made.load_state_dict(ours.state_dict())
    return made.eval()


# --- equal to torchvision


@pytest.mark.sample(2)
@BOTH
@pytest.mark.parametrize("limits", [{}, {"pre_nms_top_k": 150, "score_thresh": 0.3, "nms_thresh": 0.3}])
@torch.no_grad()
def test_detections_are_those_of_torchvision(make, limits):
    module, images = make(), images_of()
    suppression = Suppression(
        **({"score_thresh": 0.05, "nms_thresh": 0.5, "pre_nms_top_k": 1000, "max_detections": 300} | limits)
    )
    found = module.detect(batch_of(images), suppression, Need.BOXES)
    expected = theirs(module, suppression)([image / 255 for image in images])
    counts = [len(each["scores"]) for each in expected]
    assert min(counts) > 20 and len(found.row) == sum(counts)
    for row, each in enumerate(expected):
        chosen = found.row == row
        ours = _in_order(found.scores[chosen], found.labels[chosen], found.boxes[chosen])
        torch.testing.assert_close(ours, _in_order(each["scores"], each["labels"], each["boxes"]), rtol=1e-5, atol=1e-3)
        torch.testing.assert_close(ours[:, 0], _in_order(each["scores"])[:, 0], rtol=1e-6, atol=0)


def _in_order(*parts):
    """Rows by score, label and box: torchvision's order of equal scores is left to its sort."""
    rows = torch.cat([part.view(len(part), -1).double() for part in parts], 1)
    return torch.tensor(sorted(rows.tolist(), key=lambda row: [-row[0], *(round(value, 1) for value in row[1:])]))


@BOTH
def test_losses_are_those_of_torchvision(make):
    module = make()
    module.log = lambda *arguments, **options: None
    reference = theirs(module, KEEP, min_size=120, max_size=120, image_mean=[0.0] * 3, image_std=[1.0] * 3)
    images = [image[:, :96, :96].float() / 255 for image in images_of([(120, 120)] * 4)]
    objects = [objects_of(number, seed=number, width=90, height=90) for number in (3, 1, 0, 9)]
    reference.transform.min_size = (96,)
    reference.train(), module.train()
    freeze_norm(module.network, reference)
    expected = reference(images, [{"boxes": each.boxes, "labels": each.labels} for each in objects])
    batch = batch_of(images, objects=objects, resize=lambda image: image)
    loss = module.training_step(batch, 0)["loss"]
    torch.testing.assert_close(loss, sum(expected.values()))
    for name, ours in module.loss_names.items():
        assert expected[name].item() > 0
        torch.testing.assert_close(module.means[ours].compute(), expected[name].detach())
    loss.backward(), sum(expected.values()).backward()
    for (name, own), other in zip(module.network.named_parameters(), reference.parameters(), strict=True):
        torch.testing.assert_close(own.grad, other.grad, rtol=1e-3, atol=1e-5, msg=name)


@ALL
def test_only_images_with_targets_are_trained_on(make):
    module = make()
    module.log = lambda *arguments, **options: None
    images, objects = images_of(), [objects_of(2, 0), objects_of(0, 1)]
    batch = batch_of(images, [False, True, False, False], objects, torch.tensor([False, False, False, True]))
    chosen = [1, 3]
    alone = batch._replace(
        images=batch.images[chosen], shapes=batch.shapes[chosen], labeled=torch.tensor([True, True]), pseudo=None
    )
    losses = [module.training_step(each, 0)["loss"] for each in (batch, alone)]
    assert torch.equal(*losses) and losses[0] > 0
    nothing = batch_of(images, [False] * 4)
    loss = module.training_step(nothing, 0)["loss"]
    loss.backward()
    assert loss == 0 and all(p.grad is not None and not p.grad.any() for p in module.parameters())


@ALL
def test_images_without_objects_alone_have_a_loss_of_the_background(make):
    module = make()
    module.log = lambda *arguments, **options: None
    loss = module.training_step(batch_of(images_of()[:2], objects=[Objects.none()] * 2), 0)["loss"]
    loss.backward()
    assert loss > 0 and all(bool(p.grad.isfinite().all()) for p in module.parameters() if p.grad is not None)


@pytest.mark.slow
@ALL
def test_half_precision_gives_finite_losses_and_exact_anchors(make):
    module, batch = make(), batch_of(images_of(), objects=[objects_of(3, n) for n in range(4)])
    module.log = lambda *arguments, **options: None
    with torch.autocast("cpu", torch.bfloat16):
        loss = module.training_step(batch, 0)["loss"]
        output = module.output_of(module.network.backbone(batch.images), batch.images)
    loss.backward()
    assert bool(loss.isfinite()) and all(bool(p.grad.isfinite().all()) for p in module.parameters())
    exact = module.output_of(module.network.backbone(batch.images), batch.images).anchors
    assert output.anchors.dtype == torch.float32 and torch.equal(output.anchors, exact)


# --- what goes beyond


@pytest.mark.parametrize("make", [retinanet, fcos, ddod])
@torch.no_grad()
def test_a_detection_keeps_the_posterior_of_its_source(make):
    module, batch = make(), batch_of(images_of())
    output = module.output_of(module.network.backbone(batch.images), batch.images)
    found = module.predict_batch(batch, Need.POSTERIOR | Need.BOXES)
    kept = dense_output.find([output], module.decode, batch, KEEP)
    assert found.posterior.form is Form.SIGMOID and len(found.row) > 50
    for place, (row, source, label) in enumerate(zip(*kept.detections[:3], strict=True)):
        posterior = output.logits[row, source].sigmoid()
        torch.testing.assert_close(found.posterior.probs[place], posterior)
        expected = score_of(
            module, posterior[label], None if output.confidence is None else output.confidence[row, source, 0]
        )
        torch.testing.assert_close(found.scores[place], expected)
        box = module.decode(output.deltas[row, source][None], output.anchors[source][None])[0]
        height, width = batch.shapes[row].tolist()
        ratio = torch.tensor([batch.sizes[row, 1] / width, batch.sizes[row, 0] / height] * 2)
        limits = torch.tensor([width, height] * 2, dtype=torch.float32)
        torch.testing.assert_close(found.boxes[place], torch.minimum(box.clamp(min=0), limits) * ratio)
    assert found.row.unique().tolist() == [0, 1, 2, 3] and found.features is found.views is None


@pytest.mark.parametrize("make", [ddod])
@torch.no_grad()
def test_the_threshold_is_of_the_probability_and_the_order_of_the_product(make):
    module, batch = make(), batch_of(images_of())
    suppression = Suppression(score_thresh=0.3, nms_thresh=1.0, pre_nms_top_k=10**6, max_detections=None)
    found = module.detect(batch, suppression, Need.POSTERIOR)
    probs = module.output_of(module.network.backbone(batch.images), batch.images).logits.sigmoid()
    assert len(found.row) == int((probs > 0.3).sum()) > 50
    said = found.posterior.probs.gather(1, found.labels[:, None])[:, 0]
    assert float(said.min()) > 0.3 > float(found.scores.min()) > 0
    for row in range(4):
        scores = found.scores[found.row == row]
        assert torch.equal(scores, scores.sort(descending=True).values)


@ALL
@torch.no_grad()
def test_no_detection_is_legal(make):
    module = make(dropout=0.2)
    everything = module.provides
    found = module.detect(batch_of(images_of()), Suppression(score_thresh=1.0), everything & ~Need.FLIP)
    assert len(found.row) == 0 and found.boxes.shape == (0, 4) and found.posterior.probs.shape == (0, NUM_CLASSES)
    assert found.views.probs.shape == (3, 0, NUM_CLASSES) and found.features.shape == (0, 32)
    assert found.image_features.shape == (4, 12)


@ALL
@torch.no_grad()
def test_the_flip_view_is_the_mirrored_anchor_of_the_mirrored_input(make):
    module, batch = make(), batch_of(images_of())
    output = module.output_of(module.network.backbone(batch.images), batch.images)
    width = batch.images.shape[-1]
    partner = dense_output.mirrored_anchors(output, width)
    x1, y1, x2, y2 = output.anchors.unbind(1)
    inside = (x1 + x2) / 2 > 0  # the mirror image of column 0 lies outside
    mirror_image = torch.stack([width - x2, y1, width - x1, y2], 1)
    torch.testing.assert_close(output.anchors[partner][inside], mirror_image[inside])
    edge = output.anchors[partner][~inside]
    assert torch.equal(edge[:, [1, 3]], output.anchors[~inside][:, [1, 3]])  # the same row and shape
    found = module.predict_batch(batch, Need.POSTERIOR | Need.FLIP)
    kept = dense_output.find([output], module.decode, batch, KEEP).detections
    flipped = batch.images.flip(-1)
    mirrored = module.output_of(module.network.backbone(flipped), flipped).logits.sigmoid()
    assert torch.equal(found.views.probs[0], found.posterior.probs)
    torch.testing.assert_close(found.views.probs[1], mirrored[kept.row, partner[kept.sources]])


@torch.no_grad()
def test_the_partner_sees_what_the_anchor_sees():
    module = retinanet()
    for layer in module.network.modules():  # kernels that do not tell left from right
        if isinstance(layer, torch.nn.Conv2d):
            layer.weight.copy_((layer.weight + layer.weight.flip(-1)) / 2)
    image = torch.nn.functional.interpolate(torch.rand(1, 3, 16, 64), scale_factor=8, mode="bilinear")
    plain, mirrored = (list(module.network.backbone.trunk(each).values())[1] for each in (image, image.flip(-1)))
    output = module.output_of(module.network.backbone(image), image)
    (high, wide), start = output.cells[1], output.lengths[0]
    partner = (
        dense_output.mirrored_anchors(output, 512)[start::6][: high * wide] - start
    ) // 6  # the first anchor of each cell
    middle = (torch.arange(high * wide) % wide - wide // 2).abs() < 20  # away from the padding of the convolutions
    reverse = torch.arange(high * wide).view(high, wide).flip(1).flatten()  # the last column less this one
    plain, mirrored = plain[0].flatten(1), mirrored[0].flatten(1)
    error, shifted = ((plain - mirrored[:, each])[:, middle].abs().mean() for each in (partner, reverse))
    assert error < 0.4 * shifted


@ALL
@torch.no_grad()
def test_views_are_passes_with_dropout_in_the_heads_alone(make):
    module, batch = make(dropout=0.5), batch_of(images_of())
    torch.manual_seed(3)
    found = module.predict_batch(batch, Need.POSTERIOR | Need.VIEWS)
    assert found.views.probs.shape == (3, len(found.row), NUM_CLASSES)
    assert not torch.equal(found.views.probs[0], found.views.probs[1])
    assert not any(layer.training for layer in module.modules())
    assert torch.equal(found.posterior.probs, module.predict_batch(batch, Need.POSTERIOR).posterior.probs)
    assert Need.VIEWS not in make().provides and Need.VIEWS in module.provides


@pytest.mark.sample(1)
@ALL
@pytest.mark.parametrize("source", ["pyramid", "class_tower"])
@torch.no_grad()
def test_features_are_those_of_the_cell_of_the_source_or_of_the_box(make, source):
    batch = batch_of(images_of())
    own, second = (make(feature_level=level, feature_source=source) for level in (None, 1))
    maps = list(own.network.backbone(batch.images).values())
    towers = maps if source == "pyramid" else [own.network.head.classification_head.conv(each) for each in maps]
    output = own.output_of(own.network.backbone(batch.images), batch.images)
    kept = dense_output.find([output], own.decode, batch, KEEP)
    per_cell = len(output.anchors) // sum(each.shape[2] * each.shape[3] for each in maps)
    table = [(n, y, x) for n, each in enumerate(maps) for y in range(each.shape[2]) for x in range(each.shape[3])]
    by_source = own.predict_batch(batch, Need.FEATURES).features
    by_center = second.predict_batch(batch, Need.FEATURES).features
    assert by_source.shape == by_center.shape == (len(kept.detections.row), 32)
    for place, (row, chosen) in enumerate(zip(kept.detections.row, kept.detections.sources, strict=True)):
        level, y, x = table[int(chosen) // per_cell]
        assert torch.equal(by_source[place], towers[level][row, :, y, x])
        center_x, center_y = (float(sum(kept.input_boxes[place, axis::2])) / 2 for axis in (0, 1))
        cell = towers[1][
            row, :, min(int(center_y / 8), maps[1].shape[2] - 1), min(int(center_x / 8), maps[1].shape[3] - 1)
        ]
        assert torch.equal(by_center[place], cell)


@ALL
@torch.no_grad()
def test_image_features_are_the_average_of_the_content(make):
    module, batch = make(), batch_of(images_of())
    last = list(module.network.backbone.trunk(batch.images).values())[-1]
    given = module.predict_batch(batch, Need.IMAGE_FEATURES).image_features
    for row, (height, width) in enumerate(batch.shapes.tolist()):
        content = last[row, :, : -(-height // 32), : -(-width // 32)]
        torch.testing.assert_close(given[row], content.mean((1, 2)))
    plain = module.predict_batch(batch._replace(shapes=None), Need.IMAGE_FEATURES).image_features
    torch.testing.assert_close(plain, last.mean((2, 3)))


@ALL
@torch.no_grad()
def test_image_features_of_the_pyramid_are_the_average_of_each_map(make):
    module, batch = make(image_feature_source="pyramid"), batch_of(images_of())
    maps = list(module.network.backbone(batch.images).values())
    given = module.predict_batch(batch, Need.IMAGE_FEATURES).image_features
    assert given.shape == (4, len(maps) * maps[0].shape[1])
    for layer, (map_, of_layer) in enumerate(zip(maps, given.chunk(len(maps), 1), strict=True)):
        stride = batch.images.shape[-1] // map_.shape[-1]
        for row, (height, width) in enumerate(batch.shapes.tolist()):
            content = map_[row, :, : -(-height // stride), : -(-width // stride)]
            torch.testing.assert_close(of_layer[row], content.mean((1, 2)), msg=f"map {layer}, image {row}")
    ensemble = type(module).ensemble([module]).eval().predict_batch(batch, Need.IMAGE_FEATURES)
    torch.testing.assert_close(ensemble.image_features, given)


@pytest.mark.sample(1)
@ALL
@torch.no_grad()
def test_an_ensemble_is_the_mean_of_its_members_anchor_by_anchor(make):
    members, batch = [make(seed) for seed in range(3)], batch_of(images_of())
    ensemble = type(members[0]).ensemble(members).eval()
    found = ensemble.predict_batch(batch, Need.POSTERIOR | Need.BOXES | Need.VIEWS | Need.IMAGE_FEATURES)
    outputs = [each.output_of(each.network.backbone(batch.images), batch.images) for each in members]
    kept = dense_output.find(outputs, members[0].decode, batch, KEEP)
    assert len(found.row) > 20 and found.views.probs.shape == (3, len(found.row), NUM_CLASSES)
    torch.testing.assert_close(found.views.probs.mean(0), found.posterior.probs)
    for place, (row, source, label) in enumerate(zip(*kept.detections[:3], strict=True)):
        probs = torch.stack([each.logits[row, source].sigmoid() for each in outputs])
        torch.testing.assert_close(found.views.probs[:, place], probs)
        sure = None
        if outputs[0].confidence is not None:
            sure = torch.stack([each.confidence[row, source, 0].sigmoid() for each in outputs]).mean().logit()
        torch.testing.assert_close(found.scores[place], score_of(members[0], probs.mean(0)[label], sure))
        deltas = torch.stack([each.deltas[row, source] for each in outputs]).mean(0)
        box = members[0].decode(deltas[None], outputs[0].anchors[source][None])[0]
        height, width = batch.shapes[row].tolist()
        torch.testing.assert_close(
            kept.input_boxes[place], torch.minimum(box.clamp(min=0), torch.tensor([width, height] * 2))
        )
    single = type(members[0]).ensemble(members[:1]).eval().predict_batch(batch, Need.POSTERIOR | Need.BOXES)
    alone = members[0].predict_batch(batch, Need.POSTERIOR | Need.BOXES)
    assert torch.equal(single.posterior.probs, alone.posterior.probs) and torch.equal(single.boxes, alone.boxes)


@pytest.mark.parametrize(
    "make, options, message",
    [
        (retinanet, {"anchor_sizes": [[8], [16]]}, r"anchor_sizes must be 4 lists"),
        (retinanet, {"anchor_sizes": [[8], [16], [32], [1, 2]]}, r"anchor_sizes must be 4 lists of equal length"),
        (retinanet, {"aspect_ratios": [0.0]}, "must be > 0"),
        (retinanet, {"bg_iou_thresh": 0.6}, "bg_iou_thresh must be in 0 to .*0.6"),
        (retinanet, {"feature_level": 4}, "feature_level must be null or 0 to 3, got 4"),
        (retinanet, {"feature_source": "roi"}, "feature_source must be .*'roi'"),
        (fcos, {"image_feature_source": "roi"}, "image_feature_source must be trunk, pyramid or level, got 'roi'"),
        (fcos, {"image_feature_source": "level"}, "feature_level must be a number where image_feature_source=level"),
        (retinanet, {"num_passes": 0}, "num_passes must be >= 1"),
        (retinanet, {"num_convs": 5}, "towers.num_convs must be 1 to 4, got 5"),
        (retinanet, {"init_std": 0.0}, "towers.init_std must be null or > 0"),
        (retinanet, {"focal_alpha": 2.0}, "towers.focal_alpha must be in"),
        (retinanet, {"box_weights": [1.0]}, "box_weights must be four numbers"),
        (retinanet, {"dropout": 1.0}, "dropout must be .*1.0"),
        (retinanet, {"norm_groups": 5}, "norm_groups must divide .*32.*5"),
        (fcos, {"strides": [4, 8]}, "strides must be 4 numbers"),
        (fcos, {"center_radius": 0}, "center_radius must be > 0"),
        (fcos, {"focal_gamma": -1}, "focal_gamma must be"),
    ],
)
def test_bad_arguments_are_named(make, options, message):
    with pytest.raises(ConfigError, match=message):
        make(**options)


@pytest.mark.slow
@pytest.mark.parametrize(
    "options",
    [
        ["model=retinanet_tiny", "acquisition=detection_entropy", "num_members=2"],
        pytest.param(
            ["model=fcos_tiny", "acquisition=detection_entropy", "data.labeled_fraction=0.5"], marks=pytest.mark.slow
        ),
        pytest.param(["model=retinanet_tiny", "acquisition=flip_inconsistency"], marks=pytest.mark.slow),
        pytest.param(["model=atss_tiny", "acquisition=flip_inconsistency"], marks=pytest.mark.slow),
    ],
)
def test_runs_from_end_to_end(tmp_path: Path, options: list[str]) -> None:
    small = ["+data.source.num_train=24", "+data.source.num_test=8", "schedule.initial.size=8", "schedule.budget=4"]
    short = ["data=digit_scenes", "trainer.max_epochs=2", "schedule.cycles=1"]
    result = alpl(tmp_path, *short, *small, *options)
    assert result.status == 0, result.err
    metrics = json.loads((result.run_folder() / "cycle_01" / "metrics.json").read_text())
    assert metrics["num_labeled"] == 12 and 0 <= metrics["test/map"] <= 1
    assert (result.run_folder() / "cycle_00" / "query.csv").read_text().count("\n") == 5
