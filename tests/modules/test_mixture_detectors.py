"""Detectors with mixture heads: Eq. 6 in loops, detections and their uncertainties, and what the detector adds."""

from functools import partial

import mixture_reference as reference
import pytest
import torch
from configs import composed
from hydra.utils import instantiate
from rehearsals import rehearse
from small_ssd import LAYOUT, NUM_CLASSES, SIDE, objects_of

from alpl.acquisition.object_ranking import AbstractObjectRanking, ObjectValues
from alpl.boxes.objects import Objects
from alpl.config.compose import CONF
from alpl.data.batch import Batch
from alpl.data.scene_batches import FlatObjects
from alpl.errors import ConfigError
from alpl.metrics.voc_ap import VOCAveragePrecision
from alpl.modules.consistency import FlipConsistency
from alpl.modules.detector import Suppression
from alpl.modules.faster_rcnn import FasterRcnnDetector
from alpl.modules.ssd import SsdDetector
from alpl.networks.faster_rcnn import FasterRcnn
from alpl.networks.fpn import TinyFpn
from alpl.networks.heads import PointBoxes, SoftmaxClasses
from alpl.networks.loss_prediction import LossPrediction
from alpl.networks.mixture_heads import EfficientMixtureClasses, MixtureBoxes, MixtureClasses
from alpl.networks.proposals import ProposalRules, RegionSampling
from alpl.networks.ssd import Ssd, TinySsd
from alpl.predictions import Need
from alpl.preflight.config import check_config

SUPPRESSION = Suppression(score_thresh=0.2)
GMM = {"classes": MixtureClasses(), "boxes": MixtureBoxes()}
EFF = {"classes": EfficientMixtureClasses(), "boxes": MixtureBoxes()}
RELEASED = {
    "classes": MixtureClasses(noise="as_released", epistemic="as_released"),
    "boxes": MixtureBoxes(density="as_released", encoding="as_released"),
}


def ssd(heads, seed=0, dropout=0.0, **options):
    torch.manual_seed(seed)
    network = partial(Ssd, partial(TinySsd, widths=(4, 8, 8)), dropout=dropout, **heads)
    options |= {"metric": VOCAveragePrecision, "evaluation": SUPPRESSION, "acquisition": SUPPRESSION}
    module = SsdDetector(network, LAYOUT, NUM_CLASSES, optimizer=partial(torch.optim.SGD, lr=0.1), **options)
    module.log = lambda *arguments, **options: None
    return module


def batch_of(number=3, seed=1, side=SIDE, scale=60.0):
    images = torch.randn(number, 3, side, side, generator=torch.Generator().manual_seed(seed)) * scale
    targets = FlatObjects.join([objects_of(image) for image in range(number)])
    sizes = torch.tensor([[50 + 10 * image, 200] for image in range(number)])
    return Batch(images, torch.arange(number) + 4, torch.ones(number, dtype=torch.bool), targets, True, sizes)


# --- Eq. 6


def gmm_loss(gamma, components, shared):
    def loss(classes, image, p, label):
        weights, means, raw = reference.class_values(classes[image][p], components)
        drawn = gamma[image][p]
        return reference.cross_entropy(
            weights, reference.noisy(means, raw, drawn * components if shared else drawn), label
        )

    return loss


def eff_loss(classes, image, p, label):
    weights, means, _ = reference.class_values(classes[image][p], 4, variances=False)
    return reference.cross_entropy(weights, means, label)


@pytest.mark.parametrize("name", ["gmm", "as_released", "single", "eff"])
def test_the_loss_is_eq_6_with_one_draw_for_mining_and_loss(name):
    """The noise is drawn again here, once: were it drawn anew for the loss, the two would differ."""
    single = {"classes": MixtureClasses(1), "boxes": MixtureBoxes(1)}
    heads = {"gmm": GMM, "as_released": RELEASED, "single": single, "eff": EFF}[name]
    module, batch, components = ssd(heads).train(), batch_of(), 1 if name == "single" else 4
    with torch.no_grad():  # spread out, so that the choice of negatives matters
        for head in module.network.class_heads:
            head.weight.mul_(3)
    output = module.network(batch.images)
    classes, boxes = output.classes.double().tolist(), output.boxes.double().tolist()
    torch.manual_seed(7)
    found = module.training_step(batch, 0)["loss"]
    torch.manual_seed(7)
    shared = name != "as_released"
    shape = (*output.classes.shape[:2], 1 if shared else components, NUM_CLASSES + 1)
    class_loss = eff_loss if name == "eff" else gmm_loss(torch.randn(shape).double().tolist(), components, shared)
    targets = [Objects(each.boxes / SIDE, each.labels, each.difficult) for each in map(objects_of, range(3))]
    choice = "as_released" if name == "as_released" else "as_written"
    arguments = (module.priors.tolist(), class_loss, components, choice, choice)
    expected = reference.total(classes, boxes, targets, *arguments)
    assert found.item() == pytest.approx(expected, rel=1e-4) and expected > 1


