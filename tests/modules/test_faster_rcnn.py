"""Faster R-CNN beside torchvision's own, and what it gives beyond it: proposals, posteriors, views, features."""

import json
from functools import partial
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from command import alpl
from configs import checked
from hydra.utils import instantiate
from padded_scenes import NUM_CLASSES, batch_of, freeze_norm, images_of, objects_of
from torchvision.models.detection import FasterRCNN, fasterrcnn_resnet50_fpn
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.faster_rcnn import FastRCNNPredictor, TwoMLPHead
from torchvision.ops import MultiScaleRoIAlign, nms

from alpl.boxes.objects import Objects
from alpl.errors import ConfigError
from alpl.metrics.voc_ap import VOCAveragePrecision
from alpl.modules.detector import Suppression
from alpl.modules.faster_rcnn import FasterRcnnDetector, sizes_of
from alpl.modules.region_detections import MIN_SIDE, ChosenProposals, RegionDetections
from alpl.networks.faster_rcnn import FasterRcnn
from alpl.networks.fpn import TinyFpn
from alpl.networks.proposals import ProposalRules, RegionSampling
from alpl.predictions import Form, Need

LOSS_NAMES = FasterRcnnDetector.loss_names
KEEP = Suppression(score_thresh=0.05, nms_thresh=0.5, pre_nms_top_k=1000, max_detections=100)
BACKBONE = partial(TinyFpn, width=16, widths=(4, 8, 8, 8, 12))
SCALES = ((12.0, 16.0), (20.0, 28.0), (34.0, 46.0), (56.0, 76.0))
RATIOS = (0.5, 1.0, 2.0)
RULES = ProposalRules(
    pre_nms_top_n_train=60,
    pre_nms_top_n_test=50,
    post_nms_top_n_train=70,
    post_nms_top_n_test=60,
    batch_size_per_image=32,
)
SAMPLING = RegionSampling(batch_size_per_image=24)


def detector(seed=0, dropout=0.0, proposals=RULES, **options):
    torch.manual_seed(seed)
    network = partial(
        FasterRcnn,
        BACKBONE,
        anchor_sizes=SCALES,
        aspect_ratios=RATIOS,
        num_roi_maps=3,
        roi_size=5,
        canonical_scale=64,
        head_width=20,
        dropout=dropout,
        proposals=proposals,
        sampling=SAMPLING,
    )
    settings = {"evaluation": KEEP, "acquisition": KEEP, "metric": VOCAveragePrecision, "num_passes": 4} | options
    module = FasterRcnnDetector(network, NUM_CLASSES, optimizer=partial(torch.optim.SGD, lr=0.1), **settings).eval()
    with torch.no_grad():  # spread out, so that boxes and scores differ much and much is suppressed
        for layer in module.network.rpn.head.modules():
            if isinstance(layer, torch.nn.Conv2d):
                layer.weight.normal_(std=(2 / layer.weight[0].numel()) ** 0.5)
        module.network.rpn.head.bbox_pred.weight.mul_(0.3)
        module.network.roi_heads.box_predictor.cls_score.weight.mul_(20)
        module.network.roi_heads.box_predictor.bbox_pred.weight.mul_(8)
    module.log = lambda *arguments, **options: None
    return module


