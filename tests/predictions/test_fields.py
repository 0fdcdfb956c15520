"""The table of fields: every row has its place, and everything follows from it."""

from dataclasses import fields

import numpy as np
import pytest
import torch

from alpl.acquisition import Context
from alpl.boxes.objects import Objects
from alpl.machine.seeding import generator
from alpl.pool import EXCLUDED, Pool
from alpl.predictions import FIELDS, FROM_MODULE, FROM_PARTNER, Need, Posterior, Predictions
from alpl.predictions.fields import hint_for, needs_from
from alpl.preflight.rehearsal import _scene, make_up


def test_every_row_has_an_attribute_in_its_holder() -> None:
    held = {True: {field.name for field in fields(Predictions)}, False: {field.name for field in fields(Context)}}
    for row in FIELDS:
        assert row.name in held[row.in_predictions], row.name
        assert row.name not in held[not row.in_predictions], row.name


def test_every_need_but_labeled_has_a_row() -> None:
    rows = [(row.need, row.name) for row in FIELDS]
    assert len(rows) == len(set(rows))
    assert {need for need, _ in rows} == {need for need in Need if need.value and need is not Need.LABELED}


def test_needs_are_split_by_provider() -> None:
    assert needs_from("module") == FROM_MODULE and FROM_PARTNER == Need.LABELEDNESS
    assert not FROM_MODULE & needs_from("partner", "tracker", "data", "oracle", "motion")


def test_hints_come_in_the_order_of_the_table() -> None:
    assert hint_for(Need.FEATURES | Need.VIEWS, is_detection=True).startswith("set model.network.dropout")
    assert hint_for(Need.POSTERIOR, is_detection=True) == ""


def test_a_classifier_is_not_told_what_a_detector_would_do() -> None:
    assert "method=llal" in hint_for(Need.PREDICTED_LOSS, is_detection=False)
    assert hint_for(Need.UNCERTAINTIES, is_detection=True).startswith("SSD and Faster R-CNN do")
    for row in FIELDS:
        if row.of_detectors:
            assert hint_for(row.need, is_detection=False) == "no classifier does: it is of detections"


def _shown() -> Predictions:
    """One image with one instance of everything that a module gives."""
    return Predictions(
        torch.tensor([3]),
        torch.tensor([0]),
        posterior=Posterior(torch.ones(1, 4) / 4),
        logits=torch.zeros(1, 4),
        boxes=torch.tensor([[0.0, 0.0, 1.0, 1.0]]),
        features=torch.zeros(1, 5),
        image_features=torch.zeros(1, 6),
        views=Posterior(torch.ones(2, 1, 4) / 4),
        predicted_loss=torch.zeros(1),
        uncertainties=torch.tensor([[0.1, 0.2, float("nan"), 0.4]]),
        view_ious=torch.zeros(1, 1),
        view_scores=torch.zeros(1, 1, 4),
    )


@pytest.mark.parametrize("is_detection", [False, True])
def test_everything_can_be_made_up(is_detection: bool) -> None:
    everything = needs_from("module", "partner", "tracker", "data", "oracle", "motion")
    scene = _scene(torch.arange(12), _shown(), 4, is_detection, generator(0, "x"))
    made = make_up(scene, everything)
    sizes = {"image": 12, "instance": len(scene.row), "class": 4, "labeled": scene.num_labeled}
    for row in FIELDS:
        value = made[row.name]
        if row.per in sizes:
            assert len(value.probs if isinstance(value, Posterior) else value) == sizes[row.per], row.name
    assert made["views"].probs.shape == (2, len(scene.row), 4) and made["history"].shape[1] == 12
    assert torch.equal(made["posterior"].probs, made["views"].probs[0])
    assert made["uncertainties"].isnan().all(0).tolist() == [False, False, True, False]
    assert isinstance(made["targets"][0], Objects) == is_detection


def test_context_among_narrows_every_field_of_images() -> None:
    pool = Pool.create(8, torch.tensor([0, 4]), torch.tensor([7]))  # unlabeled: 1 2 3 5 6
    unlabeled = Predictions(pool.unlabeled, torch.tensor([0, 0, 2, 3, 4]), predicted_loss=torch.arange(5.0))
    context = Context(
        pool,
        2,
        0,
        unlabeled=unlabeled,
        history=np.arange(10).reshape(2, 5),
        class_counts=torch.tensor([1, 1]),
        sizes=torch.arange(10).reshape(5, 2),
        targets=[f"object {n}" for n in range(5)],
        labeled_targets=torch.tensor([0, 1]),
    )
    few = context.among(torch.tensor([2, 6]))
    assert few.pool.unlabeled.tolist() == [2, 6] and few.pool.labeled.tolist() == [0, 4]
    assert few.unlabeled is not None and few.unlabeled.index.tolist() == [2, 6]
    assert few.unlabeled.row.tolist() == [1] and few.unlabeled.predicted_loss.tolist() == [1, 4]
    assert few.history.tolist() == [[1, 4], [6, 9]] and few.sizes.tolist() == [[2, 3], [8, 9]]
    assert few.targets == ["object 1", "object 4"]
    assert few.class_counts is context.class_counts and few.labeled_targets is context.labeled_targets
    again = few.among(torch.tensor([6]))  # of what was narrowed before
    assert again.unlabeled.predicted_loss.tolist() == [4] and again.history.tolist() == [[4], [9]]


def test_pools_among_and_without() -> None:
    pool = Pool.create(6, torch.tensor([0]), torch.tensor([5]))
    assert pool.among(torch.tensor([3])).cycle.tolist() == [0, EXCLUDED, EXCLUDED, -1, EXCLUDED, EXCLUDED]
    assert pool.without(torch.tensor([0, 3, 5])).cycle.tolist() == [0, -1, -1, EXCLUDED, -1, EXCLUDED]
    with pytest.raises(ValueError, match="index must hold unlabeled images only, got \\[0\\]"):
        pool.among(torch.tensor([0, 1]))


def test_only_keeps_what_is_needed() -> None:
    shown = _shown()
    kept = set(shown.only(Need.FLIP | Need.BOXES).forms())
    assert kept == {"index", "row", "boxes", "views"}
    assert set(_shown().only(Need.AUGMENTED).forms()) == {"index", "row", "views", "view_ious", "view_scores"}
