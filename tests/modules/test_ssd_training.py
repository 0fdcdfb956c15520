"""The whole training loss of an SSD against Eq. 1 to 8 of Elezi et al. in loops; loss prediction; what reaches whom."""

import copy
import math
from functools import partial
from types import SimpleNamespace

import pytest
import torch
from multibox_reference import iou, loss_reference
from small_ssd import LAYOUT, NUM_CLASSES, SIDE, objects_of

from alpl.boxes.box_coding import decode, encode
from alpl.boxes.objects import Objects
from alpl.data.batch import Batch
from alpl.data.scene_batches import FlatObjects
from alpl.errors import ConfigError
from alpl.losses.consistency import EPS
from alpl.losses.loss_ranking import ranking_loss
from alpl.losses.multibox import Kind
from alpl.metrics.voc_ap import VOCAveragePrecision
from alpl.modules.consistency import FlipConsistency
from alpl.modules.detector import Suppression
from alpl.modules.ssd import SsdDetector
from alpl.networks.loss_prediction import LossPrediction
from alpl.networks.ssd import Ssd, TinySsd

LABELED, PSEUDO, UNLABELED = Kind.LABELED, Kind.PSEUDO, Kind.UNLABELED
MIXED = [UNLABELED, LABELED, PSEUDO, UNLABELED, LABELED, PSEUDO]


def detector(seed=0, **options):
    torch.manual_seed(seed)
    network = partial(Ssd, partial(TinySsd, widths=(4, 8, 8)))
    suppression = Suppression()
    options |= {"metric": VOCAveragePrecision, "evaluation": suppression, "acquisition": suppression}
    module = SsdDetector(network, LAYOUT, NUM_CLASSES, optimizer=partial(torch.optim.SGD, lr=0.1), **options).train()
    module.log = lambda *arguments, **options: None
    module._trainer = SimpleNamespace(global_step=10, estimated_stepping_batches=40)
    return module


def batch_of(kinds=MIXED, seed=1):
    images = torch.randn(len(kinds), 3, SIDE, SIDE, generator=torch.Generator().manual_seed(seed)) * 60
    kinds = torch.tensor([int(kind) for kind in kinds])
    objects = [objects_of(image) for image, kind in enumerate(kinds) if kind != UNLABELED]
    sizes = torch.full((len(kinds), 2), SIDE)
    targets = FlatObjects.join(objects)
    return Batch(images, torch.arange(len(kinds)), kinds == LABELED, targets, True, sizes, kinds == PSEUDO)


# --- Eq. 1 to 8 in loops


def _kl(p, q):
    return sum(a * math.log(a / b) for a, b in zip(p, q, strict=True))


def _corners(deltas, priors):
    x, y, w, h = decode(deltas, priors).unbind(-1)
    return torch.stack([x - w / 2, y - h / 2, x + w / 2, y + h / 2], -1).tolist()


def _consistency_reference(logits, deltas, logits_flipped, deltas_flipped, module, pairing):
    classes, boxes = [], []
    for image in range(len(logits)):
        probs, probs_flipped = logits[image].softmax(-1).tolist(), logits_flipped[image].softmax(-1).tolist()
        ours = _corners(deltas[image], module.priors)
        for i, (x1, y1, x2, y2) in enumerate(_corners(deltas_flipped[image], module.priors)):
            partner = int(module.mirror[i])
            if pairing == "as_written":
                overlaps = [iou(box, (1 - x2, y1, 1 - x1, y2)) for box in ours]
                partner = overlaps.index(max(overlaps))  # (2)
            if pairing == "as_written" or max(probs[partner][1:]) > probs[partner][0]:
                p, q = [value + EPS for value in probs[partner]], [value + EPS for value in probs_flipped[i]]
                classes.append((_kl(p, q) + _kl(q, p)) / 2)  # (3)
                u, v, s, t = deltas_flipped[image][i].tolist()
                theirs = torch.tensor([-u, v, s, t], dtype=torch.float64)
                if pairing == "as_written":  # from one prior
                    place, *sides = module.priors[i].tolist()
                    mirrored = torch.tensor([1 - place, *sides], dtype=torch.float64)
                    theirs = encode(decode(theirs, mirrored), module.priors[partner].double())
                boxes.append((deltas[image][partner] - theirs).square().sum().item() / 4)  # (4)
    assert len(classes) > 10
    return sum(classes) / len(classes) + sum(boxes) / len(boxes)  # (5)


@torch.no_grad()
def _total_reference(module, batch, kinds, pairing):
    """L1 and L_conf of Eq. 1 and 8, and L_con where there is a pairing: Eq. 6."""
    module = copy.deepcopy(module)
    rows = [row for row, kind in enumerate(kinds) if kind != UNLABELED]
    if pairing is None:
        output = module.network(batch.images[rows])
        logits, deltas, consistency = output.logits, output.deltas, 0.0
    else:
        both = module.network(torch.cat([batch.images, batch.images.flip(-1)]))
        logits, deltas = both.logits[: len(kinds)][rows], both.deltas[: len(kinds)][rows]
        halves = [half for each in (both.logits, both.deltas) for half in each.double().split(len(kinds))]
        consistency = _consistency_reference(halves[0], halves[2], halves[1], halves[3], module, pairing)
    targets = [Objects(each.boxes / SIDE, each.labels, each.difficult) for each in map(objects_of, rows)]
    confidence, localization, *_ = loss_reference(
        logits.tolist(), deltas.tolist(), targets, module.priors.tolist(), [kinds[row] for row in rows]
    )
    return confidence + localization + consistency