def theirs(module, suppression=KEEP, **transform):
    """torchvision's detector with the same weights, images of 0 to 1 in, boxes in their pixels out."""
    made = FasterRCNN(
        BACKBONE(),
        rpn_anchor_generator=AnchorGenerator(SCALES, (RATIOS,) * 4),
        rpn_pre_nms_top_n_train=RULES.pre_nms_top_n_train,
        rpn_pre_nms_top_n_test=RULES.pre_nms_top_n_test,
        rpn_post_nms_top_n_train=RULES.post_nms_top_n_train,
        rpn_post_nms_top_n_test=RULES.post_nms_top_n_test,
        rpn_batch_size_per_image=RULES.batch_size_per_image,
        box_roi_pool=MultiScaleRoIAlign(["0", "1", "2"], 5, 2, canonical_scale=64),
        box_head=TwoMLPHead(16 * 25, 20),
        box_predictor=FastRCNNPredictor(20, NUM_CLASSES + 1),
        box_batch_size_per_image=SAMPLING.batch_size_per_image,
        box_score_thresh=suppression.score_thresh,
        box_nms_thresh=suppression.nms_thresh,
        box_detections_per_img=suppression.max_detections,
        **({"min_size": 120, "max_size": 200} | transform),
    )
    made.load_state_dict(module.network.state_dict())
    return made.eval()


small_objects_of = partial(objects_of, width=90, height=90, most=25)


def passed(module, batch):
    """Proposals, and what the second stage says about them."""
    network = module.network
    maps = network.backbone(batch.images)
    proposals = network.proposals(maps, batch.images, sizes_of(batch))
    return proposals, network.regions(maps, proposals, batch.images)


def found_by(module, batch, suppression=KEEP):
    proposals, output = passed(module, batch)
    probs = output.logits.softmax(-1)
    found = RegionDetections.find(probs, output.deltas, proposals, module.network, batch, suppression)
    return found, proposals, output


# --- equal to torchvision


@pytest.mark.parametrize("limits", [{}, {"score_thresh": 0.25, "nms_thresh": 0.2, "max_detections": 12}])
@torch.no_grad()
def test_detections_are_those_of_torchvision(limits):
    module, images = detector(), images_of()
    suppression = Suppression(**({"score_thresh": 0.05, "nms_thresh": 0.5, "max_detections": 100} | limits))
    found = module.detect(batch_of(images), suppression, Need.BOXES)
    expected = theirs(module, suppression)([image / 255 for image in images])
    counts = [len(each["scores"]) for each in expected]
    assert min(counts) > 10 and len(found.row) == sum(counts)
    for row, each in enumerate(expected):
        chosen = found.row == row
        torch.testing.assert_close(found.scores[chosen], each["scores"])
        torch.testing.assert_close(found.boxes[chosen], each["boxes"], rtol=1e-5, atol=1e-3)
        assert torch.equal(found.labels[chosen], each["labels"] - 1)


def test_losses_and_gradients_are_those_of_torchvision():
    module = detector()
    plain = {"min_size": 96, "max_size": 96, "image_mean": [0.0] * 3, "image_std": [1.0] * 3}
    reference = theirs(module, **plain)
    images = [image.float() / 255 for image in images_of([(96, 96)] * 4)]
    objects = [small_objects_of(number, seed=number) for number in (3, 1, 0, 9)]
    reference.transform.torch_choice = lambda sizes: sizes[0]  # it draws from the samplers' generator
    reference.train(), module.train()
    freeze_norm(module.network, reference)
    torch.manual_seed(7)
    expected = reference(images, [{"boxes": each.boxes, "labels": each.labels + 1} for each in objects])
    torch.manual_seed(7)
    loss = module.training_step(batch_of(images, objects=objects, resize=lambda image: image), 0)["loss"]
    torch.testing.assert_close(loss, sum(expected.values()))
    for name, ours in LOSS_NAMES.items():
        assert float(expected[name].detach()) > 0
        torch.testing.assert_close(module.means[ours].compute(), expected[name].detach())
    loss.backward(), sum(expected.values()).backward()
    for (name, own), other in zip(module.network.named_parameters(), reference.parameters(), strict=True):
        torch.testing.assert_close(own.grad, other.grad, rtol=1e-3, atol=1e-5, msg=name)


