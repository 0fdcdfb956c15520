"""A rehearsal of the select stage on made-up predictions, before any training.

An acquisition, maybe a user's own, that gives NaN, breaks its contract, does not fit the model's predictions or does
not run at all should say so in the first seconds, not after the first fit.
"""

from __future__ import annotations

import torch
from torch import Tensor

from alpl.acquisition.base import AbstractAcquisition, Context, Query
from alpl.errors import ConfigError
from alpl.machine.seeding import generator, undisturbed
from alpl.pool import Index, Pool
from alpl.predictions import FROM_MODULE, Form, Need, Posterior, Predictions

_NUM_IMAGES, _NUM_LABELED, _BUDGET, _NUM_EPOCHS = 40, 10, 3, 5


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
    needs, draw, name = acquisition.needs, generator(0, "rehearsal"), type(acquisition).__name__
    labels = torch.randint(num_classes, (_NUM_EPOCHS, len(pool.unlabeled)), generator=draw)
    made_up = {
        which: None if shown is None else _made_up(index, shown, needs, num_classes, is_detection, draw)
        for which, index in (("unlabeled", pool.unlabeled), ("labeled", pool.labeled))
    }
    context = Context(
        pool=pool,
        budget=_BUDGET,
        seed=0,
        unlabeled=made_up["unlabeled"] if needs & FROM_MODULE else None,
        labeled=made_up["labeled"] if Need.LABELED in needs else None,
        history=labels.numpy() if Need.HISTORY in needs else None,
        class_counts=torch.randint(5, (num_classes,), generator=draw) if Need.CLASS_COUNTS in needs else None,
        targets=labels[0] if Need.TARGETS in needs else None,
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
    parts = (shown.features, shown.image_features, shown.predicted_loss, shown.uncertainties)
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


def _made_up(
    index: Index, shown: Predictions, needs: Need, num_classes: int, is_detection: bool, draw: torch.Generator
) -> Predictions:
    """Make up predictions like those shown, less what is not needed; nothing is found on every fourth image."""
    counts = torch.arange(len(index)) % 4 if is_detection else torch.ones(len(index), dtype=torch.long)
    row = torch.arange(len(index)).repeat_interleave(counts)
    wants_views = bool(needs & (Need.VIEWS | Need.FLIP))
    views = _posterior(shown.views, len(row), draw) if wants_views else None
    posterior = _posterior(shown.posterior, len(row), draw) if Need.POSTERIOR in needs else None
    if posterior is not None and views is not None:
        posterior = views[0]
    foreground = torch.rand(len(row), num_classes, generator=draw) if posterior is None else posterior.foreground
    corner = torch.rand(len(row), 2, generator=draw) * 50
    return Predictions(
        index=index,
        row=row,
        posterior=posterior,
        labels=foreground.argmax(-1),
        scores=foreground.amax(-1),
        boxes=torch.cat([corner, corner + 10], 1) if Need.BOXES in needs else None,
        features=_like(shown.features, len(row), draw) if Need.FEATURES in needs else None,
        image_features=_like(shown.image_features, len(index), draw) if Need.IMAGE_FEATURES in needs else None,
        views=views,
        predicted_loss=_like(shown.predicted_loss, len(index), draw) if Need.PREDICTED_LOSS in needs else None,
        uncertainties=_uncertainties(shown.uncertainties, len(row), draw) if Need.UNCERTAINTIES in needs else None,
    )


def _posterior(like: Posterior | None, number: int, draw: torch.Generator) -> Posterior:
    """``[... I C]`` -> ``[... number C]``."""
    assert like is not None, "the module was asked for it"
    logits = torch.randn(*like.probs.shape[:-2], number, like.probs.shape[-1], generator=draw)
    return Posterior(logits.sigmoid() if like.form is Form.SIGMOID else logits.softmax(-1), like.form)


def _like(value: Tensor | None, number: int, draw: torch.Generator) -> Tensor:
    """``[n ...]`` -> ``Float[number ...]``."""
    assert value is not None, "the module was asked for it"
    return torch.randn(number, *value.shape[1:], generator=draw)


def _uncertainties(like: Tensor | None, number: int, draw: torch.Generator) -> Tensor:
    """``[I 4]`` -> ``Float[number 4]``, positive; a type that is not known of any instance is not known here either."""
    assert like is not None, "the module was asked for it"
    values = torch.rand(number, like.shape[1], generator=draw)
    return values.masked_fill(like.isnan().all(0), torch.nan) if len(like) else values
