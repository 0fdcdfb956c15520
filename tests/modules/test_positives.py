"""What all kinds of detectors tell of their training, beside obvious loops."""

import math

import pytest
import torch
from configs import checked
from hydra.utils import instantiate
from multibox_reference import iou, match_reference
from padded_scenes import NUM_CLASSES, batch_of, images_of, objects_of

from alpl.boxes.objects import Objects
from alpl.modules.base import AbstractTrainableModule

KINDS = ["retinanet_tiny", "fcos_tiny", "ssd_tiny", "faster_rcnn_tiny"]
CENTER = "centernet_tiny"  # whose positives are those of a loop in test_centernet.py
ATSS = [pytest.param(name, marks=pytest.mark.slow) for name in ("atss_tiny", "ddod_tiny")]
LABELED = [True, False, True, False, True]
PSEUDO = torch.tensor([False, True, False, False, False])
OBJECTS = [objects_of(number, seed, 96, 96, most=30) for seed, number in enumerate([3, 2, 0, 4])]


def detector(name: str):
    config = checked("data=digit_scenes", f"model={name}")
    torch.manual_seed(0)
    module = instantiate(config.model, _convert_="all", num_classes=NUM_CLASSES).eval()
    with torch.no_grad():  # probabilities and boxes that differ
        for parameter in module.parameters():
            parameter.add_(0.03 * torch.randn_like(parameter))
        if name == "fcos_tiny":
            module.network.head.regression_head.bbox_reg.bias.add_(2.0)
    module.log = lambda *arguments, **options: None
    return module


def batch(objects=OBJECTS):
    """Three labeled images, the second of them without objects, a pseudo-labeled and an unlabeled one; all 96 x 96."""
    images = images_of([(96, 96)] * 5)
    return batch_of(images, LABELED, objects, PSEUDO, resize=lambda image: image.float() / 255 - 0.5)


def told(module, given):
    torch.manual_seed(3)
    step = module.training_step(given, 0)
    assert step["positives"] is not None
    return step["loss"], step["positives"]


def from_anchor(deltas, anchor, weights=(10.0, 10.0, 5.0, 5.0)):
    """Offsets of the center in units of the anchor, logarithms of the sides -> xyxy."""
    width, height = anchor[2] - anchor[0], anchor[3] - anchor[1]
    dx, dy, dw, dh = (delta / weight for delta, weight in zip(deltas, weights, strict=True))
    x, y = anchor[0] + width / 2 + dx * width, anchor[1] + height / 2 + dy * height
    width, height = width * math.exp(dw), height * math.exp(dh)
    return x - width / 2, y - height / 2, x + width / 2, y + height / 2


def retinanet_objects(anchors, boxes, cells):
    """The object of each anchor: of IoU 0.5, or best anchor of some object (then still its own best object)."""
    overlaps = [[iou(box, anchor) for anchor in anchors] for box in boxes]
    for p in range(len(anchors)):
        column = [row[p] for row in overlaps]
        if column and (max(column) >= 0.5 or any(row[p] == max(row) for row in overlaps)):
            yield p, column.index(max(column))


def fcos_objects(anchors, boxes, cells):
    """The smallest object around the point whose center is near and whose size is of the map."""
    starts = [sum(h * w for h, w in cells[:level]) for level in range(len(cells))]
    for p, anchor in enumerate(anchors):
        level = sum(p >= start for start in starts) - 1
        stride, x, y = anchor[2] - anchor[0], (anchor[0] + anchor[2]) / 2, (anchor[1] + anchor[3]) / 2
        fit = []
        for n, (x1, y1, x2, y2) in enumerate(boxes):
            sides = x - x1, y - y1, x2 - x, y2 - y
            near = max(abs(x - (x1 + x2) / 2), abs(y - (y1 + y2) / 2)) < 1.5 * stride
            low = 0 if level == 0 else 4 * stride
            high = math.inf if level == len(cells) - 1 else 8 * stride
            if near and min(sides) > 0 and low < max(sides) < high:
                fit.append(((x2 - x1) * (y2 - y1), n))
        if fit:
            yield p, min(fit)[1]