def test_without_an_object_the_loss_is_zero_and_every_parameter_has_a_gradient():
    for heads in (GMM, EFF, RELEASED):
        module = ssd(heads).train()
        empty = batch_of()._replace(targets=FlatObjects.join([Objects.none()] * 3))
        loss = module.training_step(empty, 0)["loss"]
        loss.backward()
        assert loss == 0 and all(p.grad is not None and not p.grad.any() for p in module.parameters())


@pytest.mark.parametrize("heads", [GMM, EFF, RELEASED, {"boxes": MixtureBoxes(1)}, {"classes": MixtureClasses(1)}])
def test_every_parameter_is_trained(heads):
    module = ssd(heads).train()
    boxes = torch.tensor([[2.0, 3, 8, 9], [14, 14, 26, 26], [0, 0, 16, 16], [4, 4, 28, 28]])  # one of each map
    every = Objects(boxes, torch.arange(4) % NUM_CLASSES, torch.zeros(4, dtype=torch.bool))
    module.training_step(batch_of()._replace(targets=FlatObjects.join([every] * 3)), 0)["loss"].backward()
    missing = [name for name, p in module.named_parameters() if p.grad is None or not p.grad.any()]
    assert not missing, missing


@pytest.mark.parametrize("scale", [60.0, 1e6])
@pytest.mark.parametrize("heads", [GMM, EFF, RELEASED])
def test_training_in_bfloat16_is_finite(heads, scale):
    module = ssd(heads).train()
    with torch.no_grad():
        for head in (*module.network.class_heads, *module.network.box_heads):
            head.weight.mul_(scale / 60)
    with torch.autocast("cpu", torch.bfloat16):
        loss = module.training_step(batch_of(), 0)["loss"]
    loss.backward()
    assert loss.isfinite() and all(p.grad.isfinite().all() for p in module.parameters())


# --- detections


@pytest.mark.parametrize("heads", [GMM, EFF, RELEASED])
@torch.no_grad()
def test_a_detection_keeps_the_mixture_of_its_prior(heads):
    module, batch = ssd(heads).eval(), batch_of()
    needs = Need.POSTERIOR | Need.BOXES | Need.UNCERTAINTIES
    found = module.predict_batch(batch, needs)
    output = module.network(batch.images)
    probs = output.logits.softmax(-1)
    gmm = heads is not EFF
    encoding = heads["boxes"].encoding
    assert len(found.row) > 3 and found.uncertainties.shape == (len(found.row), 4)
    seen = zip(found.row, found.posterior.probs, found.labels, found.boxes, found.uncertainties, strict=True)
    for row, posterior, label, box, said in seen:
        (source,) = (probs[row] == posterior).all(-1).nonzero().flatten().tolist()
        weights, means, raw = reference.class_values(output.classes[row, source].tolist(), 4, variances=gmm)
        assert posterior.tolist() == pytest.approx(reference.posterior(weights, means), abs=1e-6)
        own = int(label) + 1
        chances = [reference.softmax(each)[own] for each in means]
        noise = [reference.sigmoid(each[own]) for each in raw] if gmm else [p - p * p for p in chances]
        column = chances if heads is RELEASED else [each[own] for each in means]
        coordinates = list(zip(*reference.box_values(output.boxes[row, source].tolist(), 4), strict=True))
        expected = [
            reference.mean(weights, noise),
            reference.spread(weights, column),
            max(reference.mean(w, [reference.sigmoid(v) for v in each]) for w, _, each in coordinates),
            max(reference.spread(w, mu) for w, mu, _ in coordinates),
        ]
        assert said.tolist() == pytest.approx(expected, rel=1e-4, abs=1e-6)
        variances = (0.1, 0.1, 0.2, 0.2) if encoding == "as_released" else (1, 1, 1, 1)
        offsets = [v * reference.mean(w, mu) for v, (w, mu, _) in zip(variances, coordinates, strict=True)]
        dx, dy, dw, dh = module.priors[source].double()
        x, y, w, h = (
            dx + offsets[0] * dw,
            dy + offsets[1] * dh,
            *(torch.tensor(offsets[2:]).exp() * torch.stack([dw, dh])),
        )
        height, width = batch.sizes[row].tolist()
        edges = [(x - w / 2) * width, (y - h / 2) * height, (x + w / 2) * width, (y + h / 2) * height]
        assert box.tolist() == pytest.approx([float(edge) for edge in edges], rel=1e-3, abs=1e-2)


