"""The detector: whole posteriors of what survives suppression, views aligned by prior, and runs from end to end."""

import json
from dataclasses import fields
from functools import partial
from pathlib import Path

import pytest
import torch
from command import alpl

from alpl.boxes.box_coding import decode
from alpl.boxes.objects import Objects
from alpl.boxes.priors import TINY_96
from alpl.data.batch import Batch
from alpl.data.scene_batches import FlatObjects
from alpl.metrics.voc_ap import VOCAveragePrecision
from alpl.modules.detection_features import PointFeatures, RoiFeatures
from alpl.modules.detector import Suppression
from alpl.modules.ssd import SsdDetector
from alpl.networks.loss_prediction import LossPrediction
from alpl.networks.ssd import Ssd, TinySsd
from alpl.predictions import Form, Need

NUM_CLASSES = 3
EXTRAS = {"features": RoiFeatures(), "loss_prediction": LossPrediction}
ALL = Need.POSTERIOR | Need.BOXES | Need.IMAGE_FEATURES | Need.VIEWS


def detector(seed=0, dropout=0.1, **options):
    torch.manual_seed(seed)
    network = partial(Ssd, partial(TinySsd, widths=(4, 8, 8)), dropout=dropout)
    settings = {"evaluation": Suppression(), "acquisition": Suppression(score_thresh=0.2), "num_passes": 4} | options
    optimizer = partial(torch.optim.SGD, lr=0.1)
    settings |= {"metric": VOCAveragePrecision, "optimizer": optimizer}
    return SsdDetector(network, TINY_96, NUM_CLASSES, **settings).eval()


def batch_of(number=3, labeled=None, seed=1):
    images = torch.randn(number, 3, 96, 96, generator=torch.Generator().manual_seed(seed)) * 60
    labeled = torch.ones(number, dtype=torch.bool) if labeled is None else torch.tensor(labeled)
    objects = [
        Objects(torch.tensor([[10.0, 20.0, 40.0, 60.0]]), torch.tensor([row % NUM_CLASSES]), torch.tensor([False]))
        for row in range(int(labeled.sum()))
    ]
    sizes = torch.tensor([[50 + 10 * row, 200] for row in range(number)])
    return Batch(images, torch.arange(number) + 7, labeled, FlatObjects.join(objects), False, sizes)


@torch.no_grad()
def test_a_detection_keeps_the_posterior_and_box_of_its_prior():
    module, batch = detector(), batch_of()
    found = module.predict_batch(batch, ALL)
    assert len(found.row) > 3 and found.posterior.form is Form.BACKGROUND
    output = module.network(batch.images)
    probs = output.logits.softmax(-1)
    unit = decode(output.deltas, module.priors)
    for row, posterior, label, score, box in zip(
        found.row, found.posterior.probs, found.labels, found.scores, found.boxes, strict=True
    ):
        (source,) = (probs[row] == posterior).all(-1).nonzero().flatten().tolist()
        assert posterior.sum() == pytest.approx(1, abs=1e-5) and posterior[label + 1] == score > 0.2
        cx, cy, w, h = unit[row, source].tolist()
        height, width = batch.sizes[row].tolist()
        expected = [(cx - w / 2) * width, (cy - h / 2) * height, (cx + w / 2) * width, (cy + h / 2) * height]
        assert box.tolist() == pytest.approx(expected, abs=1e-3)
    assert torch.equal(found.index, batch.index) and found.image_features.shape == (3, 8)


@torch.no_grad()
def test_views_are_passes_with_dropout_on_and_batch_norm_off():
    module, batch = detector(dropout=0.5), batch_of()
    torch.manual_seed(3)
    found = module.predict_batch(batch, ALL)
    assert found.views.probs.shape == (4, len(found.row), NUM_CLASSES + 1)
    assert not torch.equal(found.views.probs[0], found.views.probs[1])
    assert not any(layer.training for layer in module.modules())
    # the detections themselves are those of the pass without dropout
    assert torch.equal(found.posterior.probs, module.predict_batch(batch, Need.POSTERIOR).posterior.probs)
    assert Need.VIEWS not in detector(dropout=0.0).provides and Need.VIEWS in module.provides


@torch.no_grad()
def test_the_flip_view_is_the_mirrored_cell_of_the_mirrored_image():
    module, batch = detector(), batch_of(2)
    found = module.predict_batch(batch, Need.POSTERIOR | Need.FLIP)
    assert found.views.probs.shape == (2, len(found.row), NUM_CLASSES + 1)
    assert torch.equal(found.views.probs[0], found.posterior.probs)
    own = module.network(batch.images).logits.softmax(-1)
    mirrored = module.network(batch.images.flip(-1)).logits.softmax(-1)
    for row, mine, partner in zip(found.row, *found.views.probs, strict=True):
        (source,) = (own[row] == mine).all(-1).nonzero().flatten().tolist()
        assert torch.equal(mirrored[row, module.mirror[source]], partner)
    centers = module.priors[:, 0]  # the mirrored cell; exact where the map's step divides the image, as here
    torch.testing.assert_close(centers[module.mirror], 1 - centers)


def test_only_what_is_needed_is_given():
    found = detector(**EXTRAS).predict_batch(batch_of(), Need.NOTHING)
    given = {name for name in ("index", "row", "labels", "scores") if getattr(found, name) is not None}
    assert {field.name for field in fields(found) if getattr(found, field.name) is not None} == given
    assert len(found.labels) == len(found.scores) == len(found.row)


