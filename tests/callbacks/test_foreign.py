"""Lightning's own callbacks in a run: early stopping, averaged weights, and those that cannot be."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from command import alpl
from lightning.pytorch import Trainer, callbacks
from test_resume import contents, harness, only_run

from alpl.callbacks.foreign import REFUSED, check_callbacks
from alpl.callbacks.resume_checkpoint import ResumeCheckpoint
from alpl.errors import ConfigError
from alpl.machine.files import read_tensors
from alpl.machine.interruption import Interruption

RUN = ["data=digits", "schedule.initial.size=30", "schedule.budget=20", "schedule.cycles=1", "trainer.max_epochs=40"]
# a rate at which the loss goes up and down: no fit of forty epochs falls three times in a row without a rise
STOP = ["callbacks=early_stopping", "callbacks.early_stopping.patience=1", "model.optimizer.lr=0.3"]


def epochs_of(run: Path, cycle: int, name: str = "epochs.csv") -> list[dict[str, str]]:
    with (run / f"cycle_0{cycle}" / name).open(newline="") as stream:
        return list(csv.DictReader(stream))


@pytest.mark.slow
def test_a_fit_ends_early_and_its_record_with_it(tmp_path: Path) -> None:
    result = alpl(tmp_path, *RUN, *STOP, "acquisition=dispersion", "num_members=2")
    assert result.status == 0, result.err
    run = result.run_folder()
    stages = [json.loads(line)["stage"] for line in (run / "journal.jsonl").read_text().splitlines()]
    assert [stage for stage in stages if stage.startswith("fit")] == ["fit", "fit_1"] * 2 and stages[-1] == "finished"
    ended = []
    for cycle in (0, 1):
        for name in ("epochs.csv", "epochs_1.csv"):
            losses = [float(row["train/loss"]) for row in epochs_of(run, cycle, name)]
            best = np.minimum.accumulate(losses)
            assert losses[-1] >= best[-2] and all(loss < low for loss, low in zip(losses[1:-1], best, strict=False))
            ended.append(len(losses))
        assert len(np.load(run / f"cycle_0{cycle}" / "history.npy")) == len(epochs_of(run, cycle))
    assert max(ended) < 40 and len(set(ended)) > 1  # each fit counts by itself


def test_a_value_that_nothing_logs_ends_the_run_in_one_line(tmp_path: Path) -> None:
    override = "callbacks.early_stopping.monitor=train/looss"
    result = alpl(tmp_path, *RUN, *STOP, override, "acquisition=random")
    assert (
        result.status == 2 and result.err.splitlines()[-1].startswith("alpl: error: ") and "Traceback" not in result.err
    )
    assert "monitor of EarlyStopping must be a value that the fit logs (train/loss), got 'train/looss'" in result.err


@pytest.mark.slow
def test_validation_must_be_there_to_be_watched(tmp_path: Path) -> None:
    override = "callbacks.early_stopping.monitor=val/loss"
    result = alpl(tmp_path, *RUN, *STOP, override)
    assert result.status == 2 and "no images are held out for validation" in result.err
    assert not result.run_folders() or not list(result.runs.rglob("epochs.csv"))
    result = alpl(tmp_path, *RUN, *STOP, override, "data.validation=5%", "schedule.cycles=0")
    assert result.status == 0 and len(epochs_of(result.run_folders()[-1], 0)) < 40


def test_callbacks_that_clash_are_refused_before_training(tmp_path: Path) -> None:
    model_checkpoint = "+callbacks.mine={_target_: lightning.pytorch.callbacks.ModelCheckpoint}"
    result = alpl(tmp_path, *RUN, model_checkpoint)
    assert result.status == 2 and result.err.count("\n") == 1
    assert "callbacks.mine must not be a ModelCheckpoint: the run keeps checkpoints of its own" in result.err
    assert not list(result.runs.rglob("epochs.csv"))
    result = alpl(tmp_path, *RUN, "+callbacks.mine={_target_: torch.nn.Identity}")
    assert result.status == 2 and "callbacks.mine must be a callback of Lightning, got Identity" in result.err


@pytest.mark.parametrize(
    "callback",
    [
        callbacks.ModelCheckpoint(),
        callbacks.OnExceptionCheckpoint("there"),
        callbacks.TQDMProgressBar(),
        callbacks.ModelSummary(),
        callbacks.RichModelSummary(),
        callbacks.LearningRateMonitor(),
        callbacks.DeviceStatsMonitor(),
        callbacks.Timer(),
        callbacks.BatchSizeFinder(),
        callbacks.LearningRateFinder(),
        callbacks.StochasticWeightAveraging(0.1),
    ],
    ids=lambda callback: type(callback).__name__,
)
def test_each_is_refused_by_its_name_and_a_reason(callback: callbacks.Callback) -> None:
    with pytest.raises(ConfigError, match=rf"callbacks\.x must not be a {type(callback).__name__}: \w+") as error:
        check_callbacks({"x": callback}, has_validation=True)
    assert any(reason in str(error.value) for reason in REFUSED.values())


def test_others_are_not_refused() -> None:
    made = {"a": callbacks.EarlyStopping("val/loss"), "b": callbacks.GradientAccumulationScheduler({0: 1, 4: 2})}
    check_callbacks(made, has_validation=True)


@pytest.mark.slow
def test_averaged_weights_are_what_a_cycle_leaves(tmp_path: Path) -> None:
    ema = "+callbacks.ema={_target_: lightning.pytorch.callbacks.EMAWeightAveraging, decay: 0.9}"
    few = [*RUN, "schedule.cycles=0", "trainer.max_epochs=3"]
    # in one folder: a first cycle that was trained with other callbacks is not taken over
    done = [alpl(tmp_path, *few, f"row={name}", *extra) for name, extra in (("plain", []), ("ema", [ema]))]
    assert [each.status for each in done] == [0, 0], done[1].err
    runs = [path.parent for name in ("plain", "ema") for path in tmp_path.rglob("run.json") if name in path.parts]
    plain, averaged = (read_tensors(run / "cycle_00" / "model.pt") for run in runs)
    assert plain.keys() == averaged.keys()
    assert any(not torch.equal(plain[name], averaged[name]) for name in plain)
    losses = [[row["train/loss"] for row in epochs_of(run, 0)] for run in runs]
    assert losses[0] == losses[1]  # training itself is the same


def test_a_stopped_fit_that_was_killed_does_not_train_on(tmp_path: Path) -> None:
    checkpoint = ResumeCheckpoint(tmp_path / "fit.ckpt", 1e9, Interruption())
    trainer = Trainer(accelerator="cpu", devices=1, logger=False, max_epochs=3)
    trainer.should_stop = True
    checkpoint.on_train_epoch_end(trainer, None)
    resumed = ResumeCheckpoint(tmp_path / "fit.ckpt", 1e9, Interruption())
    resumed.load_state_dict(checkpoint.state_dict())
    trainer.should_stop = False
    resumed.on_fit_start(trainer, None)
    resumed.on_train_start(trainer, None)
    assert trainer.should_stop


@pytest.mark.slow
@pytest.mark.parametrize("extra", [[], ["+callbacks.ema={_target_: lightning.pytorch.callbacks.EMAWeightAveraging}"]])
def test_killed_at_random_moments_equals_undisturbed(tmp_path: Path, extra: list[str]) -> None:
    overrides = [*RUN, "callbacks=early_stopping", "callbacks.early_stopping.patience=4", "model.optimizer.lr=0.3"]
    overrides += ["acquisition=dispersion", "schedule.cycles=2", "checkpoint_every_s=0", *extra]
    assert harness(tmp_path / "whole", 0, 1.0, *overrides)["status"] == 0
    whole = only_run(tmp_path / "whole")
    assert len(epochs_of(whole, 0)) < 40
    journal = [json.loads(line) for line in (whole / "journal.jsonl").read_text().splitlines()]
    seconds = sum(entry.get("seconds", 0) for entry in journal)
    outcome = harness(tmp_path / "killed", 6, seconds / 6, *overrides)
    killed = only_run(tmp_path / "killed")
    assert outcome["status"] == 0 and outcome["killed"] >= 2 and outcome["killed_in_fit"], outcome
    assert contents(killed).keys() == contents(whole).keys()
    different = [name for name, data in contents(whole).items() if contents(killed)[name] != data]
    assert [name for name in different if name != "config.yaml"] == []
