"""What an acquisition gets to see, stage by stage: predictions of the images that are left, and all else it asked for.

A stage that wants something new of the module has it predicted for its own images; one that wants nothing new reads
what an earlier stage had predicted.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, final

import torch

from alpl.acquisition.base import Context
from alpl.cycle.partnering import Partnering
from alpl.cycle.parts import Parts
from alpl.cycle.prediction import write_predictions
from alpl.cycle.training import Training
from alpl.data.base import AbstractPoolDataModule
from alpl.machine.processes import rank
from alpl.machine.seeding import derive_seed, seed_all
from alpl.modules.base import AbstractModule
from alpl.pool import Pool
from alpl.predictions import FROM_MODULE, FROM_PARTNER, Need, Predictions
from alpl.runs.run_folder import CycleFiles


@final
class Looking:
    """Predicts, and gathers contexts.

    Args:
        parts: of the run.
        training: loads the models that are asked.
        partnering: asks the partner.
        needs: of each stage of the acquisition; the first one's with what is recorded and pseudo-labeled beside it.
        looks_again: whether the module detects otherwise in later stages than in the first.
    """

    def __init__(
        self, parts: Parts, training: Training, partnering: Partnering, needs: Sequence[Need], *, looks_again: bool
    ) -> None:
        self.parts, self.training, self.partnering = parts, training, partnering
        self.needs = tuple(needs)
        self.sources = _sources(self.needs, looks_again=looks_again)

    def predict(self, cycle: int, number: int, pool: Pool, data: AbstractPoolDataModule) -> None:
        """Predict what a stage wants of the module that no earlier one had predicted."""
        if self.sources[number] != number:
            return
        models, needs = self.parts.experiment.learner.asked, self.needs[number]
        which = {"unlabeled": pool.unlabeled} | ({"labeled": pool.labeled} if Need.LABELED in needs else {})
        with self.parts.stages.run(cycle, _numbered("predict", number), together=True) as todo:
            if todo:
                module = self._asked(cycle, models, needs, number)
                for name, index in which.items():
                    self._write(cycle, _numbered(name, number), module, data.observing(index))

    def estimate_motion(self, cycle: int) -> None:
        """Have the flow of the videos estimated, once for all cycles and runs."""
        with self.parts.stages.run(cycle, "motion", together=False) as todo:
            if todo:
                assert self.parts.flow is not None, "the checks before training have seen to it"
                self.parts.flow.get()
                self.parts.stages.note = {"product": self.parts.flow.name}

    def predict_for_labels(self, cycle: int, model: int, needs: Need, pool: Pool, data: AbstractPoolDataModule) -> None:
        """Predict all unlabeled images by a model between two fits, where its labeler wants that."""
        if not needs & FROM_MODULE:
            return
        with self.parts.stages.run(cycle, "predict_for_labels", together=True) as todo:
            if todo:
                module = self._asked(cycle, (model,), needs, 0)
                self._write(cycle, _FOR_LABELS, module, data.observing(pool.unlabeled))

    def context(self, cycle: int, number: int, pool: Pool, left: Pool, budget: int) -> Context:
        """Gather what a stage asked for.

        Args:
            cycle: whose models answer.
            number: of the stage.
            pool: of the cycle, with all that is unlabeled.
            left: the pool in which only the images are unlabeled that the stage looks at.
            budget: of the whole acquisition.
        """
        stage = self.parts.experiment.acquisition.stages[number]
        needs, source = stage.acquisition.needs, self.sources[number]
        files = self.parts.folder.cycle(cycle)
        reads = source is not None and bool(needs & FROM_MODULE)
        seen = _open(files, _numbered("unlabeled", source or 0)) if reads else None
        has_labeled = reads and Need.LABELED in needs
        labeled = _open(files, _numbered("labeled", source or 0)).of(pool.labeled) if has_labeled else None
        whole = self._known(cycle, pool, needs, budget)
        among = replace(whole, unlabeled=seen, labeled=labeled).among(left.unlabeled)
        if not needs & FROM_PARTNER:
            return among
        answers: dict[str, Any] = self.partnering.answers(cycle, left.unlabeled)
        index = left.unlabeled
        own = among.unlabeled or Predictions(index, torch.arange(len(index)))
        return replace(among, unlabeled=replace(own, **answers))

    def context_for_labels(self, cycle: int, pool: Pool, needs: Need) -> Context:
        """Gather what a labeler between two fits asked for, of all unlabeled images."""
        files = self.parts.folder.cycle(cycle)
        seen = _open(files, _FOR_LABELS).of(pool.unlabeled).only(needs) if needs & FROM_MODULE else None
        return replace(self._known(cycle, pool, needs, 0), unlabeled=seen)

    def context_after_query(self, cycle: int, pool: Pool, left: Pool, needs: Need) -> Context:
        """Gather what a labeler after the query asked for, of what is still unlabeled and was looked at.

        Args:
            cycle: whose models answer.
            pool: with which the cycle began.
            left: after the query.
            needs: of the labeler.
        """
        seen = _open(self.parts.folder.cycle(cycle), "unlabeled").only(needs) if needs & FROM_MODULE else None
        return replace(self._known(cycle, pool, needs, 0), unlabeled=seen).among(left.unlabeled)

    def seen(self, files: CycleFiles) -> tuple[Path, Need]:
        """Where the first predictions of a cycle's unlabeled images lie that there are, and what they hold."""
        first = next((source for source in self.sources if source is not None), 0)
        return files.predictions(_numbered("unlabeled", first)), self.needs[first]

    def _known(self, cycle: int, pool: Pool, needs: Need, budget: int) -> Context:
        """Give what is not predicted: of the data, the oracle and the callbacks that watched the training."""
        experiment, oracle = self.parts.experiment, self.parts.oracle
        seed_all(derive_seed(experiment.seed, "select", cycle))
        known: dict[str, Any] = {}
        folder = self.parts.folder.cycle(cycle).folder
        for provider in experiment.providers:
            if provider.provides & needs:
                known[provider.field] = provider.read(folder)
        if Need.CLASS_COUNTS in needs:
            known["class_counts"] = experiment.data.count_classes(oracle.annotate(pool.labeled))
        if Need.SIZES in needs:
            known["sizes"] = experiment.data.image_sizes(pool.unlabeled)
        if Need.FOOTAGE in needs:
            known["footage"] = experiment.data.footage
        if Need.MOTION in needs:
            assert self.parts.flow is not None, "the checks before training have seen to it"
            known["motion"] = self.parts.flow.get()
        if Need.TARGETS in needs:
            known["targets"] = oracle.annotate(pool.unlabeled)
        if Need.LABELED_TARGETS in needs:
            known["labeled_targets"] = oracle.annotate(pool.labeled)
        return Context(pool, budget, derive_seed(experiment.seed, "select", cycle), **known)

    def _asked(self, cycle: int, models: Sequence[int], needs: Need, number: int) -> AbstractModule:
        module = self.training.module(cycle, models)
        module.needs, module.stage = needs & FROM_MODULE, number
        return module

    def _write(self, cycle: int, name: str, module: AbstractModule, data: AbstractPoolDataModule) -> None:
        seed_all(derive_seed(self.parts.experiment.seed, "predict", name, cycle, rank()))
        write_predictions(self.parts, module, data, self.parts.folder.cycle(cycle).predictions(name))


_FOR_LABELS = "for_labels"


def _sources(needs: Sequence[Need], *, looks_again: bool) -> list[int | None]:
    """Whose predictions each stage reads: its own, those of the stage before, or none.

    >>> _sources([Need.POSTERIOR, Need.FEATURES, Need.NOTHING], looks_again=False)
    [0, 1, None]
    >>> _sources([Need.POSTERIOR | Need.FEATURES, Need.FEATURES], looks_again=False)
    [0, 0]
    """
    asks = FROM_MODULE | Need.LABELED
    sources: list[int | None] = []
    for number, own in enumerate(needs):
        if not own & FROM_MODULE:
            sources.append(None)
            continue
        before = next((source for source in reversed(sources) if source is not None), None)
        has_all = before is not None and not own & asks & ~needs[before]
        sources.append(before if has_all and not looks_again else number)
    return sources


def _numbered(name: str, number: int) -> str:
    """Name what belongs to a stage; the first stage's names have no number."""
    return name if number == 0 else f"{name}_{number}"


def _open(files: CycleFiles, name: str) -> Predictions:
    """Open predictions; what an acquisition does not look at need not fit into memory."""
    return Predictions.load(files.predictions(name), memory_map=True)
