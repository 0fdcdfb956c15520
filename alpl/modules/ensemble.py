"""Deep ensembles: members trained one by one, asked together (Lakshminarayanan et al. 2017; Beluch et al. 2018)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, final

import torch
from torch import nn

from alpl.data.batch import Batch
from alpl.metrics.accuracy import TestAccuracy
from alpl.modules.base import AbstractModule
from alpl.predictions import Need, Posterior, Predictions


@final
class ClassifierEnsemble(AbstractModule):
    """The mean posterior of several trained classifiers; its views are the members.

    Image features are those of the first member: means of features of differently initialized networks say nothing.

    Args:
        members: at least one; all with the same classes.
        num_classes: K.
    """

    def __init__(self, members: Sequence[AbstractModule], num_classes: int) -> None:
        super().__init__()
        self.members = nn.ModuleList(members)
        self.accuracy = TestAccuracy(num_classes)

    @property
    def provides(self) -> Need:
        """What the members provide but for logits, of which there are as many as members, and views."""
        first: AbstractModule = self.members[0]  # type: ignore[assignment]
        return first.provides & ~Need.LOGITS | Need.VIEWS

    def predict_batch(self, batch: Batch, needs: Need) -> Predictions:
        """See the base class; the posterior is the mean over the members."""
        asked = (needs & ~Need.VIEWS) | Need.POSTERIOR
        parts: list[Predictions] = [member.predict_batch(batch, asked) for member in self.members]  # type: ignore[operator]
        posteriors = [part.posterior for part in parts if part.posterior is not None]
        views = Posterior(torch.stack([p.probs for p in posteriors]), posteriors[0].form)
        mean = Posterior(views.probs.mean(0), views.form)
        confidence = mean.probs.max(-1)
        return Predictions(
            index=parts[0].index,
            row=parts[0].row,
            posterior=mean if Need.POSTERIOR in needs else None,
            labels=confidence.indices,
            scores=confidence.values,
            image_features=parts[0].image_features,
            views=views if Need.VIEWS in needs else None,
        )

    def test_step(self, batch: Batch, batch_idx: int) -> None:
        """Count."""
        self.accuracy.update(self.predict_batch(batch, Need.NOTHING).labels, batch.targets)

    def test_results(self) -> dict[str, Any]:
        """The same results as a single classifier."""
        return self.accuracy.results()
