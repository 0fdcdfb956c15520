"""Runs with VAAL beside the task: what it finds, and that nothing leaks, is lost or reaches the task's network."""

import csv
from functools import partialmethod
from pathlib import Path

import numpy as np
import pytest
import torch
from command import alpl
from lightning.pytorch import Trainer
from omegaconf import open_dict
from test_ddp import _alpl
from test_detection_runs import scramble as scramble_objects
from test_loop import scramble
from test_resume import contents
from vaal_digest import FOLDER

from alpl.callbacks.resume_checkpoint import ResumeCheckpoint
from alpl.commands.sweep import compose_job
from alpl.experiment import make_experiment
from alpl.machine.seeding import seed_all
from alpl.pool import Pool

TASK = ["data=digits", "schedule.cycles=1", "trainer.max_epochs=1", "num_threads=1"]
PARTNER = [*TASK, "partner.module.batch_size=200", "partner.module.vae_steps=1"]
SMALL = [*PARTNER, "method=vaal"]
SCENES = ["scale=smoke", "method=vaal", "schedule.cycles=1", "trainer.max_epochs=1", "partner.module.batch_size=16"]


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_a_classifier_s_query_is_what_looks_least_labeled(tmp_path: Path) -> None:
    result = alpl(tmp_path, *SMALL, "keep_predictions=true")
    assert result.status == 0 and "val_dataloader" not in result.err, result.err
    folder = result.run_folder() / "cycle_00"
    asked = folder / "predictions" / "partner"
    index, answers = np.load(asked / "index.npy"), np.load(asked / "labeledness.npy")
    query = rows(folder / "query.csv")
    assert index.tolist() == Pool.load(folder / "pool.csv").unlabeled.tolist()
    assert {int(row["index"]) for row in query} == set(index[np.argsort(answers)[: len(query)]].tolist())
    (epoch,) = rows(folder / "epochs_partner.csv")
    assert float(epoch["train/vae_loss"]) > 0 and float(epoch["train/discriminator_loss"]) > 0


@pytest.mark.slow
def test_labels_of_unlabeled_images_reach_no_partner(tmp_path: Path, monkeypatch) -> None:
    """Nor does the partner reach the task's network: both are as they are in a run without one."""
    overrides = [*SMALL, "share_first_cycle=false"]
    true = alpl(tmp_path / "true", *overrides).run_folder()
    alone = alpl(tmp_path / "alone", *TASK, "method=entropy", "share_first_cycle=false").run_folder()
    for name in ("model.pt", "metrics.json", "epochs.csv"):
        assert (true / "cycle_00" / name).read_bytes() == (alone / "cycle_00" / name).read_bytes(), name
    scramble(monkeypatch, Pool.load(true / "cycle_01" / "pool.csv").labeled)
    wrong = alpl(tmp_path / "wrong", *overrides).run_folder()
    for name in ("cycle_00/partner.pt", "cycle_00/query.csv", "cycle_01/model.pt"):
        assert (true / name).read_bytes() == (wrong / name).read_bytes(), name


@pytest.mark.slow
def test_objects_of_unlabeled_scenes_reach_no_partner(tmp_path: Path, monkeypatch) -> None:
    true = alpl(tmp_path / "true", *SCENES).run_folder()
    utility = [float(row["utility"]) for row in rows(true / "cycle_00" / "query.csv")]
    assert utility == sorted(utility, reverse=True) and len(set(utility)) > 3
    scramble_objects(monkeypatch, Pool.load(true / "cycle_01" / "pool.csv").labeled)
    wrong = alpl(tmp_path / "wrong", *SCENES).run_folder()
    for name in ("cycle_00/partner.pt", "cycle_00/query.csv", "cycle_01/model.pt"):
        assert (true / name).read_bytes() == (wrong / name).read_bytes(), name


@pytest.mark.slow
def test_class_balance_runs_beside_it(tmp_path: Path) -> None:
    run = alpl(tmp_path, *PARTNER, "method=vaal_balanced").run_folder()
    assert Pool.load(run / "cycle_01" / "pool.csv").num_labeled == 50


