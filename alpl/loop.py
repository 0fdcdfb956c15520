"""The active-learning cycle: fit -> test -> predict -> select -> annotate, recorded, and again.

Where pseudo-labels are on, what the cycle's model is sure of on the images that stay unlabeled goes to the next fit.

Every stage leaves whole files in the cycle's folder and then a line in the run's journal. A killed run goes on with
the first stage that the journal does not name; a fit goes on from its last checkpoint. Every stage seeds itself from
(seed, stage, cycle), so nothing depends on what the process did before.

With several processes (DDP) all of them walk this page. Fit, test and predict are done together; the rest by process
0, for whose line in the journal the others wait.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, final

import torch
from lightning.pytorch import Trainer

from alpl.acquisition.base import Context, Query
from alpl.callbacks.base import AbstractProvider
from alpl.callbacks.cost_record import CostRecord
from alpl.callbacks.epoch_log import EpochLog
from alpl.callbacks.epoch_seed import EpochSeed
from alpl.callbacks.prediction_tracker import HISTORY
from alpl.callbacks.resume_checkpoint import ResumeCheckpoint
from alpl.data.base import AbstractPoolDataModule
from alpl.experiment import Experiment
from alpl.labeling.pseudo_labels import PseudoLabels
from alpl.machine.files import read_array, read_json, read_tensors, write_json, write_tensors
from alpl.machine.interruption import Interruption
from alpl.machine.processes import rank
from alpl.machine.progress import FitProgress, Progress
from alpl.machine.seeding import derive_seed, seed_all
from alpl.modules.base import AbstractModule, AbstractTrainableModule
from alpl.pool import Pool
from alpl.predictions import FROM_MODULE, Need, Predictions
from alpl.predictions.prediction_files import WritePredictions, join, writing
from alpl.preflight.checks import DATA_FILE, check_data, check_needs, check_rehearsal, check_settings
from alpl.preflight.rehearsal import check_query
from alpl.recording.recording import Recording
from alpl.runs.network_cost import FILE as COST_FILE
from alpl.runs.run_folder import CycleFiles, RunFolder
from alpl.runs.stages import Stages
from alpl.sharing.determinants import determinants
from alpl.sharing.first_cycle import FirstCycle

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
        self.interruption = interruption
        data = experiment.data
        if self._is_main:
            data.prepare_data()
        data.setup("fit")
        candidates, targets = data.take_targets()
        self.oracle = experiment.make_oracle(targets)
        self.recording = Recording(experiment, self.oracle)
        initial = experiment.schedule.initial.draw(candidates)
        self.initial = Pool.create(data.num_images, initial, data.excluded)
        self.budgets = experiment.schedule.budgets(candidates.index.numel(), initial.numel())
        self.num_cycles = len(self.budgets) + 1
        module = self._make_module()
        self.needs = self._all_needs(module) if self.budgets else Need.NOTHING
        check_settings(module, self._make_trainer)
        if self.budgets:
            check_needs(experiment, self.needs, module)
            if not folder.journal:  # a run that goes on has passed it
                check_rehearsal(experiment, self.needs, module, self.initial.unlabeled[:_NUM_REHEARSED])
        check_data(experiment, folder.path / DATA_FILE, may_write=self._is_main)
        self.progress = progress(self.num_cycles)
        self.stages = Stages(folder, self.progress, interruption)
        self.first_cycle = FirstCycle(self.stages, self.experiment.first_cycle)

    # --- the cycle

    def run(self) -> None:
        """Run all cycles that are not finished."""
        pool = self.initial
        for cycle in range(self.num_cycles):
            files = self.folder.cycle(cycle)
            self._record_pool(pool, files)
            pseudo = self._pseudo_labels(cycle - 1) if cycle else None
            data = self.experiment.data.with_pool(pool, self.oracle.annotate(pool.labeled), pseudo)
            train = partial(self._train, cycle, pool, data, pseudo)
            if cycle == 0:
                self.first_cycle.run(self._determinants, train)
            else:
                train()
            if cycle < len(self.budgets):
                self._predict(cycle, pool, data)
                pool = pool.reveal(self._select(cycle, pool).index)
                self._pseudo_label(cycle, pool)
            self._tidy(cycle)
        if self._is_main and not self.folder.is_finished:
            self.folder.mark_done({"stage": "finished"})

    def _record_pool(self, pool: Pool, files: CycleFiles) -> None:
        if self._is_main and not files.pool.exists():
            pool.save(files.pool)

    def _train(self, cycle: int, pool: Pool, data: AbstractPoolDataModule, pseudo: PseudoLabels | None) -> None:
        for member in range(self.experiment.num_members):
            self._fit(cycle, member, data)
        self._test(cycle, pool, data, pseudo)

    def _fit(self, cycle: int, member: int, data: AbstractPoolDataModule) -> None:
        files, stage = self.folder.cycle(cycle), "fit" if member == 0 else f"fit_{member}"
        with self.stages.run(cycle, stage, together=True) as todo:
            if not todo:
                return
            seed = derive_seed(self.experiment.seed, "fit", cycle, member)
            seed_all(seed)
            module = self._make_module()
            if self.experiment.warm_start and cycle:
                module.load_state_dict(read_tensors(self.folder.cycle(cycle - 1).model(member)))
            resume = files.resume(member)
            trainer = self._make_trainer(
                EpochSeed(seed),
                *(self._bound_providers(files) if member == 0 else ()),
                EpochLog(files.epochs(member), lambda epoch, values: self.experiment.logger.follow()),
                FitProgress(self.progress),
                ResumeCheckpoint(resume, self.experiment.checkpoint_every_s, self.interruption),
            )
            trainer.fit(module, datamodule=data, ckpt_path=resume if resume.exists() else None, weights_only=True)
            if self._is_main:
                write_tensors(files.model(member), module.state_dict())

    def _test(self, cycle: int, pool: Pool, data: AbstractPoolDataModule, pseudo: PseudoLabels | None) -> None:
        with self.stages.run(cycle, "test", together=True) as todo:
            if not todo:
                return
            module = self._trained_module(cycle)
            seed_all(derive_seed(self.experiment.seed, "test", cycle))
            cost = [self._cost_record(pool)] if cycle == 0 else []
            # Of a first cycle that was taken only the cost is measured, on weights that are warm after one batch.
            limit = {"limit_test_batches": 1} if cycle == 0 and self.first_cycle.taken else {}
            self._make_trainer(*cost, **limit).test(module, datamodule=data, verbose=False)
            if self._is_main:
                recording = self.recording
                tested = module.results if cycle else self.first_cycle.test_results(module.results)
                results = recording.counts(pool, pseudo) | tested | recording.balance(pool, cycle)
                write_json(self.folder.cycle(cycle).metrics, results)
                self.folder.write_metrics(cycle + 1)
                scalars = {name: value for name, value in results.items() if isinstance(value, float)}
                self.experiment.logger.follow()
                shown = (f"{name} {value:.4f}" for name, value in scalars.items())
                self.stages.detail = f"{pool.num_labeled} labeled, " + ", ".join(shown)

    def _predict(self, cycle: int, pool: Pool, data: AbstractPoolDataModule) -> None:
        if not self.needs & FROM_MODULE:
            return
        with self.stages.run(cycle, "predict", together=True) as todo:
            if not todo:
                return
            module = self._trained_module(cycle)
            module.needs = self.needs & FROM_MODULE
            which = {"unlabeled": pool.unlabeled} | ({"labeled": pool.labeled} if Need.LABELED in self.needs else {})
            for name, index in which.items():
                seed_all(derive_seed(self.experiment.seed, "predict", name, cycle, rank()))
                self._write_predictions(module, data.observing(index), self.folder.cycle(cycle).predictions(name))

    def _select(self, cycle: int, pool: Pool) -> Query:
        files = self.folder.cycle(cycle)
        with self.stages.run(cycle, "select", together=False) as todo:
            if todo:
                query = self.experiment.acquisition.select(self._context(cycle, pool))
                check_query(query, pool, self.budgets[cycle], type(self.experiment.acquisition).__name__)
                self.recording.write(cycle, files, pool, query, self.needs)
                query.save(files.query)
                self.stages.detail = f"{len(query.index)} images chosen"
        return Query.load(files.query)

    def _pseudo_label(self, cycle: int, pool: Pool) -> None:
        """Label what the model is sure of, on the images that are unlabeled after the query."""
        labeler = self.experiment.pseudo_labels
        if labeler is None:
            return
        files = self.folder.cycle(cycle)
        with self.stages.run(cycle, "pseudo_label", together=False) as todo:
            if todo:
                seen = Predictions.load(files.predictions("unlabeled"), memory_map=True)
                found = Predictions(seen.index, seen.row, labels=seen.labels, scores=seen.scores, boxes=seen.boxes)
                rest = found.take(torch.isin(found.index, pool.unlabeled).nonzero().flatten())
                pseudo = labeler.label(rest, self.experiment.data.image_sizes(rest.index))
                pseudo.save(files.pseudo_labels)
                self.stages.detail = f"{len(pseudo.image)} objects on {len(pseudo.index)} images"

    # --- its parts

    def _all_needs(self, module: AbstractModule) -> Need:
        """Join what the acquisition needs with what is made and recorded beside it."""
        needs = self.experiment.acquisition.needs
        if self.experiment.pseudo_labels:
            needs |= self.experiment.pseudo_labels.needs
        return needs | self.recording.needs(needs, module)

    def _context(self, cycle: int, pool: Pool) -> Context:
        """Gather what the acquisition asked for, and nothing else."""
        files, needs = self.folder.cycle(cycle), self.experiment.acquisition.needs
        seed_all(derive_seed(self.experiment.seed, "select", cycle))
        unlabeled = self._predictions(files, "unlabeled") if needs & FROM_MODULE else None
        return Context(
            pool=pool,
            budget=self.budgets[cycle],
            seed=derive_seed(self.experiment.seed, "select", cycle),
            unlabeled=unlabeled,
            labeled=self._predictions(files, "labeled") if Need.LABELED in needs else None,
            history=read_array(files.folder / HISTORY, memory_map=True) if Need.HISTORY in needs else None,
            class_counts=self.recording.class_counts(pool) if Need.CLASS_COUNTS in needs else None,
            targets=self.oracle.annotate(pool.unlabeled) if Need.TARGETS in needs else None,
        )

    def _predictions(self, files: CycleFiles, name: str) -> Predictions:
        """Open predictions; what an acquisition does not look at need not fit into memory."""
        return Predictions.load(files.predictions(name), memory_map=True)

    def _pseudo_labels(self, cycle: int) -> PseudoLabels | None:
        """Read what the model of a cycle was sure of."""
        return PseudoLabels.load(self.folder.cycle(cycle).pseudo_labels) if self.experiment.pseudo_labels else None

    def _trained_module(self, cycle: int) -> AbstractModule:
        """Load the cycle's model: the one path to it, for a run that goes on and for one that was resumed."""
        members = []
        for member in range(self.experiment.num_members):
            module = self._make_module()
            module.load_state_dict(read_tensors(self.folder.cycle(cycle).model(member)))
            members.append(module)
        return members[0] if len(members) == 1 else members[0].ensemble(members)

    def _cost_record(self, pool: Pool) -> CostRecord:
        """Measure what the acquisition, where there is one, asks of the network about an image."""
        needs = self.experiment.acquisition.needs & FROM_MODULE if self.budgets else Need.NOTHING
        return CostRecord(self.folder.path / COST_FILE, needs, pool.labeled[:1])

    def _make_module(self) -> AbstractTrainableModule:
        return self.experiment.make_module(**self.experiment.data.module_arguments)

    def _make_trainer(self, *callbacks: Any, **limits: Any) -> Trainer:
        # Samplers, logs and progress are ours (see data/batch.py, EpochLog, FitProgress); the rest is the user's.
        no_validation = {} if self.experiment.data.num_validation else {"limit_val_batches": 0}
        return self.experiment.make_trainer(
            callbacks=[*callbacks, self.interruption],
            logger=False,
            use_distributed_sampler=False,
            enable_checkpointing=any(isinstance(callback, ResumeCheckpoint) for callback in callbacks),
            enable_progress_bar=False,
            enable_model_summary=False,
            num_sanity_val_steps=0,
            default_root_dir=str(self.folder.path),
            **no_validation,
            **limits,
        )

    def _bound_providers(self, files: CycleFiles) -> list[AbstractProvider]:
        needed = [provider for provider in self.experiment.providers if self._is_needed(provider)]
        for provider in needed:
            provider.bind(files.folder)
        return needed

    def _is_needed(self, provider: AbstractProvider) -> bool:
        return bool(provider.provides & self.needs)

    def _determinants(self) -> dict[str, Any]:
        """Give what the first cycle's fit and test depend on, for runs that share it."""
        config, initial = self.experiment.first_cycle, self.initial
        assert config is not None, "asked only where it is shared"
        attached = [self._is_needed(provider) for provider in self.experiment.providers]
        fingerprint = read_json(self.folder.path / DATA_FILE)["fingerprint"]
        answers = self.oracle.annotate(initial.labeled)
        return determinants(config, attached, self._make_trainer(), fingerprint, initial, answers)

    def _write_predictions(self, module: AbstractModule, data: AbstractPoolDataModule, path: Path) -> None:
        """Predict and write, batch by batch; the predictions of all processes in the order of the pool."""
        writes = WritePredictions()
        trainer = self._make_trainer(writes)
        if trainer.world_size == 1:
            with writing(path) as writes.writer:
                trainer.predict(module, datamodule=data, return_predictions=False)
            return
        shards = [path.with_name(f".{path.name}.process_{number}") for number in range(trainer.world_size)]
        with writing(shards[rank()]) as writes.writer:
            trainer.predict(module, datamodule=data, return_predictions=False)
        torch.distributed.barrier()
        if self._is_main:
            join(shards, path)

    def _tidy(self, cycle: int) -> None:
        """Remove what has served."""
        if not self._is_main:
            return
        for member in range(self.experiment.num_members):
            self.folder.remove(self.folder.cycle(cycle).resume(member))
        if not self.experiment.keep_predictions:
            self.folder.remove(self.folder.cycle(cycle).folder / "predictions")
        if not self.experiment.keep_models and cycle:
            for member in range(self.experiment.num_members):
                self.folder.remove(self.folder.cycle(cycle - 1).model(member))

    @property
    def _is_main(self) -> bool:
        return rank() == 0