CONSISTENCY = {
    None: None,
    "as_written": FlipConsistency(),
    "as_released": FlipConsistency("as_released", "foreground", "offsets", detach_targets=True),
}


@pytest.mark.parametrize("pairing", CONSISTENCY)
@pytest.mark.parametrize("kinds", [MIXED, [LABELED] * 3, [UNLABELED, PSEUDO, PSEUDO]])
def test_the_loss_is_that_of_the_equations(kinds, pairing):
    module, batch = detector(consistency=CONSISTENCY[pairing]), batch_of(kinds)
    expected = _total_reference(module, batch, kinds, pairing)
    assert module.training_step(batch, 0)["loss"].item() == pytest.approx(expected, rel=1e-4)


def test_the_parts_are_logged_before_their_weight():
    module, batch = detector(consistency=FlipConsistency(weight=0.25, ramp="as_released")), batch_of()
    total = module.training_step(batch, 0)["loss"].item()
    parts = {name: mean.compute().item() for name, mean in module.means.items()}
    consistency = parts["class_consistency"] + parts["box_consistency"]
    weight = 0.25 * math.exp(-5 * (1 - (10 / 40) / (32 / 120)) ** 2)
    supervised = parts["classification_loss"] + parts["localization_loss"]
    assert total == pytest.approx(supervised + weight * consistency, rel=1e-5)
    assert parts["pseudo_share"] == pytest.approx(2 / 6)


# --- who has a part in it


@pytest.mark.parametrize("pairing", ["as_written", "as_released"])
def test_without_targets_there_is_still_the_consistency(pairing):
    module = detector(consistency=FlipConsistency(pairing), loss_prediction=LossPrediction)
    batch = batch_of([UNLABELED] * 3)
    loss = module.training_step(batch, 0)["loss"]
    loss.backward()
    assert loss > 0 and all(p.grad is not None for p in module.parameters())
    assert any(p.grad.any() for p in module.network.parameters())
    assert not any(p.grad.any() for p in module.loss_prediction.parameters())


def test_images_without_objects_have_no_positives_and_a_zero_loss():
    empty = FlatObjects.join([Objects.none(), Objects.none()])
    for kinds in ([LABELED] * 2, [PSEUDO, LABELED]):
        module = detector(loss_prediction=LossPrediction)
        loss = module.training_step(batch_of(kinds)._replace(targets=empty), 0)["loss"]
        loss.backward()
        ranking = module.means["ranking_loss"].compute()
        assert loss == ranking and all(p.grad is not None for p in module.parameters())


def test_without_consistency_unlabeled_images_are_not_looked_at():
    batch = batch_of()
    other = batch._replace(images=batch.images.clone())
    other.images[[0, 3]] = torch.nan
    first, second = detector(), detector()
    assert torch.equal(first.training_step(batch, 0)["loss"], second.training_step(other, 0)["loss"])
    assert all(torch.equal(a, b) for a, b in zip(first.buffers(), second.buffers(), strict=True))


def test_a_joint_pass_counts_once_in_batch_norm():
    module = detector(consistency=FlipConsistency())
    module.training_step(batch_of(), 0)
    counts = {int(buffer) for name, buffer in module.named_buffers() if name.endswith("num_batches_tracked")}
    assert counts == {1}


def test_half_precision_gives_finite_losses():
    options = {"consistency": FlipConsistency(), "loss_prediction": LossPrediction}
    module, single = detector(**options), detector(**options).training_step(batch_of(), 0)["loss"]
    with torch.autocast("cpu", torch.bfloat16):
        loss = module.training_step(batch_of(), 0)["loss"]
    loss.backward()
    assert loss.isfinite() and loss.item() == pytest.approx(single.item(), rel=0.1)
    assert all(p.grad.isfinite().all() for p in module.parameters())


def test_padded_images_are_refused():
    batch = batch_of()._replace(shapes=torch.full((6, 2), SIDE - 1))
    with pytest.raises(ConfigError, match="must give SSD images of one size"):
        detector().training_step(batch, 0)
    with pytest.raises(ConfigError, match="must give SSD images of one size"):
        detector().predict_batch(batch, detector().provides)


# --- loss prediction


@pytest.mark.parametrize(("detach_after", "reaches"), [(0.5, True), (0.25, False)])
def test_the_ranking_loss_is_that_of_the_labeled_images(detach_after, reaches):
    module = detector(loss_prediction=partial(LossPrediction, weight=0.5, detach_after=detach_after))
    kinds = [LABELED, PSEUDO, LABELED, LABELED, UNLABELED]  # pairs: images 0 and 2; image 3 is left out
    batch = batch_of(kinds)
    twin = copy.deepcopy(module)
    with torch.no_grad():
        output = twin.network(batch.images[:4])
        targets = [Objects(each.boxes / SIDE, each.labels, each.difficult) for each in map(objects_of, range(4))]
        *terms, _, each = loss_reference(
            output.logits.tolist(), output.deltas.tolist(), targets, twin.priors.tolist(), kinds[:4]
        )
        ranking = ranking_loss(twin.loss_prediction(output.maps)[[0, 2]], torch.tensor([each[0], each[2]]))
    loss = module.training_step(batch, 0)["loss"]
    assert ranking > 0 and loss.item() == pytest.approx(sum(terms) + 0.5 * ranking.item(), rel=1e-4)

    plain = detector()
    plain.load_state_dict(twin.state_dict(), strict=False)
    loss.backward()
    plain.training_step(batch, 0)["loss"].backward()  # the same network without the module
    pairs = zip(module.network.parameters(), plain.network.parameters(), strict=True)
    same = all(torch.allclose(a.grad, b.grad, rtol=1e-4, atol=1e-6) for a, b in pairs)
    assert same != reaches