@torch.no_grad()
def test_detection_is_without_noise_and_uncertainties_are_given_only_where_asked():
    module, batch = ssd(GMM).eval(), batch_of()
    one, two = (module.predict_batch(batch, Need.POSTERIOR | Need.UNCERTAINTIES) for _ in range(2))
    assert torch.equal(one.posterior.probs, two.posterior.probs) and torch.equal(one.uncertainties, two.uncertainties)
    assert module.predict_batch(batch, Need.POSTERIOR).uncertainties is None
    assert Need.UNCERTAINTIES in module.provides and Need.UNCERTAINTIES not in ssd({}).provides
    half = ssd({"boxes": MixtureBoxes()}).eval().predict_batch(batch, Need.UNCERTAINTIES).uncertainties
    assert half[:, :2].isnan().all() and half[:, 2:].isfinite().all()


@torch.no_grad()
def test_no_detection_has_no_uncertainty():
    module = ssd(GMM, acquisition=Suppression(score_thresh=0.999)).eval()
    module.acquisition = Suppression(score_thresh=0.999)
    found = module.predict_batch(batch_of(), Need.UNCERTAINTIES)
    assert found.uncertainties.shape == (0, 4)


def test_views_ensembles_consistency_and_loss_prediction_come_with_the_detector():
    """AL-MDN's baselines are all of them on its own architecture (Table 4)."""
    options = {"consistency": FlipConsistency(), "loss_prediction": LossPrediction, "num_passes": 3}
    module = ssd(GMM, dropout=0.5, **options).train()
    module._trainer = type("Trainer", (), {"global_step": 1, "estimated_stepping_batches": 4})()
    module.training_step(batch_of(), 0)["loss"].backward()
    assert all(p.grad is not None for p in module.parameters())
    with torch.no_grad():
        module.eval()
        found = module.predict_batch(batch_of(), Need.POSTERIOR | Need.VIEWS | Need.PREDICTED_LOSS)
        assert found.views.probs.shape == (3, len(found.row), NUM_CLASSES + 1) and found.predicted_loss.shape == (3,)
        torch.testing.assert_close(found.views.probs.sum(-1), torch.ones(3, len(found.row)))
        members = [ssd(GMM, seed).eval() for seed in range(2)]
        both = SsdDetector.ensemble(members).eval().predict_batch(batch_of(), Need.POSTERIOR | Need.VIEWS)
        torch.testing.assert_close(both.views.probs.mean(0), both.posterior.probs)


def test_an_acquisition_may_ask_for_uncertainties():
    class ByBoxes(AbstractObjectRanking):
        needs = Need.UNCERTAINTIES

        def object_values(self, context):
            values = context.predictions.uncertainties[:, 2]
            return ObjectValues(torch.arange(len(values)), values)

    rehearse(ByBoxes(), ssd(GMM).provides, num_classes=NUM_CLASSES)


# --- Faster R-CNN


def faster_rcnn(heads, **options):
    torch.manual_seed(0)
    network = partial(
        FasterRcnn,
        partial(TinyFpn, width=16, widths=(4, 8, 8, 8, 12)),
        anchor_sizes=((12.0,), (20.0,), (34.0,), (56.0,)),
        num_roi_maps=3,
        roi_size=3,
        canonical_scale=64,
        head_width=20,
        proposals=ProposalRules(60, 50, 70, 60, batch_size_per_image=32),
        sampling=RegionSampling(batch_size_per_image=24),
        background_boxes=False,
        **heads,
    )
    options |= {"metric": VOCAveragePrecision, "evaluation": SUPPRESSION, "acquisition": SUPPRESSION}
    module = FasterRcnnDetector(network, NUM_CLASSES, optimizer=partial(torch.optim.SGD, lr=0.1), **options)
    module.log = lambda *arguments, **options: None
    with torch.no_grad():
        module.network.roi_heads.box_predictor.cls_score.weight.mul_(10)
    return module