@pytest.mark.parametrize(
    ("needs", "images"),
    [(Need.POSTERIOR | Need.FEATURES | Need.PREDICTED_LOSS, 3), (Need.FLIP, 6), (Need.NOTHING, 3), (Need.VIEWS, 3)],
)
def test_the_mirrored_pass_is_made_only_where_it_is_asked_for(needs, images):
    module, seen = detector(**EXTRAS), []
    module.network.backbone.layers.register_forward_hook(lambda layer, given, out: seen.append(len(out)))
    module.predict_batch(batch_of(), needs)
    assert sum(seen) == images


@torch.no_grad()
def test_features_are_those_of_the_detections_boxes_and_cells():
    needs = Need.FEATURES | Need.BOXES | Need.POSTERIOR
    batch = batch_of()
    for features in (RoiFeatures(level=2), PointFeatures()):
        module = detector(features=features)
        found = module.predict_batch(batch, needs)
        output = module.network(batch.images)
        assert found.features.shape == (len(found.row), 8) and len(found.row) > 3
        scale = batch.sizes[found.row][:, [1, 0, 1, 0]]
        probs = output.logits.softmax(-1)
        sources = [
            int((probs[row] == mine).all(-1).nonzero())
            for row, mine in zip(found.row, found.posterior.probs, strict=True)
        ]
        expected = features(output.maps, found.boxes / scale, found.row, torch.tensor(sources), TINY_96.boxes_per_cell)
        torch.testing.assert_close(found.features, expected, atol=1e-4, rtol=1e-4)
    assert Need.FEATURES in module.provides and Need.FEATURES not in detector().provides


@torch.no_grad()
def test_predicted_losses_are_given_image_by_image():
    module, batch = detector(loss_prediction=LossPrediction), batch_of()
    found = module.predict_batch(batch, Need.PREDICTED_LOSS)
    assert torch.equal(found.predicted_loss, module.loss_prediction(module.network(batch.images).maps))
    assert Need.PREDICTED_LOSS in module.provides and Need.PREDICTED_LOSS not in detector().provides


def test_the_loss_is_that_of_the_labeled_images_alone():
    module = detector(dropout=0.0)
    module.log = lambda *arguments, **options: None
    batch = batch_of(labeled=[False, True, True])
    alone = batch._replace(images=batch.images[1:], labeled=batch.labeled[1:], index=batch.index[1:])
    assert torch.equal(module.training_step(batch, 0)["loss"], module.training_step(alone, 0)["loss"])
    nothing = batch_of(labeled=[False, False, False])
    loss = module.training_step(nothing, 0)["loss"]
    loss.backward()
    assert loss == 0 and all(p.grad is not None and not p.grad.any() for p in module.parameters())


@torch.no_grad()
def test_an_ensemble_is_the_mean_of_its_members_prior_by_prior():
    members, batch = [detector(seed) for seed in range(3)], batch_of()
    ensemble = SsdDetector.ensemble(members).eval()
    found = ensemble.predict_batch(batch, ALL)
    torch.testing.assert_close(found.views.probs.mean(0), found.posterior.probs)
    for view, member in zip(found.views.probs, members, strict=True):
        probs = member.network(batch.images).logits.softmax(-1)
        for row, posterior in zip(found.row, view, strict=True):
            assert (probs[row] == posterior).all(-1).any()
    single = SsdDetector.ensemble(members[:1]).eval().predict_batch(batch, Need.POSTERIOR | Need.BOXES)
    own = members[0].predict_batch(batch, Need.POSTERIOR | Need.BOXES)
    assert torch.equal(single.posterior.probs, own.posterior.probs) and torch.equal(single.boxes, own.boxes)


RUN = [
    "data=digit_scenes",
    "+data.source.num_train=24",
    "+data.source.num_test=8",
    "trainer.max_epochs=2",
    "schedule.initial.size=8",
    "schedule.budget=4",
    "schedule.cycles=1",
    "model.num_passes=2",
]


def metrics(run: Path, cycle: int) -> dict:
    return json.loads((run / f"cycle_0{cycle}" / "metrics.json").read_text())


@pytest.mark.slow
@pytest.mark.parametrize(
    "extra",
    [
        [],
        *(
            pytest.param(extra, marks=pytest.mark.slow)
            for extra in (
                ["num_members=2"],
                ["data.labeled_fraction=0.5", "data.num_workers=1"],
                ["method=llal"],
                ["method=elezi"],
            )
        ),
    ],
)
def test_runs_from_end_to_end_and_twice_the_same(tmp_path: Path, extra: list[str]) -> None:
    first, second = (alpl(tmp_path / name, *RUN, *extra).run_folder() for name in ("first", "second"))
    assert metrics(first, 1)["num_labeled"] == 12 and 0 <= metrics(first, 1)["test/map"] <= 1
    assert len(metrics(first, 1)["test/map_per_class"]) == 10
    for name in ("cycle_00/query.csv", "cycle_01/model.pt", "metrics.csv"):
        assert (first / name).read_bytes() == (second / name).read_bytes()


@pytest.mark.slow
def test_acquisitions_of_whole_images_are_refused_before_training(tmp_path: Path) -> None:
    result = alpl(tmp_path, *RUN, "acquisition=entropy")
    assert result.status == 2 and "predictions must hold one instance an image" in result.err
    for acquisition in ("kcenter", "detection_entropy", "flip_inconsistency"):
        assert alpl(tmp_path, *RUN, f"acquisition={acquisition}").status == 0
