"""What the callback makes of scripted positives: by hand, resumed, and in two processes."""

import csv
from functools import partial

import pytest
import torch
from lightning.pytorch import LightningDataModule, Trainer
from lightning.pytorch.callbacks import Callback
from torch.utils.data import DataLoader

from alpl.callbacks.class_difficulty import DIFFICULTY, ClassDifficulty
from alpl.errors import ConfigError
from alpl.losses.positives import Positives
from alpl.modules.base import AbstractTrainableModule
from alpl.predictions import Need

BY_HAND = [[(0, 0.2), (0, 0.4)], [(1, 0.5)], []]  # class and difficulty of each positive, batch by batch
UNEVEN = [[(0, 0.2), (0, 0.8), (0, 0.8)], [(1, 0.5)], [], [(0, 0.1), (1, 0.9), (1, 0.3), (1, 0.2)], [(0, 0.6)]]

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning", "ignore::DeprecationWarning")


class Scripted(AbstractTrainableModule):
    """Tells of batch n what stands there; each process every ``world_size``-th positive, maybe none."""

    provides = Need.NOTHING
    tells_positives = True

    def __init__(self, batches):
        super().__init__(optimizer=partial(torch.optim.SGD, lr=0.1))
        self.batches = batches
        self.weight = torch.nn.Parameter(torch.ones(1))

    def training_step(self, batch, batch_idx):
        assert self.wants_positives
        own = self.batches[batch_idx][self.global_rank :: self.trainer.world_size]
        positives = None
        if own:
            labels, values = torch.tensor([label for label, _ in own]), torch.tensor([value for _, value in own])
            positives = Positives(torch.zeros_like(labels), labels, 1 - values, torch.ones_like(values))
        return {"loss": self.weight.sum() * 0, "positives": positives}

    @classmethod
    def ensemble(cls, members):
        raise NotImplementedError

    def predict_batch(self, batch, needs):
        raise NotImplementedError

    def test_results(self):
        return {}


class Data(LightningDataModule):
    classes = ("cat", "a, dog")

    def __init__(self, number):
        super().__init__()
        self.number = number

    def train_dataloader(self):
        return DataLoader(torch.zeros(self.number, 1))


class Stop(Callback):
    """Leaves a checkpoint and an error at an epoch's end; behind the callback that it watches."""

    def __init__(self, path, epoch):
        self.path, self.epoch = path, epoch

    def on_train_epoch_end(self, trainer, pl_module):
        if trainer.current_epoch == self.epoch:
            trainer.save_checkpoint(self.path)
            raise KeyboardInterrupt


def fit(folder, batches, *callbacks, epochs=1, ckpt_path=None, **options):
    """Difficulties, momenta and numbers of positives in the file, or None where there is none."""
    callback = options.pop("difficulty", None) or ClassDifficulty(1.0, 0.9)
    callback.bind(folder)
    options = {"accelerator": "cpu", "devices": 1} | options
    trainer = Trainer(
        max_epochs=epochs, callbacks=[callback, *callbacks], logger=False, enable_checkpointing=False,
        enable_progress_bar=False, enable_model_summary=False, use_distributed_sampler=False,
        default_root_dir=folder, **options,
    )  # fmt: skip
    trainer.fit(Scripted(batches), datamodule=Data(len(batches)), ckpt_path=ckpt_path, weights_only=True)
    return read(folder)


def read(folder):
    with (folder / DIFFICULTY).open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [row["class"] for row in rows] == list(Data.classes)
    return [[float(row[name]) for row in rows] for name in ("difficulty", "momentum", "positives")]


def test_the_file_is_that_of_the_hand(tmp_path):
    difficulty, momentum, positives = fit(tmp_path, BY_HAND)
    assert difficulty == pytest.approx([0.93, 0.905], abs=1e-6)
    assert momentum == pytest.approx([0.729, 0.81], abs=1e-6) and positives == [2, 1]
    callback = ClassDifficulty()
    assert callback.field == "difficulty" and callback.provides is Need.DIFFICULTY
    assert callback.read(tmp_path).dtype == torch.float32
    assert callback.read(tmp_path).tolist() == pytest.approx(difficulty)
    assert [path.name for path in tmp_path.iterdir()] == [DIFFICULTY]


def test_as_released_an_absent_class_drifts(tmp_path):
    difficulty = fit(tmp_path, BY_HAND, difficulty=ClassDifficulty(1.0, 0.9, "as_released"))[0]
    assert difficulty[1] == pytest.approx(0.9145, abs=1e-5)


def test_gradients_of_several_batches_are_several_updates(tmp_path):
    assert fit(tmp_path, BY_HAND, accumulate_grad_batches=3) == fit(tmp_path, BY_HAND)


def test_every_fit_begins_with_1(tmp_path):
    callback = ClassDifficulty(1.0, 0.9)
    assert fit(tmp_path, UNEVEN, difficulty=callback) == fit(tmp_path, UNEVEN, difficulty=callback)


@pytest.mark.parametrize("epoch", [0, 1, 2])
def test_a_resumed_fit_leaves_the_same_file(tmp_path, epoch):
    """Also one that ended in its last epoch: nothing is trained any more."""
    whole = fit(tmp_path, UNEVEN, epochs=3)
    bytes_of_whole = (tmp_path / DIFFICULTY).read_bytes()
    (tmp_path / DIFFICULTY).unlink()
    with pytest.raises((KeyboardInterrupt, SystemExit)):
        fit(tmp_path, UNEVEN, Stop(tmp_path / "stopped.ckpt", epoch), epochs=3)
    assert not (tmp_path / DIFFICULTY).exists()
    assert fit(tmp_path, UNEVEN, epochs=3, ckpt_path=tmp_path / "stopped.ckpt") == whole
    assert (tmp_path / DIFFICULTY).read_bytes() == bytes_of_whole and whole[2] == [15, 12]


@pytest.mark.slow
def test_two_processes_are_one(tmp_path):
    """Sums and counts are added up: the mean of the processes' means would be another number."""
    alone = fit(tmp_path, UNEVEN, epochs=2)
    together = fit(tmp_path, UNEVEN, epochs=2, devices=2, strategy="ddp_fork")
    for one, other in zip(together, alone, strict=True):
        assert one == pytest.approx(other, abs=1e-6)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"xi": 1.5}, r"class_difficulty\.xi must be in \[0, 1\], got 1\.5"),
        ({"base_momentum": 1.0}, r"base_momentum must be in \[0, 1\), got 1\.0"),
        ({"absent": "never"}, "absent must be as_written or as_released, got 'never'"),
    ],
)
def test_bad_arguments_are_named(options, message):
    with pytest.raises(ConfigError, match=message):
        ClassDifficulty(**options)