@pytest.mark.slow
def test_a_fit_that_is_cut_off_goes_on_with_both_optimizers(tmp_path: Path, monkeypatch) -> None:
    """Behind an odd number of batches, so that it is the discriminator's turn; kills are those of any partner."""
    overrides = [
        *TASK, "method=vaal", "partner.module.batch_size=360", "partner.trainer.max_epochs=2", "checkpoint_every_s=0",
        "share_first_cycle=false",
    ]  # fmt: skip
    whole = alpl(tmp_path / "whole", *overrides).run_folder()
    with monkeypatch.context() as patch:
        patch.setattr(ResumeCheckpoint, "_write", partialmethod(cut_off_partner, ResumeCheckpoint._write))
        with pytest.raises(CutOffError):
            alpl(tmp_path / "cut", *overrides)
    (left,) = (tmp_path / "cut").rglob("fit_partner.ckpt")
    assert torch.load(left, weights_only=True)["vaal_batches"] % 2 == 1
    result = alpl(tmp_path / "cut", *overrides)
    cut, expected = contents(result.run_folder()), contents(whole)
    assert result.status == 0 and not left.exists() and cut.keys() == expected.keys()
    assert {name for name, data in cut.items() if expected[name] != data} <= {"config.yaml"}


class CutOffError(BaseException):
    pass


def cut_off_partner(callback: ResumeCheckpoint, write, trainer: Trainer) -> None:
    write(callback, trainer)
    if callback.path.name == "fit_partner.ckpt":
        raise CutOffError


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::DeprecationWarning")
def test_two_processes_train_one_partner(tmp_path: Path, monkeypatch) -> None:
    (tmp_path / "digests").mkdir()
    monkeypatch.setenv(FOLDER, str(tmp_path / "digests"))
    run = _alpl(tmp_path, *SMALL, "partner.trainer._target_=tests.vaal_digest.trainer", "keep_predictions=true")
    digests = {path.name: path.read_text() for path in (tmp_path / "digests").iterdir()}
    assert set(digests) == {"partner_of_0", "partner_of_1"} and len(set(digests.values())) == 1
    index = np.load(run / "cycle_00" / "predictions" / "partner" / "index.npy")
    assert index.tolist() == Pool.load(run / "cycle_00" / "pool.csv").unlabeled.tolist()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_digits_that_were_never_labeled_look_less_labeled() -> None:
    """Labeled are digits 0 to 4 alone, unlabeled is the rest of all; the autoencoder plays against nobody.

    Where it does, as written, it wins on digits: all look alike (means of 0.494 and 0.498 behind 300 steps, by luck).
    """
    quick = ["lr=2e-3", "vae_steps=1", "kl=mean", "appearance=as_released"]
    config = compose_job([*TASK, "method=vaal", *(f"partner.module.{value}" for value in quick)])
    with open_dict(config):
        del config["hydra"]
    experiment = make_experiment(config)
    data = experiment.data
    data.setup()
    candidates, targets = data.take_targets()
    seen = candidates.index[targets[candidates.index] < 5]
    pool = Pool.create(data.num_images, seen[: len(seen) // 2])
    view = data.with_pool(pool, targets[pool.labeled])
    seed_all(0)
    module = experiment.partner.module(**data.module_arguments)
    quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False, "accelerator": "cpu"}
    quiet |= {"enable_checkpointing": False, "use_distributed_sampler": False, "limit_val_batches": 0}
    Trainer(max_epochs=-1, max_steps=120, **quiet).fit(module, datamodule=module.view(data=view))
    answers = Trainer(**quiet).predict(module, datamodule=module.view(view).observing(pool.unlabeled))
    labeledness = torch.cat([part.labeledness for part in answers])
    unseen = targets[pool.unlabeled] >= 5
    right = (labeledness[~unseen, None] > labeledness[None, unseen]).float().mean()  # of all pairs; AUC
    assert float(right) > 0.75  # seen: 0.89 and 0.86 by the seed; 0.61 with kl=sum, whose codes hold less
