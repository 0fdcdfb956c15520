"""CALD's second stage: images whose classes are others than those of the labeled ones.

W. Yu, S. Zhu, T. Yang, C. Chen, Consistency-based Active Learning for Object Detection, arXiv 2103.10374.

Axes: U unlabeled images, V other views, K classes.
"""

from __future__ import annotations

from typing import final

import torch
from torch import Tensor

from alpl.acquisition.base import AbstractRanking, Context
from alpl.acquisition.cald import Rules, check_rules, jensen_shannon, references
from alpl.predictions import Need, Predictions


@final
class ClassSpread(AbstractRanking):
    r"""How far the classes that are seen in an image are from those of the labeled images ("mutual information").

    .. math:: JS(softmax(\frac{n}{L}), softmax(\frac{1}{V + 1} \sum_v s_v))

    n are the labeled objects of each class, L is the number of labeled images, :math:`s_v` the highest score of each
    class in a view, the image itself among them, 0 for none; natural logarithms. What is chosen does not change n, as
    released.

    Args:
        rules: ``as_released``: images without any detection come first (their utility is 1, more than any
            divergence), whatever other views show; where they are more than the budget the released code chooses all
            of them, this one the budget. And of more than 40 detections some count, see
            :class:`alpl.acquisition.Cald`.

    Raises:
        ConfigError: ``rules`` are unknown.
    """

    needs = Need.AUGMENTED | Need.CLASS_COUNTS

    def __init__(self, rules: Rules = "as_written") -> None:
        self.rules = check_rules(rules)

    def utility(self, context: Context) -> Tensor:
        """See the base class."""
        assert context.class_counts is not None, "Need.CLASS_COUNTS was declared"
        labeled = context.class_counts.double() / max(len(context.pool.labeled), 1)
        seen = self._seen(context.predictions, len(labeled))
        divergence = jensen_shannon(labeled.softmax(-1).to(seen), seen.softmax(-1))
        if self.rules == "as_written":
            return divergence
        return torch.where((seen == 0).all(1), 1.0, divergence)

    def _seen(self, predictions: Predictions, num_classes: int) -> Tensor:
        """``Double[U K]``: the mean over the views of the highest score of each class."""
        labels, scores, views = predictions.labels, predictions.scores, predictions.view_scores
        assert labels is not None and scores is not None and views is not None, "Need.AUGMENTED was declared"
        chosen = references(predictions, self.rules)
        own = torch.zeros(predictions.num_images * num_classes, dtype=torch.float64, device=scores.device)
        place = predictions.row[chosen] * num_classes + labels[chosen]
        own.scatter_reduce_(0, place, scores[chosen].double(), "amax")
        mean = (own.view(-1, num_classes) + views.double().sum(1)) / (1 + views.shape[1])
        if self.rules == "as_written":
            return mean
        is_empty = torch.bincount(predictions.row, minlength=predictions.num_images) == 0
        return torch.where(is_empty[:, None], 0.0, mean)
