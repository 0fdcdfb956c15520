"""The active-learning cycle: fit -> test -> predict -> select -> annotate, recorded, and again.

What is fitted, a learner says (:mod:`alpl.learning`); what an acquisition looks at in its stages is predicted for the
images that the stage before left (:mod:`alpl.cycle.looking`). Where pseudo-labels are on, what the cycle's model is
sure of on the images that stay unlabeled goes to the next fit.

Every stage leaves whole files in the cycle's folder and then a line in the run's journal. A killed run goes on with
the first stage that the journal does not name; a fit goes on from its last checkpoint. Every stage seeds itself from
(seed, stage, cycle), so nothing depends on what the process did before.

With several processes (DDP) all of them walk this page. Fit, test and predict are done together; the rest by process
0, for whose line in the journal the others wait.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any, final

from lightning.pytorch import Trainer

from alpl.acquisition.base import Query, Stage
from alpl.callbacks.cost_record import CostRecord
from alpl.callbacks.foreign import check_callbacks
from alpl.cycle.asking import Asking, check_known
from alpl.cycle.looking import Looking
from alpl.cycle.needs import needs_of_stages
from alpl.cycle.partnering import Partnering
from alpl.cycle.parts import Parts
from alpl.cycle.training import Training
from alpl.data.base import AbstractPoolDataModule
from alpl.experiment import Experiment
from alpl.labeling.pseudo_labels import AbstractPseudoLabels
from alpl.learning import Fit
from alpl.machine.interruption import Interruption
from alpl.machine.processes import rank
from alpl.machine.progress import Progress
from alpl.pool import Pool
from alpl.predictions import FROM_MODULE, FROM_PARTNER, Need
from alpl.preflight.checks import check_data, check_needs, check_rehearsal, check_settings, checked_trainer
from alpl.preflight.rehearsal import check_query
from alpl.recording.recording import Recording
from alpl.runs.network_cost import FILE as COST_FILE
from alpl.runs.run_folder import RunFolder
from alpl.runs.stages import Stages
from alpl.sharing.determinants import determinants
from alpl.sharing.first_cycle import FirstCycle
from alpl.sharing.flow import Flow
from alpl.sharing.pretrained import Pretrained

_NUM_REHEARSED = 2  # images of the pool that the untrained model looks at


@final
class ActiveLearning:
    """Runs an experiment in a run folder; make it, then :meth:`run` it.

    The constructor reads the data and checks all parts against each other, so that what cannot work ends before any
    training.

    Raises:
        ConfigError: the acquisition needs what nobody provides, the budget exceeds the pool, or a part is wrong.
        DataError: the data set is missing or broken.
    """

    def __init__(
        self,
        experiment: Experiment,
        folder: RunFolder,
        progress: Callable[[int], Progress],
        interruption: Interruption,
    ) -> None:
        self.experiment = experiment
        self.folder = folder
        data = experiment.data
        if rank() == 0:
            data.prepare_data()
        data.setup("fit")
        self.fingerprint = data.fingerprint()
        candidates, targets = data.take_targets()
        oracle = experiment.make_oracle(targets)
        self.oracle = oracle
        self.recording = Recording(experiment, oracle)
        initial = experiment.schedule.initial.draw(candidates)
        self.initial = Pool.create(data.num_images, initial, data.excluded)
        self.budgets = experiment.schedule.budgets(candidates.index.numel(), initial.numel())
        self.num_cycles = len(self.budgets) + 1
        check_known(oracle, candidates, initial, experiment.acquisition.needs, asks=bool(self.budgets))
        oracle.begin(initial)
        self.progress = progress(self.num_cycles)
        self.stages = Stages(folder, self.progress, interruption)
        self.pretrained = (
            None if experiment.pretrained is None else Pretrained.find(experiment.pretrained, data, self.fingerprint)
        )
        start = None if self.pretrained is None else self.pretrained.state
        self.parts = Parts(experiment, oracle, folder, self.stages, self.progress, interruption, start)
        module = self.parts.make_module()
        self.needs = needs_of_stages(experiment, self.recording, module) if self.budgets else (Need.NOTHING,)
        callbacks = {name: make() for name, make in experiment.callbacks.items()}
        check_callbacks(callbacks, has_validation=bool(data.num_validation))
        trainer = check_settings(module, partial(self.parts.make_trainer, *callbacks.values()))
        module.check_data(data)
        data.check_workers(self.initial.labeled[:1], trainer.num_devices)
        if experiment.partner:
            checked_trainer(partial(self.parts.make_trainer, make=experiment.partner.trainer), "partner.trainer")
        if self.budgets:
            needs = experiment.acquisition.needs | self.needs[0]
            check_needs(experiment, needs, module)
            if Need.MOTION in needs:
                self.parts = replace(self.parts, flow=self._flow(trainer))
            if not folder.journal:  # a run that goes on has passed it
                check_rehearsal(experiment, needs, module, self.initial.unlabeled[:_NUM_REHEARSED])
        check_data(self.fingerprint, folder.path, may_write=self.parts.is_main)
        if self.pretrained:
            self.pretrained.note(folder.path, may_write=self.parts.is_main)
        labeler = experiment.learner.labeler
        watched = experiment.acquisition.needs | self.needs[0] | (labeler.needs if labeler else Need.NOTHING)
        # a learner that labels is asked about more than its fits and its test
        self.first_cycle = FirstCycle(self.stages, None if labeler else experiment.first_cycle)
        self.training = Training(self.parts, watched, self.first_cycle)
        self.partnering = Partnering(self.parts)
        self.asking = Asking(self.parts)
        self._first: Query | None = None  # what the first of several stages chose in this cycle, if this process did
        self.looking = Looking(self.parts, self.training, self.partnering, self.needs, looks_again=module.looks_again)

    # --- the cycle

    def run(self) -> None:
        """Run all cycles that are not finished."""
        pool = self.initial
        for cycle in range(self.num_cycles):
            self._record_pool(cycle, pool)
            if cycle == 0:
                self.first_cycle.share(self._determinants, partial(self._train, cycle, pool))
            data = self._train(cycle, pool)
            if cycle < len(self.budgets):
                query = self._select(cycle, pool, data)
                self.asking.ask(cycle, query, self.looking.seen(self.folder.cycle(cycle))[0])
                before, pool = pool, pool.reveal(query.index)
                self._pseudo_label(cycle, before, pool)
            self._tidy(cycle)
        if self.parts.is_main and not self.folder.is_finished:
            self.folder.mark_done({"stage": "finished"})

    def _record_pool(self, cycle: int, pool: Pool) -> None:
        """Write who is labeled, unless a stage's line in the journal answers for the file that is there."""
        path = self.folder.cycle(cycle).pool
        told = any(entry.get("cycle") == cycle for entry in self.folder.journal)
        if self.parts.is_main and not (told and path.exists()):
            pool.save(path)

    def _train(self, cycle: int, pool: Pool) -> AbstractPoolDataModule:
        """Walk the learner's steps, and test; give the data of the last fit."""
        learner = self.experiment.learner
        pseudo = self._pseudo_labels(cycle - 1) if self.experiment.pseudo_labels and cycle else None
        answers = self.oracle.annotate(pool.labeled)
        data = self.experiment.data.with_pool(pool, answers, pseudo)
        for step in learner.steps(cycle):
            if isinstance(step, Fit):
                data = self.experiment.data.with_pool(pool, answers, pseudo if step.takes_pseudo else None)
                self.training.fit(cycle, step, data)
            else:
                pseudo = self._label(cycle, step.model, pool, data)
        count = partial(self._count, cycle, pool, pseudo)
        self.training.test(cycle, data, count, self._cost_record(pool) if cycle == 0 else None)
        return data

    def _select(self, cycle: int, pool: Pool, data: AbstractPoolDataModule) -> Query:
        """Let the acquisition look at the pool, stage by stage, and choose."""
        asked = left = self._without_labeled_by_learner(cycle, pool)
        self._first = None
        if cycle == 0 and Need.MOTION in self.experiment.acquisition.needs:
            self.looking.estimate_motion(cycle)
        *narrowing, last = range(len(self.acquisition_stages))
        for number in narrowing:
            self._look(cycle, number, left, data)
            left = left.among(self._narrow(cycle, number, pool, left).index.sort().values)
        self._look(cycle, last, left, data)
        files = self.folder.cycle(cycle)
        with self.stages.run(cycle, "select", together=False) as todo:
            if todo:
                query = self._choose(cycle, last, pool, left)
                check_query(query, left, self.budgets[cycle], type(self.experiment.acquisition).__name__)
                if narrowing:  # the report shows how the first stage valued the whole pool
                    first = self._first if self._first is not None else self._choose(cycle, 0, pool, asked)
                    query = Query(query.index, query.utility, first.pool_utility, first.object_utility)
                self.recording.write(cycle, files, asked, query, *self.looking.seen(files))
                query.save(files.query)
                self.stages.detail = f"{len(query.index)} images chosen"
        return Query.load(files.query)

    def _look(self, cycle: int, number: int, left: Pool, data: AbstractPoolDataModule) -> None:
        """Have predicted what a stage wants, by the trained model and by the partner."""
        self.looking.predict(cycle, number, left, data)
        if self.acquisition_stages[number].acquisition.needs & FROM_PARTNER:
            self.partnering.fit(cycle, data)
            self.partnering.ask(cycle, left, data)

    def _narrow(self, cycle: int, number: int, pool: Pool, left: Pool) -> Query:
        """Choose the candidates that the next stage looks at."""
        path = self.folder.cycle(cycle).candidates(number)
        with self.stages.run(cycle, "narrow" if number == 0 else f"narrow_{number}", together=False) as todo:
            if todo:
                candidates = self._choose(cycle, number, pool, left)
                candidates.save(path)
                self._first = candidates if number == 0 else self._first
                self.stages.detail = f"{len(candidates.index)} candidates"
        return Query.load(path)

    def _choose(self, cycle: int, number: int, pool: Pool, left: Pool) -> Query:
        context = self.looking.context(cycle, number, pool, left, self.budgets[cycle])
        return self.acquisition_stages[number].choose(context)

    def _label(self, cycle: int, model: int, pool: Pool, data: AbstractPoolDataModule) -> AbstractPseudoLabels | None:
        """Have the learner label between two fits what a model is sure of."""
        labeler = self.experiment.learner.labeler
        assert labeler is not None, "a learner that has a Label step has a labeler"
        if not len(pool.unlabeled):
            return None
        self.looking.predict_for_labels(cycle, model, labeler.needs, pool, data)
        with self.stages.run(cycle, "label", together=False) as todo:
            if todo:
                self._save(cycle, labeler.label(self.looking.context_for_labels(cycle, pool, labeler.needs)))
        return self._pseudo_labels(cycle)

    def _pseudo_label(self, cycle: int, before: Pool, pool: Pool) -> None:
        """Label what the model is sure of, on the images that are unlabeled after the query."""
        labeler = self.experiment.pseudo_labels
        if labeler is None:
            return
        with self.stages.run(cycle, "pseudo_label", together=False) as todo:
            if todo:
                self._save(cycle, labeler.label(self.looking.context_after_query(cycle, before, pool, labeler.needs)))

    # --- its parts

    @property
    def acquisition_stages(self) -> tuple[Stage, ...]:
        """The acquisition's looks at the pool."""
        return self.experiment.acquisition.stages

    def _count(self, cycle: int, pool: Pool, pseudo: AbstractPseudoLabels | None) -> dict[str, Any]:
        return self.recording.counts(pool, pseudo) | self.recording.balance(pool, cycle)

    def _without_labeled_by_learner(self, cycle: int, pool: Pool) -> Pool:
        """Leave out the images that the learner labeled itself in this cycle, unless too few would be left."""
        if self.experiment.learner.labeler is None:
            return pool
        left = pool.without(self._pseudo_labels(cycle).index)
        return left if len(left.unlabeled) >= self.budgets[cycle] else pool

    def _pseudo_labels(self, cycle: int) -> AbstractPseudoLabels:
        """Read what the model of a cycle was sure of."""
        return AbstractPseudoLabels.load(self.folder.cycle(cycle).pseudo_labels)

    def _save(self, cycle: int, pseudo: AbstractPseudoLabels) -> None:
        pseudo.save(self.folder.cycle(cycle).pseudo_labels)
        labels, images = f"{pseudo.num_labels} {pseudo.unit}", f" on {len(pseudo.index)} images"
        self.stages.detail = labels + (images if pseudo.unit != "images" else "")

    def _cost_record(self, pool: Pool) -> CostRecord:
        """Measure what the acquisition, where there is one, asks of the network about an image."""
        needs = self.experiment.acquisition.needs & FROM_MODULE if self.budgets else Need.NOTHING
        return CostRecord(self.folder.path / COST_FILE, needs, pool.labeled[:1])

    def _flow(self, trainer: Trainer) -> Flow:
        """Give the flow of the data's videos, on the device of a trainer."""
        estimator, config = self.experiment.motion, self.experiment.flow
        assert estimator is not None and config is not None, "the checks have seen to it"
        device = trainer.strategy.root_device

        def heard(text: str) -> None:
            self.progress.within(text)
            self.stages.interruption.leave()

        return Flow(estimator, config, self.experiment.data, self.fingerprint, device, heard)

    def _determinants(self) -> dict[str, Any]:
        """Give what the first cycle's fits and test depend on."""
        config, initial = self.experiment.first_cycle, self.initial
        assert config is not None, "asked only where it is shared"
        needed = iter([bool(provider.provides & self.training.watched) for provider in self.experiment.providers])
        attached = [name in self.experiment.callbacks or next(needed) for name in config.callbacks]
        answers, trainer = self.oracle.annotate(initial.labeled), self.parts.make_trainer()
        found = determinants(config, attached, trainer, self.fingerprint.sha256, initial, answers)
        return found | ({"backbone": self.pretrained.sha256} if self.pretrained else {})

    def _tidy(self, cycle: int) -> None:
        """Remove what has served."""
        if not self.parts.is_main:
            return
        files, experiment = self.folder.cycle(cycle), self.experiment
        for model in range(experiment.learner.num_models):
            self.folder.remove(files.resume(model))
        self.folder.remove(files.partner_resume)
        if not experiment.keep_predictions:
            self.folder.remove(files.folder / "predictions")
        if not experiment.keep_models and cycle:
            for model in range(experiment.learner.num_models):
                self.folder.remove(self.folder.cycle(cycle - 1).model(model))