def test_only_images_with_targets_are_trained_on():
    module = detector()
    images, objects = images_of(), [small_objects_of(2, 0), small_objects_of(0, 1)]
    batch = batch_of(images, [False, True, False, False], objects, torch.tensor([False, False, False, True]))
    chosen = [1, 3]
    alone = batch._replace(
        images=batch.images[chosen], shapes=batch.shapes[chosen], labeled=torch.tensor([True, True]), pseudo=None
    )
    losses = []
    for each in (batch, alone):
        torch.manual_seed(3)
        losses.append(module.training_step(each, 0)["loss"])
    assert torch.equal(*losses) and losses[0] > 0
    loss = module.training_step(batch_of(images, [False] * 4), 0)["loss"]
    loss.backward()
    assert loss == 0 and all(p.grad is not None and not p.grad.any() for p in module.parameters())


def test_images_without_objects_alone_have_a_loss_of_the_background():
    module = detector()
    loss = module.training_step(batch_of(images_of()[:2], objects=[Objects.none()] * 2), 0)["loss"]
    loss.backward()
    assert module.means["localization_loss"].compute() == 0 and loss > 0
    assert all(p.grad is not None and bool(p.grad.isfinite().all()) for p in module.parameters())


# --- what goes beyond


@pytest.mark.parametrize("top_k", [1000, 3])
@torch.no_grad()
def test_detections_are_those_of_a_slow_reference_with_a_limit_of_a_class(top_k):
    module, batch = detector(), batch_of(images_of())
    suppression = Suppression(score_thresh=0.1, nms_thresh=0.4, pre_nms_top_k=top_k, max_detections=20)
    found, proposals, output = found_by(module, batch, suppression)
    probs, start, given = output.logits.softmax(-1), 0, list(zip(*found.detections, strict=True))
    for row, boxes in enumerate(proposals):
        height, width = batch.shapes[row].tolist()
        expected = []
        for label in range(NUM_CLASSES):
            candidates = []
            for number in range(len(boxes)):
                score = probs[start + number, label + 1]
                box = module.network.decode(output.deltas[start + number, label + 1][None], boxes[number][None])[0]
                box = torch.minimum(box.clamp(min=0), torch.tensor([width, height] * 2))
                if score > 0.1 and (box[2:] - box[:2] >= MIN_SIDE).all():
                    candidates.append((score, start + number, box))
            candidates = sorted(candidates, key=lambda each: -float(each[0]))[:top_k]
            if candidates:
                kept = nms(
                    torch.stack([each[2] for each in candidates]), torch.stack([each[0] for each in candidates]), 0.4
                )
                expected += [(candidates[n][0], candidates[n][1], label) for n in kept.tolist()]
        expected = sorted(expected, key=lambda each: (-float(each[0]), each[1], each[2]))[:20]
        mine = [(score, int(source), int(label)) for r, source, label, score in given if r == row]
        assert mine == expected and len(mine) > 3
        start += len(boxes)


@torch.no_grad()
def test_a_detection_keeps_the_posterior_and_box_of_its_proposal():
    module, batch = detector(), batch_of(images_of())
    found = module.predict_batch(batch, Need.POSTERIOR | Need.BOXES)
    kept, proposals, output = found_by(module, batch)
    joined = torch.cat(proposals)
    owner = [row for row, each in enumerate(proposals) for _ in each]
    assert found.posterior.form is Form.BACKGROUND and found.row.unique().tolist() == [0, 1, 2, 3]
    for place, (row, source, label) in enumerate(zip(*kept.detections[:3], strict=True)):
        posterior = output.logits[source].softmax(-1)
        assert owner[source] == row == found.row[place] and label == found.labels[place]
        assert torch.equal(found.posterior.probs[place], posterior) and found.scores[place] == posterior[label + 1]
        box = module.network.decode(output.deltas[source, label + 1][None], joined[source][None])[0]
        height, width = batch.shapes[row].tolist()
        ratio = torch.tensor([batch.sizes[row, 1] / width, batch.sizes[row, 0] / height] * 2)
        torch.testing.assert_close(
            found.boxes[place], torch.minimum(box.clamp(min=0), torch.tensor([width, height] * 2)) * ratio
        )
    assert found.features is found.image_features is found.views is None