@pytest.mark.parametrize("heads", [GMM, EFF])
def test_losses_of_the_second_stage(heads, monkeypatch):
    """Mean of Eq. 5 or 9 over the sampled proposals, sum of Eq. 3 over those with an object by the number of all."""
    module, batch = faster_rcnn(heads).train(), batch_of(side=96)
    network, taken = module.network, []
    sample = network.roi_heads.select_training_samples
    monkeypatch.setattr(network.roi_heads, "select_training_samples", lambda *a: taken.append(sample(*a)) or taken[0])
    said = []
    network.roi_heads.box_predictor.register_forward_hook(lambda layer, given, out: said.append(out))
    objects = [batch.targets.of(row) for row in range(3)]
    targets = [{"boxes": each.boxes * 3, "labels": each.labels + 1} for each in objects]
    losses = network.losses(batch.images, [(96, 96)] * 3, targets).parts
    labels, aims = torch.cat(taken[0][2]), torch.cat(taken[0][3])
    classes, boxes = said[0][0], said[0][1].view(len(labels), NUM_CLASSES, 48)  # no box of the background
    positive = (labels > 0).nonzero().flatten().tolist()
    assert 0 < len(positive) < len(labels)
    box_loss = 0.0
    for n in positive:
        columns = zip(*reference.box_values(boxes[n, labels[n] - 1].tolist(), 4), strict=True)
        wanted = (aims[n] * torch.tensor([0.1, 0.1, 0.2, 0.2])).tolist()
        box_loss += sum(reference.nll(*column, g, "as_written") for column, g in zip(columns, wanted, strict=True)) / 2
    assert losses["loss_box_reg"].item() == pytest.approx(box_loss / len(labels), rel=1e-4)
    if heads is EFF:
        each = [eff_loss([classes.tolist()], 0, n, int(label)) for n, label in enumerate(labels)]
        assert losses["loss_classifier"].item() == pytest.approx(sum(each) / len(each), rel=1e-4)
    sum(losses.values()).backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in network.roi_heads.parameters())


@pytest.mark.parametrize("heads", [GMM, EFF, {"classes": SoftmaxClasses(), "boxes": PointBoxes(1 / 9)}])
@torch.no_grad()
def test_a_region_keeps_the_mixture_of_its_class(heads):
    module, batch = faster_rcnn(heads).eval(), batch_of(side=96)
    given = Need.UNCERTAINTIES & module.provides
    found = module.predict_batch(batch, Need.POSTERIOR | Need.BOXES | given)
    network = module.network
    maps = network.backbone(batch.images)
    proposals = network.proposals(maps, batch.images, [(96, 96)] * 3)
    output = network.regions(maps, proposals, batch.images)
    assert output.deltas.shape == (len(output.classes), NUM_CLASSES + 1, 4)
    assert not output.boxes[:, 0].any()  # of the background, which has none
    probs = output.logits.softmax(-1)
    assert len(found.row) > 3
    for n, (posterior, label) in enumerate(zip(found.posterior.probs, found.labels, strict=True)):
        source = (probs == posterior).all(-1).nonzero().flatten()[0]
        box = network.decode(output.deltas[source, label + 1][None], torch.cat(proposals)[source][None])[0]
        box = box.clamp(0, 96) / 96 * batch.sizes[found.row[n]][[1, 0, 1, 0]]
        torch.testing.assert_close(found.boxes[n], box, atol=1e-3, rtol=1e-4)
        if given:
            own = output.classes[source][None], output.boxes[source, label + 1][None], label[None]
            torch.testing.assert_close(found.uncertainties[n][None], output.heads.uncertainties(*own))
    assert bool(given) == isinstance(heads["boxes"], MixtureBoxes)


# --- configs

HEADS = [
    "plain",
    "gmm",
    "eff",
    "gmm_as_released",
    "eff_as_released",
    "gmm_box",
    "gmm_class",
    "gaussian_box",
    "gaussian_class",
]


