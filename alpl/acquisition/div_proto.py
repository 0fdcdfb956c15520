"""ENMS and DivProto: uncertain images without redundant objects, whose classes differ from what was chosen before.

J. Wu, J. Chen, D. Huang, Entropy-based Active Learning for Object Detection with Progressive Diversity Constraint, CVPR
2022, arXiv 2204.07965. Of the paper only abstract, introduction and the caption of its Fig. 1 were at hand. The rules
and the five numbers are those in which two independent implementations of third parties agree; one of them says that
its numbers are the paper's. Where they differ, the class says so.

Axes: U unlabeled images, I instances of all of them, J instances that count, G pairs of an image and a class on it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import final

import torch
from torch import Tensor

from alpl.acquisition.base import AbstractAcquisition, Context, Query, choose_highest
from alpl.acquisition.object_ranking import AbstractObjectRanking, ObjectValues
from alpl.errors import ConfigError
from alpl.predictions import Need
from alpl.selection.object_match import unit_vectors


@final
class Enms(AbstractObjectRanking):
    """A ranking over objects in which one of several similar objects of an image counts ("entropy-based NMS").

    In each image and class, the object of highest value stays, and those whose features have a cosine above
    ``similarity_thresh`` with it go; again with the highest of those that are left. The first on ties.

    Args:
        ranking: values the objects; in the paper by their entropy, summed over the image.
        similarity_thresh: a third party's reading, 0.5.

    Raises:
        ConfigError: ``ranking`` does not value objects, or the threshold is outside [-1, 1].
    """

    def __init__(self, ranking: AbstractObjectRanking, similarity_thresh: float = 0.5) -> None:
        _check_ranking(ranking)
        if not -1 <= similarity_thresh <= 1:
            raise ConfigError(f"acquisition.similarity_thresh must be in [-1, 1], got {similarity_thresh}")
        super().__init__(ranking.reduction, ranking.empty)
        self.ranking, self.similarity_thresh = ranking, similarity_thresh
        self.needs, self.image_layers = ranking.needs | Need.FEATURES, ranking.image_layers

    def object_values(self, context: Context) -> ObjectValues:
        """See the base class."""
        found = self.ranking.object_values(context)
        features = context.predictions.features
        assert features is not None, "Need.FEATURES was declared"
        group = _groups(context, found.chosen)
        order = found.values.argsort(descending=True, stable=True)
        order = order[group[order].argsort(stable=True)]
        kept = torch.ones(len(order), dtype=torch.bool, device=order.device)
        for places in order.split(torch.bincount(group).tolist()):
            if len(places) > 1:
                unit = unit_vectors(features[found.chosen[places]])
                alike = (unit @ unit.T > self.similarity_thresh).cpu()  # read one by one
                kept[places] = _greedy(alike).to(kept.device)
        return ObjectValues(found.chosen[kept], found.values[kept])


@final
class DivProto(AbstractAcquisition):
    r"""The most uncertain images, unless their objects resemble those of images chosen before ("diverse prototype").

    An image's prototype of a class is the mean of the features of its objects of this class, weighted by their values
    (a plain mean where all are 0); of those that ``ranking`` counts, so behind ENMS of those that it kept, as the
    paper's Fig. 1 has it (one of the two implementations takes all). From the highest utility on, an image is chosen
    if it passes both tests:

    - intra-class: :math:`\min_c \max_j \cos(p_{i,c}, p_{j,c})` is below ``intra_thresh``, over the classes c of image i
      that some image j chosen so far has, too; 0 where there is none.
    - inter-class: its highest score of a minority class exceeds ``inter_thresh``. The minority are the
      ``minority_share`` of the classes (rounded down, at least one) with the fewest labeled objects. A class leaves it
      as soon as its part, ``minority_budget`` of the budget in equal parts, is chosen: images on which its score
      exceeds the threshold.

    What is left of the budget goes to the images of highest utility. Ties of utility by a seeded draw.

    Args:
        ranking: values the objects, usually :class:`Enms`.
        intra_thresh: a third party's reading, 0.7.
        inter_thresh: a third party's reading, 0.3.
        minority_share: a third party's reading, 0.5.
        minority_budget: a third party's reading, 0.75.

    Raises:
        ConfigError: ``ranking`` does not value objects, or a number is out of range.
    """

    def __init__(
        self,
        ranking: AbstractObjectRanking,
        intra_thresh: float = 0.7,
        inter_thresh: float = 0.3,
        minority_share: float = 0.5,
        minority_budget: float = 0.75,
    ) -> None:
        _check_ranking(ranking)
        given = {"inter_thresh": inter_thresh, "minority_share": minority_share, "minority_budget": minority_budget}
        for name, value in given.items():
            if not 0 <= value <= 1:
                raise ConfigError(f"acquisition.{name} must be in [0, 1], got {value}")
        if not -1 <= intra_thresh <= 2:  # above 1 every image passes
            raise ConfigError(f"acquisition.intra_thresh must be in [-1, 2], got {intra_thresh}")
        self.ranking, self.intra_thresh, self.inter_thresh = ranking, intra_thresh, inter_thresh
        self.minority_share, self.minority_budget = minority_share, minority_budget
        self.needs = ranking.needs | Need.FEATURES | Need.CLASS_COUNTS
        self.image_layers = ranking.image_layers

    def select(self, context: Context) -> Query:
        """Choose; the images that pass the tests first.

        Raises:
            ValueError: see :func:`alpl.acquisition.base.choose_highest`.
        """
        number = len(context.pool.unlabeled)
        if not 0 <= context.budget <= number:
            raise ValueError(f"budget must be in [0, {number}] images, got {context.budget}")
        valued = self.ranking.valued(context)
        every = choose_highest(type(self).__name__, valued.images, replace(context, budget=number), valued.objects)
        by_utility = torch.searchsorted(context.pool.unlabeled, every.index)
        assert valued.objects is not None, "it ranks by objects"
        counted = (~valued.objects.isnan()).nonzero().flatten()
        place = counted.to(context.predictions.row.device)
        chosen = self._diverse(context, by_utility, ObjectValues(place, valued.objects[counted].to(place.device)))
        is_chosen = torch.zeros(number, dtype=torch.bool)
        is_chosen[chosen] = True
        rest = by_utility[~is_chosen[by_utility]]
        picks = torch.cat([torch.tensor(chosen, dtype=torch.long), rest])[: context.budget]
        assert every.pool_utility is not None, "choose_highest gives it"
        return Query(context.pool.unlabeled[picks], every.pool_utility[picks], every.pool_utility, valued.objects)

    def _diverse(self, context: Context, by_utility: Tensor, objects: ObjectValues) -> list[int]:
        """Positions of the images that pass both tests, at most the budget, in their order."""
        prototypes, scores = _prototypes(context, objects), _class_scores(context)
        assert context.class_counts is not None, "Need.CLASS_COUNTS was declared"
        size = max(int(self.minority_share * len(context.class_counts)), 1)
        part = self.minority_budget * context.budget / size
        lacks = dict.fromkeys(context.class_counts.argsort(stable=True)[:size].tolist(), part) if part > 0 else {}
        chosen: list[int] = []
        before: dict[int, Tensor] = {}
        for image in by_utility.tolist():
            if len(chosen) == context.budget or not lacks:
                break
            found = [label for label in lacks if float(scores[image, label]) > self.inter_thresh]
            own = prototypes.of(image)
            if not found or _largest_everywhere(own, before) >= self.intra_thresh:
                continue
            chosen.append(image)
            for label, vector in own.items():
                before[label] = torch.cat([before[label], vector[None]]) if label in before else vector[None]
            for label in found:
                lacks[label] -= 1
                if lacks[label] <= 0:
                    del lacks[label]
        return chosen


@final
@dataclass(frozen=True, eq=False)
class _Prototypes:
    """Unit vectors ``Float[G F]`` of classes ``[G]`` on images, and where those of each image begin, ``[U + 1]``."""

    vectors: Tensor
    labels: list[int]
    starts: list[int]

    def of(self, image: int) -> dict[int, Tensor]:
        """Give those of an image by class."""
        places = range(self.starts[image], self.starts[image + 1])
        return {self.labels[place]: self.vectors[place] for place in places}


def _prototypes(context: Context, found: ObjectValues) -> _Prototypes:
    predictions = context.predictions
    features, labels = predictions.features, predictions.labels
    assert features is not None and labels is not None, "Need.FEATURES was declared, and every model gives labels"
    group = _groups(context, found.chosen)
    number = int(group.max()) + 1 if len(group) else 0
    weights = found.values.double()
    total = weights.new_zeros(number).index_add_(0, group, weights)
    weights = torch.where(total[group] > 0, weights, 1.0).float()
    sums = torch.zeros(number, features.shape[1], device=features.device)
    for place, chosen in zip(torch.arange(len(group)).split(4096), found.chosen.split(4096), strict=True):
        sums.index_add_(0, group[place], features[chosen].float() * weights[place, None])
    first = torch.zeros(number, dtype=torch.long, device=group.device)
    first[group.flip(0)] = found.chosen.flip(0)  # some object of each
    rows = torch.arange(predictions.num_images + 1, device=group.device)
    starts = torch.searchsorted(predictions.row[first].contiguous(), rows)
    return _Prototypes(unit_vectors(sums).cpu(), labels[first].tolist(), starts.tolist())


def _groups(context: Context, chosen: Tensor) -> Tensor:
    """``Long[J]``: which of the G pairs of an image and a class each instance is of, by image, then class."""
    predictions = context.predictions
    assert predictions.labels is not None, "every model gives labels"
    labels = predictions.labels[chosen].long()
    width = int(labels.max()) + 1 if len(labels) else 1
    group: Tensor = torch.unique(predictions.row[chosen] * width + labels, return_inverse=True)[1]
    return group


def _class_scores(context: Context) -> Tensor:
    """``Float[U K]``: the highest score of each class on each image, 0 for none."""
    predictions, counts = context.predictions, context.class_counts
    assert predictions.labels is not None and predictions.scores is not None and counts is not None
    place = (predictions.row * len(counts) + predictions.labels).cpu()
    table = torch.zeros(predictions.num_images * len(counts))
    return table.scatter_reduce(0, place, predictions.scores.float().cpu(), "amax").view(-1, len(counts))


def _largest_everywhere(own: dict[int, Tensor], before: dict[int, Tensor]) -> float:
    """The least, over classes, of the largest cosine with a prototype of before; 0 where there is none."""
    largest = [float((before[label] @ vector).max()) for label, vector in own.items() if label in before]
    return min(largest, default=0.0)


def _greedy(similar: Tensor) -> Tensor:
    """``Bool[n n]``, the best first -> ``Bool[n]``: which stay."""
    kept = torch.ones(len(similar), dtype=torch.bool, device=similar.device)
    for place in range(len(similar)):
        if kept[place]:
            kept[place + 1 :] &= ~similar[place, place + 1 :]
    return kept


def _check_ranking(ranking: AbstractObjectRanking) -> None:
    if not isinstance(ranking, AbstractObjectRanking):
        raise ConfigError(f"acquisition.ranking must give each object a value, got {type(ranking).__name__}")