@torch.no_grad()
def test_candidates_without_a_visible_side_are_none():
    module, batch = detector(), batch_of(images_of([(120, 120)]))
    proposals = [torch.tensor([[10.0, 10.0, 30.0, 30.0], [300.0, 10.0, 330.0, 30.0]])]  # the second is in the padding
    probs, deltas = torch.full((2, 4), 0.25), torch.zeros(2, 4, 4)
    found = RegionDetections.find(probs, deltas, proposals, module.network, batch, KEEP)
    assert found.detections.sources.tolist() == [0, 0, 0] and found.detections.labels.tolist() == [0, 1, 2]


@torch.no_grad()
def test_no_detection_and_no_proposal_are_legal():
    module = detector(dropout=0.2)
    batch = batch_of(images_of())
    for needs in (module.provides & ~Need.FLIP, module.provides & ~Need.VIEWS):
        found = module.detect(batch, Suppression(score_thresh=1.0), needs)
        assert len(found.row) == 0 and found.boxes.shape == (0, 4) and found.posterior.probs.shape == (0, 4)
        assert found.views.probs.shape == (2 if Need.FLIP in needs else 4, 0, 4)
        assert found.features.shape == (0, 20) and found.image_features.shape == (4, 12)
    module.network.rpn.min_size = 1e6
    assert len(module.predict_batch(batch, module.provides).row) == 0
    assert len(detector(features="roi").detect(batch, Suppression(score_thresh=1.0), Need.FEATURES).features) == 0


@torch.no_grad()
def test_the_flip_view_is_the_mirrored_proposal_of_the_mirrored_input():
    module, batch = detector(), batch_of(images_of())
    found = module.predict_batch(batch, Need.POSTERIOR | Need.FLIP)
    kept, proposals, _ = found_by(module, batch)
    width = batch.images.shape[-1]
    mirrored = [each.clone() for each in proposals]
    for each, own in zip(mirrored, proposals, strict=True):
        each[:, 0], each[:, 2] = width - own[:, 2], width - own[:, 0]
    flipped = batch.images.flip(-1)
    partner = module.network.regions(module.network.backbone(flipped), mirrored, flipped).logits.softmax(-1)
    assert torch.equal(found.views.probs[0], found.posterior.probs)
    torch.testing.assert_close(found.views.probs[1], partner[kept.detections.sources])
    assert not torch.allclose(*found.views.probs, atol=1e-2)


@torch.no_grad()
def test_views_are_passes_with_dropout_in_the_box_head_alone():
    module, batch = detector(dropout=0.5), batch_of(images_of())
    torch.manual_seed(3)
    found = module.predict_batch(batch, Need.POSTERIOR | Need.VIEWS)
    assert found.views.probs.shape == (4, len(found.row), NUM_CLASSES + 1)
    assert not torch.equal(found.views.probs[0], found.views.probs[1])
    torch.testing.assert_close(found.views.probs.sum(-1), torch.ones(4, len(found.row)))
    assert not any(layer.training for layer in module.modules())
    assert torch.equal(found.posterior.probs, module.predict_batch(batch, Need.POSTERIOR).posterior.probs)
    sources = found_by(module, batch)[0].detections.sources
    for source in sources.unique():  # of one proposal, found in several classes, there is one pass
        views = found.views.probs[:, sources == source]
        assert torch.equal(views, views[:, :1].expand_as(views))
    assert len(sources.unique()) < len(sources)
    assert Need.VIEWS not in detector().provides and Need.VIEWS in module.provides


@torch.no_grad()
def test_views_are_around_the_pass_without_dropout():
    module, batch = detector(dropout=1e-6), batch_of(images_of())
    found = module.predict_batch(batch, Need.POSTERIOR | Need.VIEWS)
    for view in found.views.probs:
        torch.testing.assert_close(view, found.posterior.probs, rtol=1e-3, atol=1e-3)


