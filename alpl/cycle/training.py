"""Fits and tests the models of a cycle, and labels between two fits where the learner wants it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, final

from alpl.callbacks.base import AbstractProvider
from alpl.callbacks.cost_record import CostRecord
from alpl.callbacks.epoch_log import EpochLog
from alpl.callbacks.epoch_seed import EpochSeed
from alpl.callbacks.foreign import monitors_told
from alpl.callbacks.resume_checkpoint import ResumeCheckpoint, usable
from alpl.callbacks.throughput import Throughput
from alpl.cycle.parts import Parts
from alpl.data.base import AbstractPoolDataModule
from alpl.data.batch_norm import single_images_told
from alpl.learning import Fit
from alpl.machine.files import read_tensors, write_json, write_tensors
from alpl.machine.seeding import derive_seed, seed_all
from alpl.modules.base import AbstractModule
from alpl.predictions import Need
from alpl.runs.run_folder import CycleFiles
from alpl.sharing.first_cycle import FirstCycle


@final
class Training:
    """Trains and tests.

    Args:
        parts: of the run.
        watched: what the callbacks must record while a watched model is fitted.
        first_cycle: may have been trained and tested by another run.
    """

    def __init__(self, parts: Parts, watched: Need, first_cycle: FirstCycle) -> None:
        self.parts = parts
        self.watched = watched
        self.first_cycle = first_cycle

    def fit(self, cycle: int, fit: Fit, data: AbstractPoolDataModule) -> None:
        """Fit one model; a killed fit goes on from its last checkpoint."""
        parts, experiment = self.parts, self.parts.experiment
        files = parts.folder.cycle(cycle)
        with parts.stages.run(cycle, fit.stage, together=True) as todo:
            if not todo:
                return
            seed = derive_seed(experiment.seed, "fit", cycle, fit.model)
            seed_all(seed)
            module = parts.make_module()
            if fit.start is not None:
                module.load_state_dict(read_tensors(parts.folder.cycle(fit.start[0]).model(fit.start[1])))
            resume, throughput = files.resume(fit.model), Throughput()
            trainer = parts.make_trainer(
                throughput,
                EpochSeed(seed),
                *(self._providers(files) if fit.watched else ()),
                *(make() for make in experiment.callbacks.values()),
                EpochLog(files.epochs(fit.model), lambda epoch, values: experiment.logger.follow()),
                ResumeCheckpoint(resume, experiment.checkpoint_every_s, parts.interruption),
            )
            start = usable(resume, parts.progress.say)
            with monitors_told(trainer), single_images_told():
                trainer.fit(module, datamodule=data, ckpt_path=start, weights_only=True)
            parts.stages.note |= throughput.note
            if parts.is_main:
                write_tensors(files.model(fit.model), module.state_dict())

    def test(
        self,
        cycle: int,
        data: AbstractPoolDataModule,
        count: Callable[[], dict[str, Any]],
        cost: CostRecord | None,
    ) -> None:
        """Test what the learner has to show; write the results beside what was counted.

        Args:
            cycle: of the models.
            data: with the cycle's pool.
            count: counts the pool, and how balanced it is.
            cost: measures the network while it is at it, or None.
        """
        with self.parts.stages.run(cycle, "test", together=True) as todo:
            if not todo:
                return
            if cycle == 0 and self.first_cycle.taken:
                # only the cost is this run's own; it is measured on weights that are warm after one batch
                self._results(cycle, ["test"], data, cost, limit_test_batches=1)
                results = self.first_cycle.results_taken()
            else:
                results = self._results(cycle, list(self.parts.experiment.learner.tested), data, cost)
            if self.parts.is_main:
                if cycle == 0:
                    self.first_cycle.note_results(results)
                self._write(cycle, count(), results)

    def _results(
        self, cycle: int, names: Sequence[str], data: AbstractPoolDataModule, cost: CostRecord | None, **limits: int
    ) -> dict[str, Any]:
        experiment = self.parts.experiment
        results: dict[str, Any] = {}
        for name in names:
            module = self.module(cycle, experiment.learner.tested[name])
            seed_all(derive_seed(experiment.seed, name, cycle))
            watching = [cost] if cost is not None and name == "test" else []
            trainer = self.parts.make_trainer(*watching, make=partial(experiment.make_trainer, **limits))
            trainer.test(module, datamodule=data, verbose=False)
            results |= {_renamed(metric, name): value for metric, value in module.results.items()}
        return results

    def module(self, cycle: int, models: Sequence[int]) -> AbstractModule:
        """Load models: the one path to them, for a run that goes on and for one that was resumed."""
        members = []
        for model in models:
            module = self.parts.make_module()
            module.load_state_dict(read_tensors(self.parts.folder.cycle(cycle).model(model)))
            members.append(module)
        return members[0] if len(members) == 1 else members[0].ensemble(members)

    def _write(self, cycle: int, counts: dict[str, Any], results: dict[str, Any]) -> None:
        """Counts, results of the test, then balance: the order in which the terminal tells them."""
        parts = self.parts
        first = {name: value for name, value in counts.items() if name.startswith("num_")}
        ordered = first | results | counts
        write_json(parts.folder.cycle(cycle).metrics, ordered)
        parts.folder.write_metrics(cycle + 1)
        parts.experiment.logger.follow()
        shown = (f"{name} {value:.4f}" for name, value in ordered.items() if isinstance(value, float))
        parts.stages.detail = f"{counts['num_labeled']} labeled, " + ", ".join(shown)

    def _providers(self, files: CycleFiles) -> list[AbstractProvider]:
        needed = [provider for provider in self.parts.experiment.providers if provider.provides & self.watched]
        for provider in needed:
            provider.bind(files.folder)
        return needed


def _renamed(metric: str, name: str) -> str:
    """``test/accuracy`` of a model that is tested as ``teacher`` is ``teacher/accuracy``."""
    return metric if name == "test" else f"{name}/{metric.removeprefix('test/')}"
