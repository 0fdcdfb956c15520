from unittest.mock import Mock

import pytest
import torch
from lightning.pytorch import LightningModule, Trainer
from torch.utils.data import DataLoader

from alpl.callbacks import batch_progress
from alpl.callbacks.batch_progress import BatchProgress

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")


class Idle(LightningModule):
    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(()))

    def training_step(self, batch, batch_idx):
        return self.weight * 0

    def validation_step(self, batch, batch_idx): ...

    def test_step(self, batch, batch_idx): ...

    def predict_step(self, batch, batch_idx):
        return batch

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)


def _told(folder, act, monkeypatch, step=1.0):
    clock = iter(step * tick for tick in range(1, 1000))
    monkeypatch.setattr(batch_progress.time, "monotonic", lambda: next(clock))
    progress = Mock()
    trainer = Trainer(
        accelerator="cpu", devices=1, max_epochs=2, callbacks=[BatchProgress(progress)], logger=False,
        enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False, num_sanity_val_steps=0,
        default_root_dir=folder,
    )  # fmt: skip
    act(trainer, Idle(), DataLoader(list(range(3)), batch_size=None))
    return [call.args[0] for call in progress.within.call_args_list]


def test_a_fit_tells_epoch_and_batch_and_its_validation(tmp_path, monkeypatch):
    told = _told(tmp_path, lambda trainer, module, loader: trainer.fit(module, loader, loader), monkeypatch)
    epoch = ["epoch 1/2", *(f"epoch 1/2, batch {batch}/3" for batch in (1, 2, 3))]
    assert told[:7] == [*epoch, *(f"epoch 1/2, validation batch {batch}/3" for batch in (1, 2, 3))]
    assert told[7] == "epoch 2/2" and len(told) == 14


@pytest.mark.parametrize("stage", ["test", "predict"])
def test_a_test_and_a_prediction_tell_the_batch(stage, tmp_path, monkeypatch):
    def act(trainer, module, loader):
        getattr(trainer, stage)(module, loader)

    assert _told(tmp_path, act, monkeypatch) == ["batch 1/3", "batch 2/3", "batch 3/3"]


def test_batches_that_follow_each_other_closely_are_not_all_told(tmp_path, monkeypatch):
    told = _told(tmp_path, lambda trainer, module, loader: trainer.predict(module, loader), monkeypatch, step=0.0)
    assert told == []  # by this clock all of them come at once
