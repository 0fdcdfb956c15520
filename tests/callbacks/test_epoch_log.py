import csv
from functools import partial

import pytest
import torch
from lightning.pytorch import LightningModule, Trainer
from torch.utils.data import DataLoader

from alpl.callbacks.epoch_log import EpochLog

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")

LOSSES = [[1.0, 2.0, 6.0], [4.0, 4.0, 4.0], [0.5, 0.0, 1.0], [9.0, 0.0, 0.0]]  # [epoch][batch]
RATES = [0.5, 0.25, 0.125, 0.0625]


class Scripted(LightningModule):
    """Logs what the script says; halves its learning rate every epoch (or every step)."""

    def __init__(self, interval="epoch"):
        super().__init__()
        self.interval = interval
        self.weight = torch.nn.Parameter(torch.zeros(()))
        self.rates = []

    def training_step(self, batch, batch_idx):
        self.rates.append(self.trainer.optimizers[0].param_groups[0]["lr"])
        self.log("train/loss", LOSSES[self.current_epoch][batch_idx], on_step=False, on_epoch=True, batch_size=1)
        return self.weight * 0

    def validation_step(self, batch, batch_idx):
        self.log("val/accuracy", 0.25 * self.current_epoch, batch_size=1)

    def configure_optimizers(self):
        optimizer = torch.optim.SGD(self.parameters(), lr=0.5)
        schedule = torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.5)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": self.interval}}


def _run(folder, module=None, epochs=4, validate=True, told=None, **options):
    loader = partial(DataLoader, list(range(3)), batch_size=None)
    told = [] if told is None else told
    log = EpochLog(folder / "cycle" / "epochs.csv", lambda epoch, values: told.append((epoch, values)))
    Trainer(
        accelerator="cpu", devices=1, max_epochs=epochs, callbacks=[log], logger=False, enable_checkpointing=False,
        enable_progress_bar=False, enable_model_summary=False, num_sanity_val_steps=0, default_root_dir=folder,
        **options,
    ).fit(module or Scripted(), loader(), loader() if validate else None)  # fmt: skip
    return log


def _rows(folder):
    with (folder / "cycle" / "epochs.csv").open(newline="") as stream:
        return list(csv.DictReader(stream))


def test_a_row_holds_the_means_of_its_epoch(tmp_path):
    _run(tmp_path)
    rows = _rows(tmp_path)
    assert [int(row["epoch"]) for row in rows] == [0, 1, 2, 3]
    assert [float(row["train/loss"]) for row in rows] == [3.0, 4.0, 0.5, 3.0]
    assert [float(row["val/accuracy"]) for row in rows] == [0.0, 0.25, 0.5, 0.75]


def test_the_learning_rate_is_that_of_the_epoch(tmp_path):
    module = Scripted()
    _run(tmp_path, module)
    assert module.rates[::3] == RATES
    assert [
        float(row["lr"]) for row in _rows(tmp_path)
    ] == RATES  # not the next epoch's, which the schedule has set by then


def test_a_rate_that_changes_by_step_is_one_of_the_epoch(tmp_path):
    module = Scripted("step")
    _run(tmp_path, module, epochs=2)
    for number, row in enumerate(_rows(tmp_path)):
        assert float(row["lr"]) in module.rates[3 * number : 3 * number + 3]


def test_the_logger_hears_of_every_row(tmp_path):
    told = []
    _run(tmp_path, told=told)
    assert [epoch for epoch, _ in told] == [0, 1, 2, 3]
    assert [values for _, values in told] == [
        {name: float(value) for name, value in row.items() if name != "epoch"} for row in _rows(tmp_path)
    ]


def test_the_file_is_whole_after_every_epoch(tmp_path):
    counts = []

    class Count(list):
        def append(self, item):
            counts.append(len(_rows(tmp_path)))

    _run(tmp_path, told=Count())
    assert counts == [1, 2, 3, 4]
    assert [path.name for path in (tmp_path / "cycle").iterdir()] == ["epochs.csv"]


def test_a_column_that_comes_late_is_empty_before(tmp_path):
    """Validation every other epoch: what was measured earlier is not repeated as if it were new."""
    _run(tmp_path, check_val_every_n_epoch=2)
    rows = _rows(tmp_path)
    assert rows[0]["val/accuracy"] == "" and float(rows[1]["val/accuracy"]) == 0.25
    assert rows[2]["val/accuracy"] == "" and float(rows[3]["val/accuracy"]) == 0.75


def test_rows_travel_in_the_state(tmp_path):
    log = _run(tmp_path, epochs=2, validate=False)
    other = EpochLog(tmp_path / "other.csv", log.tell)
    other.load_state_dict(log.state_dict())
    other.rows.append({"epoch": 2})
    assert len(log.rows) == 2 and other.rows[:2] == log.rows
