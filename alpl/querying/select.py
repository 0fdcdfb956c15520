"""`alpl.select`: any acquisition that needs no training, on plain arrays."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from alpl.acquisition import AbstractAcquisition, Query
from alpl.errors import ConfigError
from alpl.labeling.schedule import Amount, num_images_of
from alpl.machine.seeding import undisturbed
from alpl.pool import Pool
from alpl.predictions import Form
from alpl.preflight.rehearsal import check_query
from alpl.querying.arrays import checked_arrays, tensor_of
from alpl.querying.context import count_images, make_context
from alpl.querying.named import acquisition_of


def select(
    acquisition: str | AbstractAcquisition,
    budget: Amount,
    *,
    labeled: Any = (),
    labels: Any = None,
    excluded: Any = (),
    row: Any = None,
    num_images: int | None = None,
    form: str = "softmax",
    seed: int = 0,
    **arrays: Any,
) -> Query:
    """Choose the images to label next, from what any model says of them.

    Arrays are numpy's, torch's, or nested lists, one row for each of the N images, labeled ones among them: images are
    called by their rows. Detections come ragged: one row an instance in all arrays of instances, and ``row`` says of
    which image each is. What an acquisition does not need may be left out, and is not read.

    The very classes that ``alpl`` runs do the choosing: same arrays, same seed, same picks.

    Args:
        acquisition: the name of a config (``"kcenter"``), or an acquisition with settings of its own
            (``KCenter("cosine")``).
        budget: images to choose: a number, a fraction (0.05) or a percentage ("5%") of those that are not excluded.
        labeled: ``Long[L]`` rows of the images that have labels.
        labels: ``Long[L]`` their classes, in the same order; class balance asks for them.
        excluded: ``Long[X]`` rows that take no part.
        row: ``Long[I]`` of which image each instance is; absent where each image has one (I = N).
        num_images: N; only where no array has one row an image.
        form: of posterior and views: ``softmax``, ``background`` (softmax, output 0 is the background) or ``sigmoid``.
        seed: of all draws.
        **arrays: ``features [N F]`` of images, ``posterior [I C]``, ``views [V I C]`` (dropout passes, members, or an
            image and its mirror image), ``logits [I C]``, ``classes [I]`` and ``scores [I]`` of detections,
            ``boxes [I 4]``, ``object_features [I F]``, ``history [E N]``, ``sizes [N 2]``, ``class_counts [K]``, ...:
            all in :data:`alpl.querying.arrays.ARGUMENTS`.

    Returns:
        The query: ``index``, ``Long[b]`` rows in the order of choice, and ``utility``, what each was worth.

    Raises:
        ConfigError: an argument is unknown or of another shape, something that the acquisition needs is missing, or the
            budget exceeds the unlabeled images. It is a ValueError.
        ValueError: the acquisition refuses what the arrays hold, for example a posterior that does not sum to 1.
    """
    given = checked_arrays(arrays)
    made = acquisition_of(acquisition) if isinstance(acquisition, str) else acquisition
    if not isinstance(made, AbstractAcquisition):
        raise ConfigError(f"acquisition must be a name or an AbstractAcquisition, got {type(made).__name__}")
    if form not in [each.value for each in Form]:
        raise ConfigError(f"form must be one of {', '.join(each.value for each in Form)}, got {form!r}")
    instance_of = None if row is None else tensor_of("row", row, "long", "I")
    number = count_images(given, instance_of, num_images)
    known, classes = _labeled(labeled, labels)
    try:
        pool = Pool.create(number, known, tensor_of("excluded", excluded, "long", "X"))
    except ValueError as error:
        raise ConfigError(str(error).replace("initial", "labeled")) from error
    images = images_of(budget, pool)
    context = make_context(
        *(made, given, pool), budget=images, seed=seed, form=Form(form), row=instance_of, labels=classes
    )
    with undisturbed():
        query = made.select(context)
    check_query(query, pool, images, type(made).__name__)
    return query


def images_of(budget: Amount, pool: Pool) -> int:
    """Give the images of a budget.

    Args:
        budget: a number, or a fraction or percentage of the images that take part.
        pool: of them.

    Raises:
        ConfigError: it is none of these, or exceeds the unlabeled images.
    """
    unlabeled = len(pool.unlabeled)
    images = num_images_of(budget, unlabeled + pool.num_labeled, "budget")
    if images > unlabeled:
        raise ConfigError(f"budget must be at most the {unlabeled} unlabeled images, got {images}")
    return images


def images_with(arrays: Mapping[str, Any], num_images: int | None = None) -> int:
    """Give N of arrays that :func:`select` takes, ``row`` among them where they are ragged."""
    others = {name: value for name, value in arrays.items() if name != "row"}
    row = arrays.get("row")
    instance_of = None if row is None else tensor_of("row", row, "long", "I")
    return count_images(checked_arrays(others), instance_of, num_images)


def _labeled(labeled: Any, labels: Any) -> tuple[Tensor, Tensor | None]:
    """``Long[L]``, and their classes by ascending index."""
    index = tensor_of("labeled", labeled, "long", "L")
    if labels is None:
        return index, None
    classes = tensor_of("labels", labels, "long", "L")
    if len(classes) != len(index):
        raise ConfigError(f"labels must be one for each of the {len(index)} labeled images, got {len(classes)}")
    return index, classes[torch.argsort(index)]