def from_point(deltas, anchor):
    stride, x, y = anchor[2] - anchor[0], (anchor[0] + anchor[2]) / 2, (anchor[1] + anchor[3]) / 2
    left, top, right, bottom = (delta * stride for delta in deltas)
    return x - left, y - top, x + right, y + bottom


def sigmoid(value):
    return 1 / (1 + math.exp(-value))


def softmax_of(values, chosen):
    return math.exp(values[chosen]) / sum(math.exp(value) for value in values)


def dense_reference(module, given, matches, decode):
    output = module.output_of(module.network.backbone(given.images), given.images)
    anchors = output.anchors.tolist()
    for row, target in ((0, 0), (4, 3)):  # the labeled images with objects, and their place among those with targets
        objects = given.targets.of(target)
        logits, deltas = output.logits[row].tolist(), output.deltas[row].tolist()
        for p, n in matches(anchors, objects.boxes.tolist(), output.cells):
            label, box = int(objects.labels[n]), objects.boxes[n].tolist()
            yield target, label, sigmoid(logits[p][label]), iou(decode(deltas[p], anchors[p]), box)


def ssd_reference(module, given):
    output = module.network(given.images)
    priors = module.priors.tolist()
    for row, target in ((0, 0), (4, 3)):
        objects = given.targets.of(target)
        labels, boxes = match_reference((objects.boxes / 96).tolist(), objects.labels.tolist(), priors, 0.5)
        for p, (x, y, w, h) in enumerate(priors):
            if labels[p]:
                dx, dy, dw, dh = output.deltas[row, p].tolist()
                anchor = (x - w / 2, y - h / 2, x + w / 2, y + h / 2)
                box = from_anchor((dx, dy, dw, dh), anchor, (10.0, 10.0, 5.0, 5.0))
                prob = softmax_of(output.logits[row, p].tolist(), int(labels[p]))
                yield target, int(labels[p]) - 1, prob, iou(box, boxes[p])


def matches_of(module, given):
    """Of ATSS and DDOD, whose assignments have loops of their own: those for the classes."""
    output = module.output_of(module.network.backbone(given.images), given.images)
    for row, target in ((0, 0), (4, 3)):
        objects = given.targets.of(target)
        one = output._replace(
            logits=output.logits[[row]], deltas=output.deltas[[row]], confidence=output.confidence[[row]]
        )
        matched = module.compute_losses(one, [{"boxes": objects.boxes, "labels": objects.labels}]).matched[0].tolist()
        for p, n in enumerate(matched):
            if n >= 0:
                label, box = int(objects.labels[n]), objects.boxes[n].tolist()
                guess = from_anchor(output.deltas[row, p].tolist(), output.anchors[p].tolist())
                yield target, label, sigmoid(float(output.logits[row, p, label])), iou(guess, box)


def reference_of(name, module, given):
    if name in ("atss_tiny", "ddod_tiny"):
        return matches_of(module, given)
    if name == "retinanet_tiny":
        return dense_reference(module, given, retinanet_objects, from_anchor)
    return (
        dense_reference(module, given, fcos_objects, from_point)
        if name == "fcos_tiny"
        else ssd_reference(module, given)
    )


def assert_told(positives, expected):
    expected = sorted(expected)
    found = zip(*(part.tolist() for part in positives), strict=True)
    assert len(expected) > 8 and {row for row, *_ in expected} == {0, 3}
    for one, other in zip(sorted(found), expected, strict=True):
        assert one[:2] == other[:2] and one[2:] == pytest.approx(other[2:], abs=1e-4)
    assert any(one[2] > 0 for one in expected) and positives.ious.max() > 0.2


@pytest.mark.sample(1)
@pytest.mark.parametrize("name", [*KINDS[:3], *ATSS])
@torch.no_grad()
def test_positives_are_those_of_a_loop(name):
    module, given = detector(name), batch()
    module.wants_positives = True
    assert_told(told(module, given)[1], [tuple(each) for each in reference_of(name, module, given)])


