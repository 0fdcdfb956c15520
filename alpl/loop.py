"""The active-learning cycle: fit -> test -> predict -> select -> annotate, recorded, and again.

Where pseudo-labels are on, what the cycle's model is sure of on the images that stay unlabeled goes to the next fit.

Every stage leaves whole files in the cycle's folder and then a line in the run's journal. A killed run goes on with
the first stage that the journal does not name; a fit goes on from its last checkpoint. Every stage seeds itself from
(seed, stage, cycle), so nothing depends on what the process did before.

With several processes (DDP) all of them walk this page. Fit, test and predict are done together; the rest by process
0, for whose line in the journal the others wait.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, final

import torch
from lightning.pytorch import Trainer
from torch import Tensor

from alpl.acquisition.base import Context, Query
from alpl.callbacks.base import AbstractProvider
from alpl.callbacks.epoch_log import EpochLog
from alpl.callbacks.epoch_seed import EpochSeed
from alpl.callbacks.prediction_tracker import HISTORY
from alpl.callbacks.resume_checkpoint import ResumeCheckpoint
from alpl.data.base import AbstractPoolDataModule
from alpl.data.scenes import SceneDataModule
from alpl.embedding import record_embedding
from alpl.errors import ConfigError
from alpl.experiment import Experiment
from alpl.files import read_array, read_tensors, whole_folder, write_array, write_json, write_tensors
from alpl.gallery import record_gallery
from alpl.interruption import Interruption
from alpl.metrics.class_balance import balance_metrics
from alpl.modules.base import AbstractModule, AbstractTrainableModule
from alpl.pool import Pool
from alpl.prediction_files import WritePredictions, join, writing
from alpl.predictions import FROM_MODULE, Need, Predictions
from alpl.preflight import check_acquisition, check_data, check_settings
from alpl.processes import rank
from alpl.progress import FitProgress, Progress
from alpl.pseudo_labels import PseudoLabels
from alpl.rehearsal import check_query
from alpl.run_folder import CycleFiles, RunFolder
from alpl.seeding import derive_seed, seed_all


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
        initial = experiment.schedule.initial.draw(candidates)
        self.initial = Pool.create(data.num_images, initial, data.excluded)
        self.budgets = experiment.schedule.budgets(candidates.index.numel(), initial.numel())
        self.num_cycles = len(self.budgets) + 1
        module = self._make_module()
        self.needs = self._all_needs(module) if self.budgets else Need.NOTHING
        check_settings(module, self._make_trainer)
        if self.budgets:
            check_acquisition(experiment, self.needs, module)
        check_data(experiment, folder.path / "data.json", may_write=self._is_main)
        self.progress = progress(self.num_cycles)

    # --- the cycle

    def run(self) -> None:
        """Run all cycles that are not finished."""
        pool = self.initial
        for cycle in range(self.num_cycles):
            files = self.folder.cycle(cycle)
            self._record_pool(pool, files)
            pseudo = self._pseudo_labels(cycle - 1) if cycle else None
            data = self.experiment.data.with_pool(pool, self.oracle.annotate(pool.labeled), pseudo)
            for member in range(self.experiment.num_members):
                self._fit(cycle, member, data)
            self._test(cycle, pool, data, pseudo)
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

    def _fit(self, cycle: int, member: int, data: AbstractPoolDataModule) -> None:
        files, stage = self.folder.cycle(cycle), "fit" if member == 0 else f"fit_{member}"
        with self._stage(cycle, stage, together=True) as todo:
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
        with self._stage(cycle, "test", together=True) as todo:
            if not todo:
                return
            module = self._trained_module(cycle)
            seed_all(derive_seed(self.experiment.seed, "test", cycle))
            self._make_trainer().test(module, datamodule=data, verbose=False)
            if self._is_main:
                counts = {"num_labeled": pool.num_labeled} | self._counts(pool, pseudo)
                results = counts | module.results | self._balance(pool, cycle)
                write_json(self.folder.cycle(cycle).metrics, results)
                self.folder.write_metrics(cycle + 1)
                scalars = {name: value for name, value in results.items() if isinstance(value, float)}
                self.experiment.logger.follow()
                self._detail = f"{pool.num_labeled} labeled, " + ", ".join(f"{n} {v:.4f}" for n, v in scalars.items())

    def _predict(self, cycle: int, pool: Pool, data: AbstractPoolDataModule) -> None:
        if not self.needs & FROM_MODULE:
            return
        with self._stage(cycle, "predict", together=True) as todo:
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
        with self._stage(cycle, "select", together=False) as todo:
            if todo:
                query = self.experiment.acquisition.select(self._context(cycle, pool))
                check_query(query, pool, self.budgets[cycle], type(self.experiment.acquisition).__name__)
                if self.experiment.informativeness:
                    self._record_informativeness(files, pool, query)
                if Need.BOXES in self.needs and self.experiment.gallery:
                    self._record_gallery(files, query)
                if self.experiment.embedding:
                    self._record_embedding(cycle, files, query)
                query.save(files.query)
                self._detail = f"{len(query.index)} images chosen"
        return Query.load(files.query)

    def _pseudo_label(self, cycle: int, pool: Pool) -> None:
        """Label what the model is sure of, on the images that are unlabeled after the query."""
        labeler = self.experiment.pseudo_labels
        if labeler is None:
            return
        files = self.folder.cycle(cycle)
        with self._stage(cycle, "pseudo_label", together=False) as todo:
            if todo:
                seen = Predictions.load(files.predictions("unlabeled"), memory_map=True)
                found = Predictions(seen.index, seen.row, labels=seen.labels, scores=seen.scores, boxes=seen.boxes)
                rest = found.take(torch.isin(found.index, pool.unlabeled).nonzero().flatten())
                pseudo = labeler.label(rest, self.experiment.data.image_sizes(rest.index))
                pseudo.save(files.pseudo_labels)
                self._detail = f"{len(pseudo.image)} objects on {len(pseudo.index)} images"

    # --- its parts

    def _all_needs(self, module: AbstractModule) -> Need:
        """Join what the acquisition needs with what is made and recorded beside it."""
        needs = self.experiment.acquisition.needs
        if self.experiment.informativeness:
            needs |= Need.POSTERIOR
        if self.experiment.pseudo_labels:
            needs |= self.experiment.pseudo_labels.needs
        if self.experiment.gallery and needs & FROM_MODULE:  # no inference pass for pictures alone
            needs |= Need.BOXES & module.provides
        if self.experiment.embedding:
            if Need.IMAGE_FEATURES not in module.provides:
                raise ConfigError(f"embedding must be 0: {type(module).__name__} provides no image features")
            needs |= Need.IMAGE_FEATURES
        return needs

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
            class_counts=self._class_counts(pool) if Need.CLASS_COUNTS in needs else None,
            targets=self.oracle.annotate(pool.unlabeled) if Need.TARGETS in needs else None,
        )

    def _class_counts(self, pool: Pool) -> Tensor:
        """``Long[K]``: what is labeled, by class."""
        return self.experiment.data.count_classes(self.oracle.annotate(pool.labeled))

    def _predictions(self, files: CycleFiles, name: str) -> Predictions:
        """Open predictions; what an acquisition does not look at need not fit into memory."""
        return Predictions.load(files.predictions(name), memory_map=True)

    def _pseudo_labels(self, cycle: int) -> PseudoLabels | None:
        """Read what the model of a cycle was sure of."""
        return PseudoLabels.load(self.folder.cycle(cycle).pseudo_labels) if self.experiment.pseudo_labels else None

    def _counts(self, pool: Pool, pseudo: PseudoLabels | None) -> dict[str, int]:
        """Count the objects that the training saw: labeled ones, and pseudo-labels where they are on."""
        counts = {}
        if isinstance(self.experiment.data, SceneDataModule):  # elsewhere an image is one label
            counts["num_labeled_objects"] = int(self._class_counts(pool).sum())
        if self.experiment.pseudo_labels is not None:  # Elezi et al., Fig. 5b
            images, found = (len(pseudo.index), len(pseudo.image)) if pseudo is not None else (0, 0)
            counts |= {"num_pseudo_images": images, "num_pseudo_objects": found}
        return counts

    def _balance(self, pool: Pool, cycle: int) -> dict[str, float]:
        """Measure how unevenly the classes were chosen: what this cycle added, and all that is labeled."""
        added = self.oracle.annotate((pool.cycle == cycle).nonzero().flatten())
        return balance_metrics(self.experiment.data.count_classes(added), self._class_counts(pool))

    def _record_gallery(self, files: CycleFiles, query: Query) -> None:
        """Keep pictures of the first queried images, with what the acquisition saw on them."""
        data = self.experiment.data
        assert isinstance(data, SceneDataModule), "only detectors provide boxes"
        record_gallery(
            files.gallery,
            query,
            self._predictions(files, "unlabeled"),
            data.training_images,
            data.classes,
            limit=self.experiment.gallery,
        )

    def _record_embedding(self, cycle: int, files: CycleFiles, query: Query) -> None:
        """Keep what a t-SNE of the selection is made of."""
        predictions = self._predictions(files, "unlabeled")
        if predictions.image_features is None:
            return  # it was turned on when this cycle's predictions were there already
        seed = derive_seed(self.experiment.seed, "embedding", cycle)
        record_embedding(files.embedding, query, predictions, limit=self.experiment.embedding, seed=seed)

    def _record_informativeness(self, files: CycleFiles, pool: Pool, query: Query) -> None:
        """Write what thesis Fig. 3.3 to 3.5 are made of."""
        predicted = torch.from_numpy(read_array(files.predictions("unlabeled") / "labels.npy"))  # the one field needed
        correct = predicted == self.oracle.annotate(pool.unlabeled)
        with whole_folder(files.informativeness) as folder:
            write_array(folder / "correct.npy", correct.numpy())
            write_array(folder / "chosen.npy", torch.searchsorted(pool.unlabeled, query.index).numpy())
            if query.pool_utility is not None:
                write_array(folder / "utility.npy", query.pool_utility.numpy())

    def _trained_module(self, cycle: int) -> AbstractModule:
        """Load the cycle's model: the one path to it, for a run that goes on and for one that was resumed."""
        members = []
        for member in range(self.experiment.num_members):
            module = self._make_module()
            module.load_state_dict(read_tensors(self.folder.cycle(cycle).model(member)))
            members.append(module)
        return members[0] if len(members) == 1 else members[0].ensemble(members)

    def _make_module(self) -> AbstractTrainableModule:
        return self.experiment.make_module(**self.experiment.data.module_arguments)

    def _make_trainer(self, *callbacks: Any) -> Trainer:
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
        )

    def _bound_providers(self, files: CycleFiles) -> list[AbstractProvider]:
        needed = [provider for provider in self.experiment.providers if provider.provides & self.needs]
        for provider in needed:
            provider.bind(files.folder)
        return needed

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

    # --- stages

    @property
    def _is_main(self) -> bool:
        return rank() == 0

    @contextmanager
    def _stage(self, cycle: int, stage: str, *, together: bool) -> Iterator[bool]:
        """Give whether this process has work in a stage; keep the journal and the progress.

        A stage done together cannot end before every process has taken part, so all of them find the same journal
        when they ask.
        """
        if self.folder.is_done(cycle, stage):
            yield False
            return
        if not self._is_main:
            yield together
            self._wait_for(cycle, stage)
            return
        self.progress.stage(cycle, stage)
        self._detail = "done"
        start = time.perf_counter()
        yield True
        seconds = time.perf_counter() - start
        self.folder.mark_done({"cycle": cycle, "stage": stage, "seconds": round(seconds, 3)})
        self.progress.done(seconds, self._detail, shown=stage == "test")
        if not torch.distributed.is_initialized():  # several processes leave together, at the end of an epoch
            self.interruption.leave()

    def _wait_for(self, cycle: int, stage: str) -> None:
        """Wait for process 0, as long as the parent process lives."""
        parent = os.getppid()
        while not self.folder.is_done(cycle, stage):
            if os.getppid() != parent:
                raise RuntimeError(f"process 0 ended before cycle {cycle}, stage {stage}")
            time.sleep(0.05)
