"""ATSS and DDOD: their losses beside obvious loops, what DDOD counts, its deformable towers, two processes."""

from functools import partial
from types import SimpleNamespace

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from configs import checked
from hydra.utils import instantiate
from padded_scenes import NUM_CLASSES, batch_of, images_of, objects_of
from torch.nn.functional import binary_cross_entropy_with_logits, conv2d
from torch.nn.parallel import DistributedDataParallel
from torchvision.ops import box_iou, generalized_box_iou_loss, sigmoid_focal_loss

from alpl.boxes.objects import Objects
from alpl.data.digit_scenes import DigitScenes
from alpl.errors import ConfigError
from alpl.losses.atss import atss_matches, quality_matches
from alpl.metrics.voc_ap import VOCAveragePrecision
from alpl.modules.atss import AtssDetector
from alpl.modules.ddod import DdodDetector
from alpl.modules.detector import Suppression
from alpl.networks.atss import DeformableConv
from alpl.networks.fpn import TinyFpn
from alpl.networks.towers import Towers

OBJECTS = [objects_of(number, seed, 96, 96) for seed, number in enumerate([3, 0, 5])]
SIZES = torch.full((3, 2), 96)


def made(kind, seed=0, **options):
    torch.manual_seed(seed)
    towers = Towers(num_convs=1, norm_groups=8, init_std=None)
    parts = {"metric": VOCAveragePrecision, "evaluation": Suppression(), "acquisition": Suppression()}
    parts |= {"towers": towers, "anchor_sizes": [16, 32, 64, 128], "optimizer": partial(torch.optim.SGD, lr=0.1)}
    module = kind(partial(TinyFpn, width=32, widths=(4, 8, 8, 8, 12)), NUM_CLASSES, **parts | options).eval()
    with torch.no_grad():  # probabilities, boxes and offsets that differ
        for parameter in module.network.parameters():
            parameter.add_(0.03 * torch.randn_like(parameter))
    module.log = lambda *arguments, **options: None
    return module


def batch(labeled=(True, True, True), objects=OBJECTS):
    images = images_of([(96, 96)] * len(labeled))
    return batch_of(images, list(labeled), objects, resize=lambda image: image.float() / 255 - 0.5)


def output_of(module):
    images = batch().images
    return module.output_of(module.network.backbone(images), images)


def terms(output, decode, p, row, label, box):
    """Of one anchor: focal loss; of one with an object generalized IoU loss, logit of the confidence, predicted box."""
    aim = torch.zeros(NUM_CLASSES)
    if label is not None:
        aim[label] = 1.0
    focal = float(sigmoid_focal_loss(output.logits[row, p], aim, alpha=0.25, gamma=2, reduction="sum"))
    if box is None:
        return focal, 0.0, None, None
    guess = decode(output.deltas[row, p][None], output.anchors[p][None])
    return focal, float(generalized_box_iou_loss(guess, box[None])), output.confidence[row, p, 0], guess


def entropy(logit, aim):
    return float(binary_cross_entropy_with_logits(logit, torch.tensor(aim)))


# --- ATSS


@torch.no_grad()
def test_the_losses_of_atss_are_those_of_a_loop():
    module = made(AtssDetector)
    output, classes, boxes, doubts, number, weight = output_of(module), 0.0, 0.0, 0.0, 0, 0.0
    for row, objects in enumerate(OBJECTS):
        matched = atss_matches(output.anchors, output.lengths, objects.boxes).tolist()
        for p, n in enumerate(matched):
            box = objects.boxes[n] if n >= 0 else None
            label = int(objects.labels[n]) if n >= 0 else None
            focal, distance, logit, _ = terms(output, module.decode, p, row, label, box)
            classes += focal
            if box is None:
                continue
            (x1, y1, x2, y2), (left, top, right, bottom) = output.anchors[p].tolist(), box.tolist()
            x, y = (x1 + x2) / 2, (y1 + y2) / 2
            wide, high = sorted([x - left, right - x]), sorted([y - top, bottom - y])
            central = (wide[0] / wide[1] * high[0] / high[1]) ** 0.5
            boxes, weight, number = boxes + central * distance, weight + central, number + 1
            doubts += entropy(logit, central)
    assert number > 5 and weight > 1
    parts = module.losses_of(batch().images, SIZES, OBJECTS).parts
    assert float(parts["classification"]) == pytest.approx(classes / number, rel=1e-4)
    assert float(parts["bbox_regression"]) == pytest.approx(2 * boxes / weight, rel=1e-4)
    assert float(parts["centerness"]) == pytest.approx(doubts / number, rel=1e-4)