@pytest.mark.sample(5)
@pytest.mark.parametrize("model", ["ssd_tiny", "faster_rcnn_tiny"])
@pytest.mark.parametrize("head", HEADS)
def test_every_head_fits_every_detector_that_has_one(head, model):
    config = composed("data=digit_scenes", f"model={model}", f"model/head@model.network={head}")
    check_config(config)
    module = instantiate(config.model, num_classes=10, _convert_="all")
    found = module.eval().predict_batch(batch_of(1, side=96), Need.POSTERIOR)
    assert found.posterior.probs.shape[1] == 11
    assert (Need.UNCERTAINTIES in module.provides) == (head != "plain")
    assert {path.stem for path in (CONF / "model" / "head").glob("*.yaml")} == set(HEADS)


@pytest.mark.slow
def test_every_model_with_a_mixture_is_complete():
    names = {path.stem for path in (CONF / "model").glob("*.yaml") if {"gmm", "eff"} & set(path.stem.split("_"))}
    assert {"ssd300_vgg16_gmm", "ssd300_vgg16_eff_coco", "ssd300_vgg16_gmm_as_released", "ssd_tiny_eff"} < names
    assert {"faster_rcnn_r50_gmm", "faster_rcnn_r50_eff", "faster_rcnn_tiny_gmm", "faster_rcnn_tiny_eff"} < names
    for name in names:
        config = composed("data=digit_scenes", f"model={name}")
        check_config(config)
        network = config.model.network
        assert ("MixtureClasses" in network.classes._target_) and ("Efficient" in network.classes._target_) == (
            "eff" in name.split("_")
        )
        assert network.boxes.density == ("as_released" if "released" in name else "as_written")
        assert network.get("background_boxes", False) is False and "resize" in config.data


@pytest.mark.parametrize("data", ["voc07", "coco2014"])
@pytest.mark.parametrize("head", ["gmm", "eff"])
def test_ssd300_is_trained_as_released(data, head):
    model = f"ssd300_vgg16_{head}" + ("_coco" if data.startswith("coco") else "")
    config = composed(f"data={data}", f"model={model}", "model.network.backbone.weights=null")
    check_config(config)
    num_classes = 80 if data.startswith("coco") else 20
    with torch.device("meta"):
        network = instantiate(config.model.network, _convert_="all")(
            num_outputs=num_classes + 1, boxes_per_cell=[4, 6, 6, 6, 4, 4]
        )
    exact = {"voc07gmm": 52_349_576, "voc07eff": 41_121_968, "coco2014gmm": 116_507_336, "coco2014eff": 73_200_848}
    assert sum(p.numel() for p in network.parameters()) == exact[data + head]
    assert config.data.batch_size == 32 and config.model.acquisition.nms_thresh == 0.45
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=config.model.optimizer.lr)
    warmup = instantiate(config.model.warmup)(optimizer)
    rates = [optimizer.param_groups[0]["lr"]]
    for _ in range(1000):
        optimizer.step()
        warmup.step()
        rates.append(optimizer.param_groups[0]["lr"])
    assert rates[0] == pytest.approx(1e-3 * 1e-12) and rates[499] == pytest.approx(1e-3 / 16)
    assert rates[999] == rates[1000] == pytest.approx(1e-3)


@pytest.mark.parametrize("make", [ssd, lambda heads, seed=0, **options: faster_rcnn(heads, **options)])
@torch.no_grad()
def test_an_ensemble_may_be_tested_by_its_first_member(make):
    """Tables 4 and 5: for the first cycle Random and Ensemble have the same mAP."""

    def said(module, members=1):
        batch = batch_of(side=96) if isinstance(module, FasterRcnnDetector) else batch_of()
        seen = []
        whole = module if members == 1 else type(module).ensemble([module, make(GMM, seed=1).eval()]).eval()
        if members > 1 and isinstance(module, FasterRcnnDetector):  # its members are made from one seed
            whole.detectors[1].network.roi_heads.box_predictor.cls_score.weight.mul_(-1)
        whole.metric.update = lambda images, targets: seen.extend(images)
        whole.test_step(batch, 0)
        return torch.cat([image["scores"] for image in seen])

    alone = said(make(GMM).eval())
    assert len(alone) and torch.equal(said(make(GMM, tested_members="first").eval(), 2), alone)
    together = said(make(GMM).eval(), 2)
    assert together.shape != alone.shape or not torch.equal(together, alone)
    with pytest.raises(ConfigError, match=r"model\.tested_members must be all or first, got 'last'"):
        make(GMM, tested_members="last")
