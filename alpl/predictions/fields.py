"""One table of all that an acquisition may ask for: where it lies, of what it is one each, who gives it.

A new need is a flag in :class:`~alpl.predictions.needs.Need`, a row here and an attribute of its holder:
:class:`~alpl.predictions.Predictions` for what a module or a partner computes of images,
:class:`~alpl.acquisition.Context` for the rest. Joining, taking and narrowing, the checks before training, the
rehearsal and the hints of messages follow from the row.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import reduce
from operator import or_
from typing import Any, Literal, TypeAlias, final

import torch
from torch import Generator, Tensor

from alpl.boxes.footage import Footage
from alpl.boxes.objects import Objects
from alpl.motion import AbstractMotion, Still
from alpl.pool import Index
from alpl.predictions.needs import Need
from alpl.predictions.posterior import Form, Posterior

Per: TypeAlias = Literal["image", "instance", "view", "epoch", "class", "labeled", "data set"]
"""Of what a field holds one each: ``view`` is ``[V I ...]``, ``epoch`` ``[E U]``, ``labeled`` one a labeled
image, ``data set`` one of all images, labeled or not."""

Provider: TypeAlias = Literal["module", "partner", "tracker", "data", "oracle", "motion"]
"""Who gives a field: the trained module, a partner trained beside it, a callback that watched the training, the data,
the oracle, or the flow that was computed before the first cycle."""


@final
@dataclass(frozen=True)
class MadeUp:
    """What a made-up field must fit.

    Args:
        index: ``Long[N]`` the images.
        row: ``Long[I]`` which of the N images an instance belongs to.
        num_labeled: images.
        num_classes: K.
        is_detection: whether targets are objects.
        draw: for all numbers.
        shown: the fields of a real prediction by name, with other numbers of images and instances.
        made: the fields that were made up before.
    """

    index: Index
    row: Tensor
    num_labeled: int
    num_classes: int
    is_detection: bool
    draw: Generator
    shown: dict[str, Any]
    made: dict[str, Any] = field(default_factory=dict)


@final
@dataclass(frozen=True)
class Field:
    """One thing that can be asked for.

    Args:
        need: who asks.
        name: the attribute that holds it.
        per: of what there is one each.
        provider: who gives it.
        make_up: makes one up for a rehearsal.
        hint: what gives it where it is missing, as a message ends.
        of_detectors: whether classifiers never give it, so that the hint helps those who have a detector.
    """

    need: Need
    name: str
    per: Per
    provider: Provider
    make_up: Callable[[MadeUp], Any]
    hint: str = ""
    of_detectors: bool = False

    @property
    def in_predictions(self) -> bool:
        """Whether predictions hold it, or the context."""
        return self.provider in ("module", "partner")


def _posterior(made: MadeUp) -> Posterior:
    views: Posterior | None = made.made.get("views")
    return _probabilities(made, "posterior") if views is None else views[0]


def _views(made: MadeUp) -> Posterior:
    return _probabilities(made, "views")


def _probabilities(made: MadeUp, name: str) -> Posterior:
    """``[... I C]`` as shown -> ``[... I C]`` of as many instances as are made up."""
    like: Posterior = made.shown[name]
    number = len(made.row)
    logits = torch.randn(*like.probs.shape[:-2], number, like.probs.shape[-1], generator=made.draw)
    return Posterior(logits.sigmoid() if like.form is Form.SIGMOID else logits.softmax(-1), like.form)


def _vectors(name: str, per: Per) -> Callable[[MadeUp], Tensor]:
    """``[n ...]`` as shown -> normal numbers, one row each."""

    def make(made: MadeUp) -> Tensor:
        number = len(made.index) if per == "image" else len(made.row)
        return torch.randn(number, *made.shown[name].shape[1:], generator=made.draw)

    return make


def _shares(name: str, per: Per) -> Callable[[MadeUp], Tensor]:
    """``[n ...]`` as shown -> numbers in [0, 1], one row each."""
    normal = _vectors(name, per)
    return lambda made: normal(made).sigmoid()


def _boxes(made: MadeUp) -> Tensor:
    corner = torch.rand(len(made.row), 2, generator=made.draw) * 50
    return torch.cat([corner, corner + 10], 1)


def _uncertainties(made: MadeUp) -> Tensor:
    """Positive; a type that is not known of any instance that was shown is not known here either."""
    like: Tensor = made.shown["uncertainties"]
    values = torch.rand(len(made.row), like.shape[1], generator=made.draw)
    return values.masked_fill(like.isnan().all(0), torch.nan) if len(like) else values


def _unit_values(made: MadeUp) -> Tensor:
    return torch.rand(len(made.index), generator=made.draw)


def _history(made: MadeUp) -> Any:
    return torch.randint(made.num_classes, (_NUM_EPOCHS, len(made.index)), generator=made.draw).numpy()


def _difficulty(made: MadeUp) -> Tensor:
    return torch.rand(made.num_classes, generator=made.draw)


def _class_counts(made: MadeUp) -> Tensor:
    return torch.randint(5, (made.num_classes,), generator=made.draw)


def _sizes(made: MadeUp) -> Tensor:
    return torch.full((len(made.index), 2), 64)


def _footage(made: MadeUp) -> Footage:
    """Four videos, one after the other; so many images that the indices fit."""
    number = int(made.index.max()) + 1 if len(made.index) else 0
    video = torch.arange(number) * _NUM_VIDEOS // max(number, 1)
    return Footage(video, torch.arange(number), tuple(f"video {place}" for place in range(_NUM_VIDEOS)))


def _motion(made: MadeUp) -> AbstractMotion:
    return Still()


def _targets(made: MadeUp) -> Any:
    return _answers(made, len(made.index))


def _labeled_targets(made: MadeUp) -> Any:
    return _answers(made, made.num_labeled)


def _answers(made: MadeUp, number: int) -> Any:
    """``Long[number]`` classes, or as many ``Objects``: as the oracle gives them."""
    labels = torch.randint(made.num_classes, (number,), generator=made.draw)
    if not made.is_detection:
        return labels
    box = torch.tensor([[5.0, 5.0, 25.0, 25.0]])
    return [Objects(box, label[None], torch.zeros(1, dtype=torch.bool)) for label in labels]


_NUM_EPOCHS = 5  # of a made-up history
_NUM_VIDEOS = 4  # of made-up footage

FIELDS: tuple[Field, ...] = (
    Field(
        Need.VIEWS,
        "views",
        "view",
        "module",
        _views,
        "set model.network.dropout above 0 (MC-dropout) or num_members above 1 (ensemble)",
    ),
    Field(Need.FLIP, "views", "view", "module", _views),
    Field(Need.AUGMENTED, "views", "view", "module", _views, "detectors do", of_detectors=True),
    Field(Need.AUGMENTED, "view_ious", "instance", "module", _shares("view_ious", "instance"), of_detectors=True),
    Field(Need.AUGMENTED, "view_scores", "image", "module", _shares("view_scores", "image"), of_detectors=True),
    Field(Need.POSTERIOR, "posterior", "instance", "module", _posterior),
    Field(Need.LOGITS, "logits", "instance", "module", _vectors("logits", "instance"), "classifiers do"),
    Field(Need.BOXES, "boxes", "instance", "module", _boxes, "detectors do", of_detectors=True),
    Field(
        Need.FEATURES,
        "features",
        "instance",
        "module",
        _vectors("features", "instance"),
        "detectors do, SSD with model.features",
        of_detectors=True,
    ),
    Field(Need.IMAGE_FEATURES, "image_features", "image", "module", _vectors("image_features", "image")),
    Field(
        Need.PREDICTED_LOSS,
        "predicted_loss",
        "image",
        "module",
        _vectors("predicted_loss", "image"),
        "a single network does with a loss prediction module (method=llal)",
    ),
    Field(
        Need.UNCERTAINTIES,
        "uncertainties",
        "instance",
        "module",
        _uncertainties,
        "SSD and Faster R-CNN do with a mixture head (model/head@model.network=gmm)",
        of_detectors=True,
    ),
    Field(Need.LABELEDNESS, "labeledness", "image", "partner", _unit_values, "a partner does (partner=vaal)"),
    Field(Need.HISTORY, "history", "epoch", "tracker", _history, "add callbacks=tracking"),
    Field(
        Need.DIFFICULTY,
        "difficulty",
        "class",
        "tracker",
        _difficulty,
        "RetinaNet, FCOS, SSD and Faster R-CNN do with callbacks=tracking",
        of_detectors=True,
    ),
    Field(Need.CLASS_COUNTS, "class_counts", "class", "data", _class_counts),
    Field(Need.SIZES, "sizes", "image", "data", _sizes),
    Field(
        Need.FOOTAGE,
        "footage",
        "data set",
        "data",
        _footage,
        "data of videos do (data=digit_videos)",
        of_detectors=True,
    ),
    Field(Need.MOTION, "motion", "data set", "motion", _motion, "choose motion=raft_small", of_detectors=True),
    Field(Need.TARGETS, "targets", "image", "oracle", _targets),
    Field(Need.LABELED_TARGETS, "labeled_targets", "labeled", "oracle", _labeled_targets),
)
"""All of them but :attr:`Need.LABELED`, which asks for the same predictions of other images."""


def needs_from(*providers: Provider) -> Need:
    """Give the needs that some providers answer."""
    return reduce(or_, (row.need for row in FIELDS if row.provider in providers), Need.NOTHING)


FROM_MODULE = needs_from("module")
"""The needs that a forward pass of the module answers."""

FROM_PARTNER = needs_from("partner")
"""The needs that a partner answers."""


def hint_for(missing: Need, *, is_detection: bool) -> str:
    """Say what gives the first need that is missing, in the order of the table; empty where nothing is known.

    Args:
        missing: the needs.
        is_detection: whether the model that lacks them is a detector: no setting of a classifier gives it boxes.
    """
    for row in FIELDS:
        if row.need in missing and row.hint:
            return row.hint if is_detection or not row.of_detectors else "no classifier does: it is of detections"
    return ""