# --- DDOD


@torch.no_grad()
def test_the_losses_of_ddod_are_those_of_a_loop_and_levels_count_through_the_steps():
    module = made(DdodDetector)
    output = output_of(module)
    matches = [
        quality_matches(
            output.anchors, output.lengths, each.boxes, output.logits[row][:, each.labels].sigmoid(),
            module.decode(output.deltas[row], output.anchors), alphas=(0.8, 0.5),
        )
        for row, each in enumerate(OBJECTS)
    ]  # fmt: skip
    level = [number for number, length in enumerate(output.lengths) for _ in range(length)]
    counts = [[0] * 4, [0] * 4]
    for of_image in matches:
        for which, matched in enumerate(of_image):
            for p in (matched >= 0).nonzero().flatten().tolist():
                counts[which][level[p]] += 1
    assert counts[0] != counts[1] and min(map(sum, counts)) > 5
    module.positives_seen += torch.tensor([[40, 0, 7, 3], [0, 9, 9, 1]])  # of steps before
    seen = [
        [a + b for a, b in zip(x, y, strict=True)] for x, y in zip(counts, module.positives_seen.tolist(), strict=True)
    ]
    weights = [[2 - (v - min(each)) / (max(each) - min(each)) for v in each] for each in seen]
    classes = boxes = doubts = 0.0
    for row, objects in enumerate(OBJECTS):
        first, second = (each.tolist() for each in matches[row])
        for p, (n, m) in enumerate(zip(first, second, strict=True)):
            label, box = (int(objects.labels[n]) if n >= 0 else None), (objects.boxes[m] if m >= 0 else None)
            focal, distance, logit, guess = terms(output, module.decode, p, row, label, box)
            classes += weights[0][level[p]] * focal
            if box is not None:
                boxes += weights[1][level[p]] * distance
                doubts += weights[1][level[p]] * entropy(logit, float(box_iou(guess, box[None])))
    for layer in module.network.modules():
        layer.training = False
    module.training = True  # alone: batch norm stays
    parts = module.losses_of(batch().images, SIZES, OBJECTS).parts
    assert module.positives_seen.tolist() == seen
    assert float(parts["classification"]) == pytest.approx(classes / sum(counts[0]), rel=1e-4)
    assert float(parts["bbox_regression"]) == pytest.approx(2 * boxes / sum(counts[1]), rel=1e-4)
    assert float(parts["iou"]) == pytest.approx(doubts / sum(counts[1]), rel=1e-4)


def test_counters_are_state_and_only_training_counts():
    module = made(DdodDetector)
    module.training_step(batch(), 0)
    assert not module.positives_seen.any()
    module.train().training_step(batch(), 0)
    assert bool((module.positives_seen.sum(1) > 5).all())
    again = made(DdodDetector, seed=1)
    again.load_state_dict(module.state_dict())
    assert torch.equal(again.positives_seen, module.positives_seen)
    assert "positives_seen" not in dict(module.named_parameters())


@pytest.mark.parametrize(("step", "seen"), [(0, 0), (7, 5)])
def test_a_fit_counts_anew_and_a_resumed_one_goes_on(step, seen, monkeypatch):
    module = made(DdodDetector)
    module.positives_seen.fill_(5)
    monkeypatch.setattr(type(module), "trainer", SimpleNamespace(global_step=step))
    module.on_train_start()
    assert (module.positives_seen == seen).all()


def test_without_objects_the_background_alone_is_learned():
    for kind in (AtssDetector, DdodDetector):
        module = made(kind)
        found = module.losses_of(batch().images, SIZES, [Objects.none()] * 3)
        classification, *others = [float(each.detach()) for each in found.parts.values()]
        assert classification > 0 and others == [0.0, 0.0]
        sum(found.parts.values()).backward()
        assert all(bool(p.grad.isfinite().all()) for p in module.parameters() if p.grad is not None)


