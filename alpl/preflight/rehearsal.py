"""A rehearsal of the select stage on made-up predictions, before any training.

An acquisition, maybe a user's own, that gives NaN, breaks its contract, does not fit the model's predictions or does
not run at all should say so in the first seconds, not after the first fit.
"""

from __future__ import annotations

from typing import Any

import torch

from alpl.acquisition.base import AbstractAcquisition, Context, Query
from alpl.errors import ConfigError
from alpl.machine.seeding import generator, undisturbed
from alpl.pool import Index, Pool
from alpl.predictions import FIELDS, FROM_MODULE, FROM_PARTNER, Need, Predictions
from alpl.predictions.fields import MadeUp

_NUM_IMAGES, _NUM_LABELED, _BUDGET = 40, 10, 3
_PREDICTED = FROM_MODULE | FROM_PARTNER


def rehearse(
    acquisition: AbstractAcquisition, shown: Predictions | None, num_classes: int, *, is_detection: bool
) -> None:
    """Let an acquisition choose 3 of 30 made-up images.

    Args:
        acquisition: the one to try.
        shown: what the made-up predictions are like: which fields, how wide, how many outputs and views, and which
            uncertainties are known; None where the acquisition needs none.
        num_classes: K.
        is_detection: whether images have 0 to 3 instances, or one each.

    Raises:
        ConfigError: it fails, or its query breaks the contract.
    """
    pool = Pool.create(_NUM_IMAGES, torch.arange(0, _NUM_IMAGES, _NUM_IMAGES // _NUM_LABELED))
    draw, name = generator(0, "rehearsal"), type(acquisition).__name__
    scenes = {
        which: _scene(index, shown, num_classes, is_detection, draw)
        for which, index in (("unlabeled", pool.unlabeled), ("labeled", pool.labeled))
    }
    wanted = {which: make_up(scene, acquisition.needs) for which, scene in scenes.items()}
    context = Context(
        pool=pool,
        budget=_BUDGET,
        seed=0,
        unlabeled=_predictions(scenes["unlabeled"], wanted["unlabeled"]) if acquisition.needs & _PREDICTED else None,
        labeled=_predictions(scenes["labeled"], wanted["labeled"]) if Need.LABELED in acquisition.needs else None,
        **{row.name: wanted["unlabeled"][row.name] for row in FIELDS if row.need & acquisition.needs & ~_PREDICTED},
    )
    try:
        with undisturbed():
            check_query(acquisition.select(context), pool, _BUDGET, name)
    except Exception as error:
        text = f"{type(error).__name__}: {' '.join(str(error).split())}"
        raise ConfigError(f"acquisition {name} fails on a trial before training: {text}") from error


def kind_of(shown: Predictions) -> tuple[object, ...]:
    """Give what a rehearsal reads of the predictions that it is shown: two of one kind make for the same rehearsal."""
    posteriors = [
        None if value is None else (value.probs.shape[:-2], value.probs.shape[-1], value.form)
        for value in (shown.posterior, shown.views)
    ]
    of_views = shown.view_ious, shown.view_scores
    parts = (shown.features, shown.image_features, shown.predicted_loss, shown.uncertainties, *of_views)
    widths = [None if value is None else value.shape[1:] for value in parts]
    given = shown.uncertainties
    unknown = None if given is None or not len(given) else tuple(given.isnan().all(0).tolist())
    return (*posteriors, *widths, unknown)


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


def make_up(scene: MadeUp, needs: Need) -> dict[str, Any]:
    """Make up the fields that are needed, by name, in the order of the table."""
    for row in FIELDS:
        if row.need in needs:
            scene.made[row.name] = row.make_up(scene)
    return scene.made


def _scene(
    index: Index, shown: Predictions | None, num_classes: int, is_detection: bool, draw: torch.Generator
) -> MadeUp:
    """Nothing is found on every fourth image of a detector."""
    counts = torch.arange(len(index)) % 4 if is_detection else torch.ones(len(index), dtype=torch.long)
    row = torch.arange(len(index)).repeat_interleave(counts)
    seen = {} if shown is None else {name: getattr(shown, name) for name in shown.forms()}
    return MadeUp(index, row, _NUM_LABELED, num_classes, is_detection, draw, seen)


def _predictions(scene: MadeUp, made: dict[str, Any]) -> Predictions:
    """Labels and scores, which are always there, follow from the posterior; and the fields that are needed."""
    posterior = made.get("posterior")
    foreground = (
        torch.rand(len(scene.row), scene.num_classes, generator=scene.draw)
        if posterior is None
        else posterior.foreground
    )
    own = {row.name: made[row.name] for row in FIELDS if row.in_predictions and row.name in made}
    return Predictions(scene.index, scene.row, labels=foreground.argmax(-1), scores=foreground.amax(-1), **own)
