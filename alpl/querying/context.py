"""Arrays -> the context that an acquisition looks at.

Axes: see :mod:`alpl.querying.arrays`; U unlabeled images, L labeled images.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from alpl.acquisition import AbstractAcquisition, Context
from alpl.errors import ConfigError
from alpl.pool import Pool
from alpl.predictions import FIELDS, Form, Need, Posterior, Predictions
from alpl.querying.arrays import ARGUMENTS

_OF = {argument.field: name for name, argument in ARGUMENTS.items()}  # the argument that gives a field


def count_images(arrays: Mapping[str, Tensor], row: Tensor | None, num_images: int | None) -> int:
    """Give N, of which all arrays must be.

    Args:
        arrays: by the names of :data:`ARGUMENTS`.
        row: ``Long[I]``, or None where each image has one instance.
        num_images: N where it is given.

    Raises:
        ConfigError: two arrays are not of as many images (or instances), or nothing says how many there are.
    """
    told: dict[str, int] = {} if num_images is None else {"num_images": num_images}
    instances: dict[str, int] = {} if row is None else {"row": len(row)}
    for name, value in arrays.items():
        argument, number = ARGUMENTS[name], value.shape[ARGUMENTS[name].axis]
        if argument.per == "image" or (argument.per == "instance" and row is None):
            told[name] = number
        elif argument.per == "instance":
            instances[name] = number
    for what, numbers in (("images", told), ("instances", instances)):
        if len(set(numbers.values())) > 1:
            given = ", ".join(f"{name} {number}" for name, number in numbers.items())
            raise ConfigError(f"all arrays must be of the same {what}, got {given}")
    if not told:
        raise ConfigError("num_images must be given where no array has one row an image, got None")
    return next(iter(told.values()))


def make_context(
    acquisition: AbstractAcquisition,
    arrays: Mapping[str, Tensor],
    pool: Pool,
    *,
    budget: int,
    seed: int,
    form: Form,
    row: Tensor | None,
    labels: Tensor | None,
) -> Context:
    """Make a context that holds what an acquisition needs, and no more.

    Args:
        acquisition: asks for it.
        arrays: by the names of :data:`ARGUMENTS`, of all N images.
        pool: of N images.
        budget: b.
        seed: of all draws.
        form: of posterior and views.
        row: ``Long[I]`` of which image each instance is; None where each image has one.
        labels: ``Long[L]`` the class of each labeled image, by ascending index.

    Raises:
        ConfigError: it needs what is not there.
    """
    needs = acquisition.needs
    own: dict[str, Any] = {}
    if Need.CLASS_COUNTS in needs:
        own["class_counts"] = _class_counts(arrays, labels, form)
    if Need.LABELED_TARGETS in needs:
        own["labeled_targets"] = labels
    for field in FIELDS:
        if field.need in needs and not field.in_predictions and field.name in _OF and field.name not in own:
            own[field.name] = _of_unlabeled(field.name, arrays, pool)
    predictions = _predictions(arrays, pool.num_images, row, form).only(needs)
    check_all_there(acquisition, predictions, own)
    unlabeled = _of(predictions, pool.unlabeled)
    labeled = _of(predictions, pool.labeled) if Need.LABELED in needs else None
    return Context(pool, budget, seed, unlabeled=unlabeled, labeled=labeled, **own)


def check_all_there(
    acquisition: AbstractAcquisition,
    predictions: Predictions,
    own: Mapping[str, Any],
    *,
    absent: str = "which is not given",
) -> None:
    """Make sure that what the acquisition needs is there.

    Args:
        acquisition: asks for it.
        predictions: of images.
        own: what the context holds beside them, by the names of the fields.
        absent: what to say of those that are missing.

    Raises:
        ConfigError: names the arguments that are missing.
    """
    missing = []
    for field in FIELDS:
        holder = getattr(predictions, field.name) if field.in_predictions else own.get(field.name)
        if field.need not in acquisition.needs or holder is not None:
            continue
        if field.need == Need.TARGETS:
            raise ConfigError(f"{type(acquisition).__name__} looks at the true answers: it is an upper bound of runs")
        name = "labels" if field.need in (Need.LABELED_TARGETS, Need.CLASS_COUNTS) else _OF[field.name]
        shape = "L" if name == "labels" else ARGUMENTS[name].axes
        missing.append(f"{name} [{shape}]")
    if missing:
        raise ConfigError(f"{type(acquisition).__name__} needs {', '.join(dict.fromkeys(missing))}, {absent}")


def _of(predictions: Predictions, images: Tensor) -> Predictions:
    return predictions if len(images) == predictions.num_images else predictions.of(images)


def _predictions(arrays: Mapping[str, Tensor], number: int, row: Tensor | None, form: Form) -> Predictions:
    """All that predictions hold; labels and scores follow from the posterior where they are not given."""
    order = None
    if row is None:
        row = torch.arange(number)
    else:
        if len(row) and (int(row.min()) < 0 or int(row.max()) >= number):
            raise ConfigError(f"row must lie in [0, {number}), got {int(row.min())} to {int(row.max())}")
        order = None if bool((row.diff() >= 0).all()) else torch.argsort(row, stable=True)
        row = row if order is None else row[order]
    given: dict[str, Any] = {}
    for field in FIELDS:
        name = _OF.get(field.name, "")
        if field.in_predictions and name in arrays:
            given[field.name] = _ordered(name, arrays[name], order)
    for name in ("classes", "scores"):
        if name in arrays:
            given[ARGUMENTS[name].field] = _ordered(name, arrays[name], order)
    for name in ("posterior", "views"):
        if name in given:
            given[name] = Posterior(given[name], form)
    predictions = Predictions(torch.arange(number), row, **given)
    if predictions.posterior is None or not predictions.posterior.foreground.shape[-1]:
        return predictions
    sure = None if {"labels", "scores"} <= set(given) else predictions.posterior.foreground.max(-1)
    return (
        predictions
        if sure is None
        else replace(
            predictions,
            labels=given.get("labels", sure.indices),
            scores=given.get("scores", sure.values),
        )
    )


def _ordered(name: str, value: Tensor, order: Tensor | None) -> Tensor:
    argument = ARGUMENTS[name]
    return value if order is None or argument.per != "instance" else value.index_select(argument.axis, order)


def _of_unlabeled(field: str, arrays: Mapping[str, Tensor], pool: Pool) -> Any:
    """What the context holds beside the predictions, of the unlabeled images where there is one an image."""
    name = _OF[field]
    if name not in arrays:
        return None
    argument, value = ARGUMENTS[name], arrays[name]
    if argument.per == "image":
        value = value.index_select(argument.axis, pool.unlabeled)
    return value.numpy() if field == "history" else value


def _class_counts(arrays: Mapping[str, Tensor], labels: Tensor | None, form: Form) -> Tensor | None:
    """``Long[K]``: as given, or counted among the labels."""
    if "class_counts" in arrays or labels is None:
        return arrays.get("class_counts")
    outputs = next((arrays[name] for name in ("posterior", "views") if name in arrays), None)
    if outputs is None:
        return None
    width = Posterior(outputs, form).foreground.shape[-1]
    if len(labels) and (int(labels.min()) < 0 or int(labels.max()) >= width):
        raise ConfigError(f"labels must lie in [0, {width}), got {int(labels.min())} to {int(labels.max())}")
    return torch.bincount(labels, minlength=width)