@pytest.mark.parametrize("kind", [AtssDetector, DdodDetector])
def test_no_gradient_flows_through_matches_and_aims(kind):
    """The confidence learns how good a box is, and the box nothing from it; nor do both from each other's matches."""
    module = made(kind)
    output = output_of(module)
    output.logits.retain_grad(), output.deltas.retain_grad(), output.confidence.retain_grad()
    targets = [{"boxes": each.boxes, "labels": each.labels} for each in OBJECTS]
    parts = module.compute_losses(output, targets).parts
    for name, loss in parts.items():
        grads = torch.autograd.grad(
            loss, [output.logits, output.deltas, output.confidence], allow_unused=True, retain_graph=True
        )
        learned = [grad is not None and bool(grad.any()) for grad in grads]
        assert learned == [name == "classification", name == "bbox_regression", name in ("centerness", "iou")], name


# --- networks


def test_a_deformable_convolution_begins_as_a_plain_one_and_looks_where_it_is_sent():
    plain = torch.nn.Conv2d(4, 6, 3, padding=1)
    layer, map_ = DeformableConv(plain), torch.randn(2, 4, 7, 9)
    torch.testing.assert_close(layer(map_), plain(map_))
    with torch.no_grad():
        layer.offsets.bias.view(9, 2)[:, 1] = 1.0  # (y, x) of each of nine places: one column to the right
    padded = torch.nn.functional.pad(map_, (0, 2, 1, 1))
    torch.testing.assert_close(layer(map_), conv2d(padded, plain.weight, plain.bias))
    exact = layer(map_)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(layer(map_), exact)
        assert layer(map_.bfloat16()).dtype == torch.bfloat16
    layer(map_).square().sum().backward()
    assert bool(layer.offsets.weight.grad.any()) and bool(layer.weight.grad.any())


@torch.no_grad()
def test_ddod_begins_with_offsets_of_zero_and_each_map_scales_its_boxes():
    torch.manual_seed(0)
    options = {"metric": VOCAveragePrecision, "evaluation": Suppression(), "acquisition": Suppression()}
    backbone = partial(TinyFpn, width=32, widths=(4, 8, 8, 8, 12))
    sizes = {"anchor_sizes": [16, 32, 64, 128], "optimizer": partial(torch.optim.SGD, lr=0.1)}
    module = DdodDetector(backbone, NUM_CLASSES, towers=Towers(num_convs=2), **options, **sizes).eval()
    heads = (module.network.head.classification_head, module.network.head.regression_head)
    deformable = [layer for head in heads for layer in head.modules() if isinstance(layer, DeformableConv)]
    assert [head.conv[0] for head in heads] == deformable
    assert not any(bool(parameter.any()) for layer in deformable for parameter in layer.offsets.parameters())
    assert float(deformable[0].weight.std()) == pytest.approx(0.01, rel=0.1)
    before = output_of(module)
    module.network.head.regression_head.scales[2] = 3.0
    after = output_of(module)
    factors = [3.0 if number == 2 else 1.0 for number, length in enumerate(before.lengths) for _ in range(length)]
    torch.testing.assert_close(after.deltas, before.deltas * torch.tensor(factors)[:, None])
    assert torch.equal(after.confidence, before.confidence) and torch.equal(after.logits, before.logits)


@pytest.mark.parametrize(
    ("kind", "options", "message"),
    [
        (AtssDetector, {"topk": 0}, "topk must be >= 1, got 0"),
        (AtssDetector, {"anchor_sizes": [8, 16]}, "anchor_sizes must be 4 lists"),
        (DdodDetector, {"class_alpha": 1.5}, r"class_alpha must be in \[0, 1\], got 1.5"),
        (DdodDetector, {"box_alpha": -0.1}, "box_alpha must be in"),
    ],
)
def test_bad_arguments_are_named(kind, options, message):
    with pytest.raises(ConfigError, match=message):
        made(kind, **options)


# --- learning


