"""Rankings over objects: every instance that counts has a value, and an image what they are reduced to.

Axes: U unlabeled images, I instances of all of them, J instances that count, V views, C outputs.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from typing import NamedTuple, final

import torch
from torch import Tensor

from alpl.acquisition.base import AbstractRanking, Context, Valued
from alpl.errors import ConfigError
from alpl.predictions import Posterior, Predictions
from alpl.predictions.reduce import Reduction, reduce_instances

CHUNK = 4096
"""Instances that are valued at a time: bounds the memory beside the predictions, and fits a processor's cache."""


class ObjectValues(NamedTuple):
    """The instances that count, and what each is worth."""

    chosen: Tensor
    """``Long[J]`` positions in I, each once."""
    values: Tensor
    """``Float[J]``."""


class AbstractObjectRanking(AbstractRanking):
    """Values every instance on its own, and an image by its instances; the highest images are chosen.

    Args:
        reduction: of the values of an image's instances.
        empty: what an image without an instance that counts gets.
    """

    def __init__(self, reduction: Reduction = "max", empty: float = 0.0) -> None:
        self.reduction: Reduction = reduction
        self.empty = empty

    @abstractmethod
    def object_values(self, context: Context) -> ObjectValues:
        """Value the instances of ``context.predictions`` that count, higher = chosen first."""

    @final
    def utility(self, context: Context) -> Tensor:
        """``Float[U]``: the reduced values of each image."""
        return self._reduced(context, self.object_values(context))

    @final
    def valued(self, context: Context) -> Valued:
        """See the base class; with the instances' values."""
        found = self.object_values(context)
        of_objects = found.values.new_full((len(context.predictions.row),), float("nan"))
        of_objects[found.chosen] = found.values
        return Valued(self._reduced(context, found), of_objects.cpu())

    def _reduced(self, context: Context, found: ObjectValues) -> Tensor:
        predictions = context.predictions
        row = predictions.row[found.chosen]
        return reduce_instances(found.values, row, predictions.num_images, self.reduction, self.empty)


def confident(predictions: Predictions, score_thresh: float) -> Tensor:
    """``Long[J]``: the instances whose score reaches the threshold, ascending.

    Raises:
        ValueError: there is a threshold above 0, and the predictions have no scores.
    """
    if score_thresh == 0:
        return torch.arange(len(predictions.row), device=predictions.row.device)
    if predictions.scores is None:
        raise ValueError(f"predictions must have scores for score_thresh {score_thresh}, got none")
    return (predictions.scores >= score_thresh).nonzero().flatten()


def value_of(measure: Callable[[Posterior], Tensor], posterior: Posterior, chosen: Tensor) -> Tensor:
    """``Float[J]``: measure some instances of a ``[I C]`` posterior, or of ``[V I C]`` views, a chunk at a time.

    Only the chosen instances are read, so memory-mapped predictions stay on the disk.
    """
    probs = posterior.probs
    single = torch.promote_types(probs.dtype, torch.float32)  # predictions may be stored in half precision
    by_instance = probs.movedim(-2, 0)  # views may be stored as [I V C]: gathering along axis 1 reads across all of it

    def measured(part: Tensor) -> Tensor:
        gathered = by_instance.index_select(0, part).movedim(0, -2)
        return measure(Posterior(gathered.to(single).contiguous(), posterior.form))

    return torch.cat([measured(part) for part in chosen.split(CHUNK)])  # one empty part where nothing is chosen


def check_score_thresh(score_thresh: float) -> float:
    """Give back a threshold that lies in [0, 1].

    Raises:
        ConfigError: it does not.
    """
    if not 0 <= score_thresh <= 1:
        raise ConfigError(f"score_thresh must be in [0, 1], got {score_thresh}")
    return score_thresh