@torch.no_grad()
def test_features_are_those_of_the_proposal():
    batch = batch_of(images_of())
    head, roi = detector(), detector(features="roi")
    kept, proposals, _ = found_by(head, batch)
    regions = head.network.pool(head.network.backbone(batch.images), proposals, batch.images)
    sources = kept.detections.sources
    torch.testing.assert_close(
        head.predict_batch(batch, Need.FEATURES).features, head.network.roi_heads.box_head(regions)[sources]
    )
    torch.testing.assert_close(roi.predict_batch(batch, Need.FEATURES).features, regions.mean((2, 3))[sources])


@torch.no_grad()
def test_features_can_be_those_of_the_detected_box():
    module, batch = detector(features="detection"), batch_of(images_of())
    kept, _, _ = found_by(module, batch)
    boxes = [kept.input_boxes[kept.detections.row == row] for row in range(4)]
    regions = module.network.pool(module.network.backbone(batch.images), boxes, batch.images)
    features = module.predict_batch(batch, Need.FEATURES).features
    torch.testing.assert_close(features, regions.mean((2, 3)))
    assert not torch.allclose(features, detector(features="roi").predict_batch(batch, Need.FEATURES).features)
    assert len(module.detect(batch, Suppression(score_thresh=1.0), Need.FEATURES).features) == 0