def learned(name, splits, steps=30, size=8):
    """mAP of held-out scenes, digits of one class, after a few steps."""
    torch.manual_seed(0)
    config = checked("data=digit_scenes", f"model={name}").model
    module = instantiate(config, _convert_="all", num_classes=1, scheduler=None).train()
    module.log = lambda *arguments, **options: None
    ((optimizer,), _), generator = module.configure_optimizers(), torch.Generator().manual_seed(0)

    def scenes(images, objects, chosen):
        digits = [Objects(objects[n].boxes, 0 * objects[n].labels, objects[n].difficult) for n in chosen]
        return batch_of([images[n] for n in chosen], None, digits, resize=lambda image: image / 127.5 - 1)

    for step in range(steps):
        chosen = torch.randint(len(splits.train), (size,), generator=generator).tolist()
        loss = module.training_step(scenes(splits.train, splits.train_objects, chosen), step)["loss"]
        optimizer.zero_grad(), loss.backward()
        torch.nn.utils.clip_grad_norm_(module.parameters(), 10.0)
        optimizer.step()
    with torch.no_grad():
        for start in range(0, len(splits.test), size):
            chosen = range(start, start + size)
            module.eval().test_step(scenes(splits.test, splits.test_objects, chosen), start)
    return module.test_results()["test/map"]


@pytest.mark.slow
def test_both_learn_as_fast_as_fcos():
    splits = DigitScenes(num_train=96, num_test=24, size=64, most_digits=3).load()
    fcos, atss, ddod = (learned(f"{name}_tiny", splits) for name in ("fcos", "atss", "ddod"))
    assert fcos > 0.01 and min(atss, ddod) > 0.8 * fcos, (fcos, atss, ddod)


# --- two processes


class Step(torch.nn.Module):
    def __init__(self, module):
        super().__init__()
        self.module = module

    def forward(self, given):
        return self.module.training_step(given, 0)["loss"]


SHARES = [
    [batch((True, True), OBJECTS[:2]), batch((False, False), [])],  # of two steps, process by process
    [batch((True, False), OBJECTS[2:]), batch((True, True), OBJECTS[1:])],
]


def process(rank, folder, kind):
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=2)
    module = made(kind).train()
    for layer in module.network.modules():
        layer.training = False
    both, steps = DistributedDataParallel(Step(module)), []
    for shares in SHARES:
        module.zero_grad()
        loss = both(shares[rank])
        loss.backward()
        grad = torch.cat([p.grad.flatten() for p in module.network.parameters()])
        steps.append((loss.detach(), grad, getattr(module, "positives_seen", torch.zeros(0)).clone()))
    torch.save(steps, folder / f"{rank}.pt")
    dist.destroy_process_group()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::DeprecationWarning")
@pytest.mark.parametrize("kind", [AtssDetector, DdodDetector])
def test_two_processes_learn_what_one_does_of_both_shares(tmp_path, kind):
    """Denominators are means over processes, so that the mean gradient is that of one batch of both; counters agree."""
    context = mp.get_context("fork")
    processes = [context.Process(target=process, args=(rank, tmp_path, kind)) for rank in range(2)]
    for each in processes:
        each.start()
    for each in processes:
        each.join(120)
        assert each.exitcode == 0
    one, other = (torch.load(tmp_path / f"{rank}.pt") for rank in range(2))
    module = made(kind).train()
    for layer in module.network.modules():
        layer.training = False
    first, second = SHARES
    images = torch.cat([second[0].images[:1], second[1].images])
    for step, ((loss, grad, seen), (their_loss, their_grad, their_seen)) in enumerate(zip(one, other, strict=True)):
        assert torch.equal(grad, their_grad) and torch.equal(seen, their_seen)
        module.zero_grad()
        if step == 0:  # the second process has nothing
            expected = module.training_step(first[0], 0)["loss"]
        else:
            expected = sum(module.losses_of(images, SIZES, [OBJECTS[2], *OBJECTS[1:]]).parts.values())
        expected.backward()
        own = torch.cat([p.grad.flatten() for p in module.network.parameters()])
        torch.testing.assert_close(grad, own, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close((loss + their_loss) / 2, expected.detach(), rtol=1e-4, atol=1e-5)
        assert torch.equal(seen, getattr(module, "positives_seen", torch.zeros(0)))