@torch.no_grad()
def test_positives_of_the_second_stage_are_those_of_a_loop(monkeypatch):
    module, given = detector("faster_rcnn_tiny"), batch()
    module.wants_positives = True
    heads, taken, said = module.network.roi_heads, [], []
    sample = heads.select_training_samples
    monkeypatch.setattr(heads, "select_training_samples", lambda *a: taken.append(sample(*a)) or taken[0])
    heads.box_predictor.register_forward_hook(lambda layer, inputs, out: said.append(out))
    positives = told(module, given)[1]
    logits, deltas = said[0][0].tolist(), said[0][1].view(-1, NUM_CLASSES + 1, 4).tolist()
    expected, number = [], -1
    for target, (regions, labels) in enumerate(zip(taken[0][0], taken[0][2], strict=True)):
        objects = given.targets.of(target)
        for region, label in zip(regions.tolist(), labels.tolist(), strict=True):
            number += 1
            if label == 0 or target not in (0, 3):
                continue
            best = max(range(len(objects)), key=lambda n: iou(objects.boxes[n].tolist(), region))
            assert int(objects.labels[best]) == label - 1
            box = from_anchor(deltas[number][label], region)
            overlap = iou(box, objects.boxes[best].tolist())
            expected.append((target, label - 1, softmax_of(logits[number], label), overlap))
    assert_told(positives, expected)


@pytest.mark.parametrize("name", [*KINDS, CENTER, *ATSS])
def test_nothing_is_told_unasked_and_asking_changes_no_loss(name):
    module, given = detector(name), batch()
    assert isinstance(module, AbstractTrainableModule) and module.tells_positives
    torch.manual_seed(3)
    step = module.training_step(given, 0)
    assert step["positives"] is None
    module.wants_positives = True
    loss, positives = told(module, given)
    assert torch.equal(loss, step["loss"]) and loss.requires_grad
    assert not any(part.requires_grad for part in positives)
    assert positives.probs.dtype == positives.ious.dtype == torch.float32


@pytest.mark.parametrize("name", [*KINDS, CENTER, *ATSS])
def test_without_a_labeled_object_there_are_none(name):
    module = detector(name)
    module.wants_positives = True
    pseudo_alone = [Objects.none(), OBJECTS[1], Objects.none(), Objects.none()]
    assert len(told(module, batch(pseudo_alone))[1].labels) == 0
    nothing = batch_of(images_of([(96, 96)] * 2), [False] * 2, resize=lambda image: image.float() / 255)
    assert module.training_step(nothing, 0)["positives"] is None


@pytest.mark.sample(1)
@pytest.mark.parametrize("name", [*KINDS[:3], *ATSS])
def test_positives_in_half_precision_are_near(name):
    module, given = detector(name), batch()
    module.wants_positives = True
    exact = told(module, given)[1]
    with torch.autocast("cpu", torch.bfloat16):
        found = told(module, given)[1]
    assert torch.equal(found.labels, exact.labels) and found.ious.dtype == torch.float32
    torch.testing.assert_close(found.probs, exact.probs, atol=0.05, rtol=0.1)
    torch.testing.assert_close(found.ious, exact.ious, atol=0.1, rtol=0.1)


@pytest.mark.parametrize("name", [*KINDS[:2], CENTER, *ATSS])
@torch.no_grad()
def test_each_image_has_the_loss_that_it_has_alone(name):
    module, given = detector(name), batch()
    chosen, sizes = given.images[given.has_targets], torch.full((4, 2), 96)
    objects = [given.targets.of(target) for target in range(4)]
    per_image = module.losses_of(chosen, sizes, objects).per_image
    for n in range(4):
        alone = module.losses_of(chosen[[n]], sizes[[n]], objects[n : n + 1]).parts
        torch.testing.assert_close(per_image[n], sum(alone.values()), rtol=1e-4, atol=1e-5)