@torch.no_grad()
def test_image_features_are_the_average_of_the_content():
    module, batch = detector(), batch_of(images_of())
    last = list(module.network.backbone.trunk(batch.images).values())[-1]
    given = module.predict_batch(batch, Need.IMAGE_FEATURES).image_features
    for row, (height, width) in enumerate(batch.shapes.tolist()):
        torch.testing.assert_close(given[row], last[row, :, : -(-height // 32), : -(-width // 32)].mean((1, 2)))


@torch.no_grad()
def test_an_ensemble_is_the_mean_of_its_members_at_the_first_ones_proposals():
    members, batch = [detector(seed) for seed in range(3)], batch_of(images_of())
    ensemble = FasterRcnnDetector.ensemble(members).eval()
    found = ensemble.predict_batch(batch, ensemble.provides & ~Need.AUGMENTED)
    proposals, _ = passed(members[0], batch)
    outputs = [each.network.regions(each.network.backbone(batch.images), proposals, batch.images) for each in members]
    views = torch.stack([each.logits.softmax(-1) for each in outputs])
    deltas = torch.stack([each.deltas for each in outputs]).mean(0)
    kept = RegionDetections.find(views.mean(0), deltas, proposals, members[0].network, batch, KEEP)
    row, sources, labels, scores = kept.detections
    assert len(row) > 20 and torch.equal(found.row, row) and torch.equal(found.labels, labels)
    torch.testing.assert_close(found.views.probs, views[:, sources])
    torch.testing.assert_close(found.posterior.probs, views.mean(0)[sources])
    assert torch.equal(found.scores, scores)
    place = int(scores.argmin())
    box = members[0].network.decode(
        deltas[sources[place], labels[place] + 1][None], torch.cat(proposals)[sources[place]][None]
    )
    height, width = batch.shapes[row[place]].tolist()
    torch.testing.assert_close(
        kept.input_boxes[place], torch.minimum(box[0].clamp(min=0), torch.tensor([width, height] * 2))
    )
    own = members[0].predict_batch(batch, Need.POSTERIOR | Need.BOXES | Need.IMAGE_FEATURES)
    assert torch.equal(found.image_features, own.image_features)
    single = FasterRcnnDetector.ensemble(members[:1]).eval().predict_batch(batch, Need.POSTERIOR | Need.BOXES)
    assert torch.equal(single.posterior.probs, own.posterior.probs) and torch.equal(single.boxes, own.boxes)


@torch.no_grad()
def test_chosen_proposals_are_asked_once_each():
    module, batch = detector(), batch_of(images_of())
    found, proposals, _ = found_by(module, batch)
    chosen = ChosenProposals.of(found, proposals)
    joined = torch.cat(proposals)
    assert torch.equal(chosen.places[chosen.of_detections], found.detections.sources)
    assert torch.equal(torch.cat(chosen.boxes), joined[chosen.places]) and len(chosen.boxes) == len(proposals)
    assert len(chosen.places) < len(found.detections.sources)
    ends = torch.tensor([0, *(len(each) for each in proposals)]).cumsum(0)
    counts = [int(((chosen.places >= low) & (chosen.places < high)).sum()) for low, high in pairwise(ends)]
    assert [len(each) for each in chosen.boxes] == counts


@pytest.mark.parametrize(
    "options, message",
    [({"num_passes": 0}, "num_passes must be >= 1"), ({"features": "fpn"}, "features must be .*'fpn'")],
)
def test_bad_arguments_are_named(options, message):
    with pytest.raises(ConfigError, match=message):
        detector(**options)


# --- configs and runs

RUN = [
    "data=digit_scenes",
    "model=faster_rcnn_tiny",
    "+data.source.num_train=24",
    "+data.source.num_test=8",
    "trainer.max_steps=4",
    "schedule.initial.size=8",
    "schedule.budget=4",
    "schedule.cycles=1",
    "model.num_passes=2",
]


@pytest.mark.slow
@pytest.mark.parametrize(
    "extra",
    [
        pytest.param(["acquisition=detection_entropy", "num_members=2"], marks=pytest.mark.slow),
        ["acquisition=kcenter", "data.labeled_fraction=0.5"],
        pytest.param(["acquisition=flip_inconsistency", "model.features=roi"], marks=pytest.mark.slow),
    ],
)
def test_runs_from_end_to_end(tmp_path: Path, extra: list[str]) -> None:
    run = alpl(tmp_path, *RUN, *extra).run_folder()
    results = json.loads((run / "cycle_01" / "metrics.json").read_text())
    assert results["num_labeled"] == 12 and 0 <= results["test/map"] <= 1
    losses = (run / "cycle_01" / "epochs.csv").read_text()
    assert all(f"train/{name}" in losses for name in LOSS_NAMES.values())


@pytest.mark.parametrize("model", ["faster_rcnn_r50", "faster_rcnn_r50_coco"])
def test_full_configs_are_the_published_network(model: str) -> None:
    config = checked("data=digit_scenes", f"model={model}", "model.network.backbone.weights=null")
    with torch.device("meta"):
        network = instantiate(config.model.network)(num_outputs=21)
        published = fasterrcnn_resnet50_fpn(weights=None, weights_backbone=None, num_classes=21)
    shapes = [{name: value.shape for name, value in each.state_dict().items()} for each in (network, published)]
    assert shapes[0] == shapes[1]
    assert network.rpn.anchor_generator.sizes == published.rpn.anchor_generator.sizes
    for part in ("_pre_nms_top_n", "_post_nms_top_n", "nms_thresh", "score_thresh"):
        assert getattr(network.rpn, part) == getattr(published.rpn, part)
    for own, other in ((network.rpn, published.rpn), (network.roi_heads, published.roi_heads)):
        assert vars(own.proposal_matcher) == vars(other.proposal_matcher)
        assert vars(own.fg_bg_sampler) == vars(other.fg_bg_sampler)
        assert vars(own.box_coder) == vars(other.box_coder)
    keep, heads = instantiate(config.model.evaluation), published.roi_heads
    assert (keep.score_thresh, keep.nms_thresh) == (heads.score_thresh, heads.nms_thresh)
    assert keep.max_detections == heads.detections_per_img and keep.pre_nms_top_k >= 1000
