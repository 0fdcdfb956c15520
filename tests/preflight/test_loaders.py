"""Loaders give every image that they are asked for: what would cut or replace them is refused by its name."""

import re
from pathlib import Path
from unittest import mock

import pytest
from command import TINY, alpl
from test_resume import contents

from alpl.cycle.prediction import WritePredictions

CUT = {
    "overfit_batches": "2",
    "fast_dev_run": "true",
    "barebones": "true",
    "limit_train_batches": "0.5",
    "limit_val_batches": "0.5",
    "limit_test_batches": "1",  # a batch, not all of them
    "limit_predict_batches": "0",
}


@pytest.mark.parametrize(("flag", "value"), CUT.items(), ids=CUT)
def test_flags_that_cut_loaders_are_refused_before_training(tmp_path: Path, flag: str, value: str) -> None:
    result = alpl(tmp_path, *TINY, "data.validation=100", f"+trainer.{flag}={value}")
    assert result.status == 2 and re.search(rf"error: trainer\.{flag} must be .*, got ", result.err), result.err
    assert not list(tmp_path.rglob("journal.jsonl"))


def test_the_sampler_of_several_processes_is_the_runs_own(tmp_path: Path) -> None:
    result = alpl(tmp_path, *TINY, "+trainer.use_distributed_sampler=true")
    assert result.status == 2 and "trainer.use_distributed_sampler must not be set" in result.err


def test_a_partners_trainer_is_held_to_the_same(tmp_path: Path) -> None:
    partner = (
        "partner={_target_: alpl.modules.partner.Partner, "
        "module: {_target_: labeled_or_not.LabeledOrNot, _partial_: true}, "
        "trainer: {_target_: labeled_or_not.trainer, _partial_: true, limit_predict_batches: 1}}"
    )
    result = alpl(tmp_path, *TINY, "acquisition={_target_: labeled_or_not.LeastLabeled}", partner, "row=x")
    assert result.status == 2 and "partner.trainer.limit_predict_batches must be 1.0, got 1" in result.err


@pytest.mark.slow
def test_whole_loaders_may_be_asked_for_and_made_again_every_epoch(tmp_path: Path) -> None:
    whole = [f"+trainer.limit_{name}_batches=1.0" for name in ("train", "test", "predict")]
    again = alpl(tmp_path / "again", *TINY, "acquisition=entropy", "row=x", *whole,
                 "+trainer.reload_dataloaders_every_n_epochs=1")  # fmt: skip
    plain = alpl(tmp_path / "plain", *TINY, "acquisition=entropy", "row=x")
    assert again.status == plain.status == 0, again.err
    found, expected = contents(again.run_folder()), contents(plain.run_folder())
    for name in ("cycle_00/query.csv", "cycle_01/metrics.json", "cycle_01/epochs.csv"):
        assert found[name] == expected[name], name


@pytest.mark.parametrize(
    ("overrides", "is_cut"),
    [
        (("acquisition=entropy",), lambda number: True),
        pytest.param(
            ("acquisition=random",), lambda number: True, marks=pytest.mark.slow
        ),  # what is recorded of the pool
        (("acquisition=kcenter",), lambda number: number == 30),  # the labeled images alone
        pytest.param(
            ("acquisition=entropy", "pseudo_labels=ceal", "informativeness=false"),
            lambda number: True,
            marks=pytest.mark.slow,
        ),
    ],
    ids=["ranking", "record", "labeled", "pseudo-labels"],
)
def test_predictions_that_lack_images_are_never_used(tmp_path: Path, overrides, is_cut) -> None:
    def cut(self, trainer, pl_module, outputs, batch, batch_idx, dataloader_idx=0):
        number = outputs.num_images
        self.writer.append(outputs.slice(0, number - 2 if is_cut(number) else number))

    with mock.patch.object(WritePredictions, "on_predict_batch_end", cut):
        result = alpl(tmp_path, *TINY, *overrides)
    assert result.status, result.out
    assert re.search(r"must be of all \d+ images .* those of 2 are missing, images \[", result.err), result.err
    assert not list(tmp_path.rglob("query.csv"))
