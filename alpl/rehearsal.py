"""A rehearsal of the select stage on made-up predictions, before any training.

An acquisition, maybe a user's own, that gives NaN, breaks its contract or does not run at all should say so in the
first second, not after the first fit.
"""

from __future__ import annotations

import torch

from alpl.acquisition.base import AbstractAcquisition, Context, Query
from alpl.errors import ConfigError
from alpl.pool import Pool
from alpl.predictions import FROM_MODULE, UNCERTAINTIES, Form, Need, Posterior, Predictions
from alpl.seeding import generator

_NUM_IMAGES, _NUM_LABELED, _BUDGET = 40, 10, 3
_NUM_FEATURES, _NUM_VIEWS, _NUM_EPOCHS = 60, 3, 5  # 60: of so many layers as one likes


def rehearse(acquisition: AbstractAcquisition, provided: Need, num_classes: int) -> None:
    """Let an acquisition choose 3 of 30 made-up images.

    Args:
        acquisition: the one to try.
        provided: what the module provides; with boxes, images have several instances and softmax with background.
        num_classes: K.

    Raises:
        ConfigError: it fails, or its query breaks the contract.
    """
    pool = Pool.create(_NUM_IMAGES, torch.arange(0, _NUM_IMAGES, _NUM_IMAGES // _NUM_LABELED))
    random = generator(0, "rehearsal")
    needs, is_detection = acquisition.needs, Need.BOXES in provided
    labels = torch.randint(num_classes, (_NUM_EPOCHS, len(pool.unlabeled)), generator=random)
    context = Context(
        pool=pool,
        budget=_BUDGET,
        seed=0,
        unlabeled=_predictions(pool.unlabeled, needs, is_detection, num_classes, random)
        if needs & FROM_MODULE
        else None,
        labeled=_predictions(pool.labeled, needs, is_detection, num_classes, random) if Need.LABELED in needs else None,
        history=labels.numpy() if Need.HISTORY in needs else None,
        class_counts=torch.randint(5, (num_classes,), generator=random) if Need.CLASS_COUNTS in needs else None,
        targets=labels[0] if Need.TARGETS in needs else None,
    )
    try:
        check_query(acquisition.select(context), pool, _BUDGET, type(acquisition).__name__)
    except Exception as error:
        text = " ".join(str(error).split())
        raise ConfigError(f"acquisition fails on made-up predictions: {type(error).__name__}: {text}") from error


def check_query(query: Query, pool: Pool, budget: int, name: str) -> None:
    """Hold an acquisition to its contract.

    Raises:
        ValueError: not ``budget`` different unlabeled images, or not a finite utility for each.
    """
    if len(query.index) != budget:
        raise ValueError(f"{name}.select must choose {budget} images, got {len(query.index)}")
    if query.utility.shape != query.index.shape or not bool(torch.isfinite(query.utility).all()):
        raise ValueError(f"{name}.select must give one finite utility per image, got {query.utility[:5].tolist()}")
    pool.reveal(query.index)  # raises where an image is not unlabeled, or comes twice


def _predictions(
    index: torch.Tensor, needs: Need, is_detection: bool, num_classes: int, random: torch.Generator
) -> Predictions:
    """Make up predictions with the fields that are needed; a detector finds nothing on every fourth image."""
    counts = torch.arange(len(index)) % 4 if is_detection else torch.ones(len(index), dtype=torch.long)
    row = torch.arange(len(index)).repeat_interleave(counts)
    form = Form.BACKGROUND if is_detection else Form.SOFTMAX
    num_views = 2 if Need.FLIP in needs else _NUM_VIEWS
    logits = torch.randn(num_views, len(row), num_classes + is_detection, generator=random)
    views = Posterior(logits.softmax(-1), form)
    foreground = views[0].foreground.max(-1)
    corner = torch.rand(len(row), 2, generator=random) * 50
    return Predictions(
        index=index,
        row=row,
        posterior=views[0] if Need.POSTERIOR in needs else None,
        labels=foreground.indices,
        scores=foreground.values,
        boxes=torch.cat([corner, corner + 10], 1) if Need.BOXES in needs else None,
        features=torch.randn(len(row), _NUM_FEATURES, generator=random) if Need.FEATURES in needs else None,
        image_features=torch.randn(len(index), _NUM_FEATURES, generator=random)
        if Need.IMAGE_FEATURES in needs
        else None,
        views=views if needs & (Need.VIEWS | Need.FLIP) else None,
        predicted_loss=torch.randn(len(index), generator=random) if Need.PREDICTED_LOSS in needs else None,
        uncertainties=torch.rand(len(row), len(UNCERTAINTIES), generator=random)
        if Need.UNCERTAINTIES in needs
        else None,
    )
