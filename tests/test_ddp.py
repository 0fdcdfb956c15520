"""Two processes on the CPU: the command as a person starts it, and single parts of it in forked processes."""

import csv
import json
import os
import subprocess
import sys
from functools import partial
from pathlib import Path

import numpy as np
import psutil
import pytest
import torch
from forked import Forked
from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import Callback
from omegaconf import OmegaConf

from alpl.acquisition.base import Query
from alpl.callbacks.prediction_tracker import HISTORY, POSTERIORS, PredictionTracker
from alpl.data.augment import Normalize
from alpl.data.batch import BalancedSampler, PassSampler
from alpl.data.datamodule import ImageDataModule
from alpl.data.digits import Digits
from alpl.experiment import make_experiment
from alpl.machine.files import read_tensors
from alpl.modules.classifier import Classifier
from alpl.networks.classification import ClassificationNetwork
from alpl.networks.small_cnn import SmallCnn
from alpl.pool import Pool
from alpl.predictions import Predictions

ROOT = Path(__file__).parents[1]
TWO = ["trainer.accelerator=cpu", "trainer.devices=2", "trainer.strategy=ddp", "trainer.max_epochs=2"]
pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore::UserWarning", "ignore::DeprecationWarning")]


def _alpl(folder, *overrides, start=partial(Forked, joined=True)):  # noqa: B008
    """Run the command with two processes; give the run's folder."""
    command = ["-m", "alpl", *TWO, *overrides, f"paths.runs={folder}"]
    process = start(*command, cwd=folder, env=os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"})
    try:
        output, _ = process.communicate(timeout=180)
    except subprocess.TimeoutExpired:
        tree = [*psutil.Process(process.pid).children(recursive=True), process]
        for member in tree:
            member.kill()
        output, _ = process.communicate()
        pytest.fail(f"two processes hang:\n{output}")
    assert process.returncode == 0, output
    (run,) = {path.parent for path in folder.rglob("run.json")}
    return run


def _as_a_person(*command, **options):
    """Two interpreters, the second one started by Lightning."""
    return subprocess.Popen(
        [sys.executable, *command], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **options
    )


class _Run:
    """A finished run, and what a single process gets from its weights."""

    def __init__(self, path):
        self.path = path
        self.experiment = make_experiment(OmegaConf.load(path / "config.yaml"))
        self.data = self.experiment.data
        self.data.setup()
        self.cycles = sorted(path.glob("cycle_*"))

    def stages(self):
        lines = (self.path / "journal.jsonl").read_text().splitlines()
        return [(entry.get("cycle"), entry["stage"]) for entry in map(json.loads, lines)]

    def pool(self, cycle):
        return Pool.load(self.cycles[cycle] / "pool.csv")

    def forward(self, cycle, images):
        module = self.experiment.make_module(num_classes=10, in_channels=1)
        module.load_state_dict(read_tensors(self.cycles[cycle] / "model.pt"))
        module.eval()
        with torch.no_grad():
            logits, features = module.network(self.data.normalize(images))
        return logits.softmax(1), features

    def pool_posterior(self, cycle):
        return self.forward(cycle, self.data.splits.train.images[self.pool(cycle).unlabeled])[0].numpy()

    def assert_results(self):
        test = self.data.splits.test
        for number, cycle in enumerate(self.cycles):
            labels = self.forward(number, test.images)[0].argmax(1)
            results = json.loads((cycle / "metrics.json").read_text())
            assert results["test/accuracy"] == pytest.approx(float((labels == test.targets).float().mean()), abs=2e-3)
            assert results["num_labeled"] == self.pool(number).num_labeled


# --- the command


@pytest.fixture(scope="module")
def dispersion(tmp_path_factory):
    return _Run(
        _alpl(
            tmp_path_factory.mktemp("dispersion"), "acquisition=dispersion", "schedule.cycles=2",
            "data.labeled_fraction=0.5", "callbacks.prediction_tracker.posterior=true", "checkpoint_every_s=0",
            start=_as_a_person,
        )
    )  # fmt: skip


def test_a_run_of_two_processes_finishes(dispersion):
    stages = ["fit", "test", "predict", "select"]
    whole = [(cycle, stage) for cycle in (0, 1) for stage in stages] + [(2, "fit"), (2, "test"), (None, "finished")]
    assert dispersion.stages() == whole
    assert [dispersion.pool(cycle).num_labeled for cycle in range(3)] == [30, 50, 70]
    dispersion.assert_results()
    for cycle in (0, 1):
        query = Query.load(dispersion.cycles[cycle] / "query.csv")
        assert torch.equal(dispersion.pool(cycle).reveal(query.index).cycle, dispersion.pool(cycle + 1).cycle)


def test_both_processes_write_what_one_would(dispersion):
    left = {path.name for path in dispersion.cycles[0].iterdir()}
    assert left == {
        "model.pt", "metrics.json", "epochs.csv", "pool.csv", "query.csv", "informativeness", HISTORY, POSTERIORS
    }  # fmt: skip
    rows = list(csv.DictReader((dispersion.cycles[0] / "epochs.csv").open(newline="")))
    assert [row["epoch"] for row in rows] == ["0", "1"]


def test_the_history_has_an_epoch_a_row_and_the_pool_in_order(dispersion):
    for cycle, folder in enumerate(dispersion.cycles):
        history, posterior = np.load(folder / HISTORY), np.load(folder / POSTERIORS)
        assert history.dtype == np.uint8 and history.shape == (2, len(dispersion.pool(cycle).unlabeled))
        assert posterior.shape == (*history.shape, 10)
        expected = dispersion.pool_posterior(cycle)
        # of process 0, whose weights and batch norms are those in model.pt
        np.testing.assert_allclose(posterior[-1, 0::2], expected[0::2], atol=2e-4)
        clear = np.sort(expected)[:, -1] - np.sort(expected)[:, -2] > 1e-5
        assert (history[-1] == expected.argmax(1))[clear][0::2].all()


def test_the_history_is_of_one_model(dispersion):
    """The batch norms of all processes are the same when they predict."""
    for cycle, folder in enumerate(dispersion.cycles):
        posterior = np.load(folder / POSTERIORS)[-1]
        expected = dispersion.pool_posterior(cycle)
        np.testing.assert_allclose(
            posterior, expected, atol=2e-4
        )  # with the batch norms of the saved model, also on process 1


@pytest.fixture(scope="module")
def kcenter(tmp_path_factory):
    """31 validation images: 16 and 15, so two batches on process 0 and one on process 1."""
    return _Run(
        _alpl(
            tmp_path_factory.mktemp("kcenter"), "acquisition=kcenter", "schedule.cycles=1", "keep_predictions=true",
            "data.validation=31", "data.eval_batch_size=15",
        )
    )  # fmt: skip


def test_predictions_of_two_processes_are_in_the_order_of_the_pool(kcenter):
    assert kcenter.stages()[-1] == (None, "finished")
    kcenter.assert_results()
    pool = kcenter.pool(0)
    for name, index in (("unlabeled", pool.unlabeled), ("labeled", pool.labeled)):
        found = Predictions.load(kcenter.cycles[0] / "predictions" / name)
        probs, features = kcenter.forward(0, kcenter.data.splits.train.images[index])
        assert torch.equal(found.index, index) and torch.equal(found.row, torch.arange(len(index)))
        torch.testing.assert_close(found.image_features, features, atol=1e-5, rtol=1e-4)
        torch.testing.assert_close(found.posterior.probs, probs, atol=1e-5, rtol=1e-4)


def test_validation_is_the_mean_over_all_images(kcenter):
    kcenter.data.eval_batch_size = 1000
    (validation,) = kcenter.data.val_dataloader()
    assert len(validation.targets) == 31
    for cycle, folder in enumerate(kcenter.cycles):
        last = list(csv.DictReader((folder / "epochs.csv").open(newline="")))[-1]
        probs, _ = kcenter.forward(cycle, validation.images)
        loss = float(torch.nn.functional.nll_loss(probs.log(), validation.targets))
        # Lightning's own mean divides by the whole-number mean of the processes' counts, 15 instead of 15.5
        assert float(last["val/loss"]) == pytest.approx(loss, rel=1e-4)
        right = float((probs.argmax(1) == validation.targets).float().mean())
        assert float(last["val/accuracy"]) == pytest.approx(right, abs=1e-6)


def test_both_processes_stop_early_together(tmp_path):
    run = _Run(
        _alpl(
            tmp_path, "acquisition=dispersion", "schedule.cycles=1", "trainer.max_epochs=40", "model.optimizer.lr=0.3",
            "callbacks=early_stopping", "callbacks.early_stopping.patience=1",
            "+callbacks.early_stopping.min_delta=0.3",
        )
    )  # fmt: skip
    assert run.stages()[-1] == (None, "finished")
    for folder in run.cycles:
        losses = [float(row["train/loss"]) for row in csv.DictReader((folder / "epochs.csv").open(newline=""))]
        assert len(losses) < 40 and losses[-1] >= min(losses)
    assert len(np.load(run.cycles[0] / HISTORY)) == len((run.cycles[0] / "epochs.csv").read_text().splitlines()) - 1


# --- single parts, in two forked processes


def _view(labeled=range(41), **options):
    data = ImageDataModule(
        Digits, Normalize([0.3], [0.4]), **{"batch_size": 8, "eval_batch_size": 300, "seed": 4} | options
    )
    data.setup()
    _, targets = data.take_targets()
    labeled = torch.tensor(list(labeled))
    return data.with_pool(Pool.create(data.num_images, labeled), targets[labeled])


def _module():
    torch.manual_seed(0)
    network = partial(ClassificationNetwork, partial(SmallCnn, widths=(4, 8)), dropout=0.3)
    return Classifier(network, 10, 1, optimizer=partial(torch.optim.SGD, lr=0.1, momentum=0.9))


def _forked(folder, *callbacks, epochs=1):
    return Trainer(
        accelerator="cpu", devices=2, strategy="ddp_fork", max_epochs=epochs, callbacks=list(callbacks), logger=False,
        enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False, num_sanity_val_steps=0,
        limit_val_batches=0, use_distributed_sampler=False, default_root_dir=folder,
    )  # fmt: skip


class _Record(Callback):
    """Each process leaves the batches that it met, its weights, and its losses at the epoch's end."""

    def __init__(self, folder):
        self.folder, self.batches = folder, []

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        self.batches.append((trainer.current_epoch, batch.index, batch.labeled))

    def on_train_end(self, trainer, pl_module):
        metrics = {name: float(value) for name, value in trainer.callback_metrics.items()}
        left = {"batches": self.batches, "weights": dict(pl_module.named_parameters()), "metrics": metrics}
        torch.save(left, self.folder / f"process_{trainer.global_rank}.pt")


def _recorded(folder, view, epochs):
    _forked(folder, _Record(folder), epochs=epochs).fit(_module(), datamodule=view)
    return [torch.load(folder / f"process_{rank}.pt") for rank in (0, 1)]


@pytest.mark.parametrize("labeled_fraction", [1.0, 0.5, 0.25])
def test_the_trainer_gives_each_process_its_part(tmp_path, labeled_fraction):
    view = _view(labeled_fraction=labeled_fraction)
    processes = _recorded(tmp_path, view, epochs=3)
    for rank, process in enumerate(processes):
        place = {"seed": 4, "rank": rank, "world_size": 2}
        sampler = (
            PassSampler(view.pool.labeled, 8, **place)
            if labeled_fraction == 1.0
            else BalancedSampler(view.pool.labeled, view.pool.unlabeled, 8, labeled_fraction, **place)
        )
        expected = []
        for epoch in range(3):
            sampler.set_epoch(epoch)
            expected += [(epoch, batch.tolist()) for batch in sampler]
        assert [(epoch, index.tolist()) for epoch, index, _ in process["batches"]] == expected
        assert all(torch.equal(labeled, torch.isin(i, view.pool.labeled)) for _, i, labeled in process["batches"])
    if labeled_fraction == 1.0:
        for epoch in range(3):
            seen = [
                i for process in processes for e, index, _ in process["batches"] if e == epoch for i in index.tolist()
            ]
            assert sorted(seen) == view.pool.labeled.tolist()
    for name, weight in processes[0]["weights"].items():
        assert torch.equal(weight, processes[1]["weights"][name]), name


def test_a_process_without_a_labeled_image_takes_part(tmp_path):
    """Three labeled images of 1198: in most steps one process, or both, have none."""
    processes = _recorded(tmp_path, _view(range(3), labeled_fraction="random", batch_size=100), epochs=2)
    having = [[bool(labeled.any()) for _, _, labeled in process["batches"]] for process in processes]
    assert [True, False] in [sorted(step, reverse=True) for step in map(list, zip(*having, strict=True))]
    assert [False, False] in [list(step) for step in zip(*having, strict=True)]
    start = dict(_module().named_parameters())
    for name, weight in processes[0]["weights"].items():
        assert torch.equal(weight, processes[1]["weights"][name]) and not torch.equal(weight, start[name]), name


class _RowByHand(Callback):
    """The prediction of process 0 for the whole pool, alone."""

    def __init__(self, folder, view):
        self.folder, self.view = folder, view

    def on_train_epoch_end(self, trainer, pl_module):
        if trainer.is_global_zero:
            images = self.view.normalize(self.view.splits.train.images[self.view.pool.unlabeled])
            pl_module.eval()
            with torch.no_grad():
                np.save(
                    self.folder / f"row_{trainer.current_epoch}.npy", pl_module.network(images)[0].softmax(1).numpy()
                )
            pl_module.train()


def test_every_row_of_the_history_is_of_the_model_of_process_0(tmp_path):
    view = _view()
    tracker = PredictionTracker(posterior=True)
    tracker.bind(tmp_path)
    _forked(tmp_path, tracker, _RowByHand(tmp_path, view), epochs=3).fit(_module(), datamodule=view)
    expected = np.stack([np.load(tmp_path / f"row_{epoch}.npy") for epoch in range(3)])
    # with the batch norms of the saved model, also on process 1
    np.testing.assert_allclose(np.load(tmp_path / POSTERIORS), expected, atol=2e-4)


def test_the_loss_is_the_mean_over_both_processes(tmp_path):
    one, other = _recorded(tmp_path, _view(), epochs=1)
    assert one["metrics"]["train/loss"] == other["metrics"]["train/loss"]  # over the images of both


def test_fewer_images_than_processes_are_predicted(tmp_path):
    """The last image of a pool: one process has nothing to do."""
    view = _view().observing(torch.tensor([1000]))
    # left alone, Lightning refuses a loader of no batch on process 1
    _forked(tmp_path).predict(_module(), datamodule=view, return_predictions=False)
