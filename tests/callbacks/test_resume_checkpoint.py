import time
from functools import partial

import pytest
import torch
from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import Callback, EarlyStopping, EMAWeightAveraging

from alpl.callbacks.epoch_log import EpochLog
from alpl.callbacks.epoch_seed import EpochSeed
from alpl.callbacks.prediction_tracker import HISTORY, POSTERIORS, PredictionTracker
from alpl.callbacks.resume_checkpoint import ResumeCheckpoint
from alpl.data.augment import Normalize, PadCrop
from alpl.data.datamodule import ImageDataModule
from alpl.data.digits import Digits
from alpl.machine.files import write_tensors
from alpl.machine.interruption import Interruption
from alpl.machine.seeding import seed_all
from alpl.modules.classifier import Classifier
from alpl.networks.classification import ClassificationNetwork
from alpl.networks.small_cnn import SmallCnn
from alpl.pool import Pool

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")

EPOCHS, STEPS = 6, 3  # 40 labeled images in batches of 16
SCHEDULES = {
    "cosine": partial(torch.optim.lr_scheduler.CosineAnnealingLR, T_max=EPOCHS),
    "milestones": partial(torch.optim.lr_scheduler.MultiStepLR, milestones=[2, 4]),
    "none": None,
}


class KilledError(Exception):
    pass


class Bomb(Callback):
    """Kills the fit at a moment of an epoch."""

    def __init__(self, moment, epoch):
        setattr(self, moment, self._check)
        self.epoch = epoch

    def _check(self, trainer, *args, **options):
        if trainer.current_epoch == self.epoch and (len(args) < 2 or args[-1] == 1):  # of batches, the second
            raise KilledError


@pytest.fixture(scope="module")
def view():
    """Dropout, augmentation, half-labeled batches where asked for, and a few validation images."""

    def make(**options):
        options = {"batch_size": 16, "eval_batch_size": 400, "seed": 0, "validation": 20} | options
        data = ImageDataModule(Digits, Normalize([0.3], [0.4]), [PadCrop(1)], **options)
        data.setup()
        candidates, targets = data.take_targets()
        labeled = candidates.index[:40]
        return data.with_pool(Pool.create(data.num_images, labeled, data.excluded), targets[labeled])

    return make


def _fit(folder, view, *callbacks, schedule="cosine", interval="epoch", every_s=0.0, **trainer):
    """What the loop does for one fit, from the last checkpoint where there is one."""
    folder.mkdir(exist_ok=True)
    seed_all(11)
    module = Classifier(
        partial(ClassificationNetwork, partial(SmallCnn, widths=(4, 8)), dropout=0.3), 10, 1,
        optimizer=partial(torch.optim.SGD, lr=0.1, momentum=0.9, weight_decay=1e-3),
        scheduler=SCHEDULES[schedule], scheduler_interval=interval,
    )  # fmt: skip
    tracker, checkpoint = PredictionTracker(posterior=True), folder / "fit.ckpt"
    tracker.bind(folder)
    own = [EpochSeed(7), tracker, EpochLog(folder / "epochs.csv", lambda epoch, values: None), *callbacks]
    resume = checkpoint if checkpoint.exists() else None
    Trainer(**{
        "accelerator": "cpu", "devices": 1, "max_epochs": EPOCHS, "logger": False, "use_distributed_sampler": False,
        "enable_progress_bar": False, "enable_model_summary": False, "num_sanity_val_steps": 0,
        "default_root_dir": folder, "callbacks": [*own, ResumeCheckpoint(checkpoint, every_s, Interruption())],
        **trainer,
    }).fit(module, datamodule=view, ckpt_path=resume, weights_only=True)  # fmt: skip
    write_tensors(folder / "model.pt", module.state_dict())
    return module


def _left(folder):
    return {name: (folder / name).read_bytes() for name in (HISTORY, POSTERIORS, "epochs.csv")}


def _assert_same_fit(tmp_path, view, *bombs, **options):
    """Killed at each bomb and taken up again, a fit ends as the undisturbed one."""
    undisturbed = _fit(tmp_path / "undisturbed", view, **options)
    for bomb in bombs:
        with pytest.raises(KilledError):
            _fit(tmp_path / "killed", view, bomb, **options)
        assert not (tmp_path / "killed" / "model.pt").exists()
    resumed = _fit(tmp_path / "killed", view, **options)
    assert _left(tmp_path / "killed") == _left(tmp_path / "undisturbed")
    expected = undisturbed.state_dict()
    for name, value in resumed.state_dict().items():
        assert torch.equal(value, expected[name]), name


@pytest.mark.sample(1)
@pytest.mark.parametrize("interval", ["epoch", pytest.param("step", marks=pytest.mark.slow)])
@pytest.mark.parametrize("schedule", ["cosine", "milestones"])
def test_every_schedule_goes_on_as_if_undisturbed(tmp_path, view, schedule, interval):
    bombs = Bomb("on_train_epoch_start", 1), Bomb("on_train_batch_start", 4)
    _assert_same_fit(tmp_path, view(), *bombs, schedule=schedule, interval=interval)


@pytest.mark.sample(2)
@pytest.mark.parametrize("epoch", [0, *(pytest.param(each, marks=pytest.mark.slow) for each in (1, 3)), EPOCHS - 1])
@pytest.mark.parametrize(
    "moment", ["on_train_epoch_start", "on_train_batch_start", "on_validation_end", "on_train_epoch_end"]
)
def test_every_moment(tmp_path, view, moment, epoch):
    _assert_same_fit(tmp_path, view(), Bomb(moment, epoch))


@pytest.mark.slow
def test_killed_behind_the_last_checkpoint(tmp_path, view):
    """The fit is complete, only its weights are not yet written."""
    _assert_same_fit(tmp_path, view(), Bomb("on_train_end", EPOCHS))
    with pytest.raises(KilledError):
        _fit(tmp_path / "again", view(), Bomb("on_train_end", EPOCHS))
    rows = _left(tmp_path / "again")
    _fit(tmp_path / "again", view())
    assert _left(tmp_path / "again") == rows


def test_killed_before_any_checkpoint(tmp_path, view):
    bombs = [Bomb("on_train_epoch_start", epoch) for epoch in (1, 4)]
    _assert_same_fit(tmp_path, view(), *bombs, every_s=1000.0)
    assert not (tmp_path / "killed" / "fit.ckpt").exists()


class EndBomb(Callback):
    """Kills a fit that is complete, whenever that is."""

    def on_train_end(self, trainer, pl_module):
        raise KilledError


@pytest.mark.sample(1)
@pytest.mark.parametrize(
    "make",
    [
        partial(EarlyStopping, "train/loss", patience=2, min_delta=0.2),
        partial(EarlyStopping, "val/loss", patience=1, min_delta=0.2, check_on_train_epoch_end=False),
        partial(EMAWeightAveraging, decay=0.9),
    ],
    ids=["train_loss", "val_loss", "averages"],
)
def test_callbacks_of_lightning_go_on_as_if_undisturbed(tmp_path, view, make):
    undisturbed = _fit(tmp_path / "undisturbed", view(), make())
    for bomb in (Bomb("on_train_epoch_start", 1), EndBomb()):
        with pytest.raises(KilledError):
            _fit(tmp_path / "killed", view(), bomb, make())
    resumed = _fit(tmp_path / "killed", view(), make())
    assert _left(tmp_path / "killed") == _left(tmp_path / "undisturbed")
    assert all(map(torch.equal, resumed.state_dict().values(), undisturbed.state_dict().values()))
    plain = _fit(tmp_path / "plain", view())  # it did something
    assert not all(map(torch.equal, plain.state_dict().values(), undisturbed.state_dict().values()))


@pytest.mark.sample(1)
@pytest.mark.parametrize("labeled_fraction", [0.5, "random"])
def test_batches_with_unlabeled_images(tmp_path, view, labeled_fraction):
    _assert_same_fit(
        tmp_path,
        view(labeled_fraction=labeled_fraction),
        Bomb("on_train_epoch_start", 2),
        max_epochs=3,
        schedule="none",
    )


@pytest.mark.sample(1)
@pytest.mark.parametrize("max_steps", [4 * STEPS, 4 * STEPS + 1])
@pytest.mark.parametrize("interval", ["epoch", "step"])
def test_a_fit_that_counts_steps(tmp_path, view, max_steps, interval):
    options = {"max_epochs": -1, "max_steps": max_steps, "schedule": "milestones", "interval": interval}
    # left alone, Lightning ends the last epoch of a resumed fit that counts steps again
    _assert_same_fit(tmp_path, view(), Bomb("on_train_epoch_start", 1), Bomb("on_train_batch_start", 3), **options)


def test_validation_every_other_epoch(tmp_path, view):
    bomb = Bomb("on_train_epoch_start", 2)
    _assert_same_fit(tmp_path, view(), bomb, check_val_every_n_epoch=2)  # epochs without validation have no values


def test_another_fit_is_not_the_same(tmp_path, view):
    """The comparison above can fail."""
    _fit(tmp_path / "one", view())
    _fit(tmp_path / "other", view(seed=1))
    one, other = _left(tmp_path / "one"), _left(tmp_path / "other")
    assert all(one[name] != other[name] for name in one)


def test_every_epoch_draws_anew(tmp_path, view):
    draws = []

    class Draw(Callback):
        def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
            draws.append(float(torch.rand(())))

    _fit(tmp_path, view(), Draw())
    assert len(set(draws)) == len(draws) == EPOCHS * STEPS


# --- the checkpoint itself


class _Saves(Callback):
    """Notes the epochs behind which the checkpoint is new."""

    def __init__(self, path):
        self.path, self.epochs, self._seen = path, [], None

    def _look(self, trainer, *args):
        stamp = self.path.stat().st_mtime_ns if self.path.exists() else None
        if stamp != self._seen:
            self.epochs.append(trainer.current_epoch - 1)
        self._seen = stamp

    on_train_epoch_start = on_train_end = _look


@pytest.mark.parametrize(("seconds_an_epoch", "saved"), [(0, []), (6, [1, 3, 5]), (10, [0, 1, 2, 3, 4, 5])])
def test_checkpoints_come_when_they_are_due(tmp_path, view, monkeypatch, seconds_an_epoch, saved):
    now = [0.0]
    monkeypatch.setattr("alpl.callbacks.resume_checkpoint.time.monotonic", lambda: now[0])

    class Clock(Callback):
        def on_train_epoch_start(self, trainer, pl_module):
            now[0] += seconds_an_epoch

    saves = _Saves(tmp_path / "fit.ckpt")
    _fit(tmp_path, view(), Clock(), saves, every_s=10.0)
    assert saves.epochs == saved
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


def test_it_runs_behind_the_other_callbacks(tmp_path, view):
    """Wherever it stands in the list: what the others recorded at the epoch's end belongs to the checkpoint."""
    path = tmp_path / "fit.ckpt"
    first = [ResumeCheckpoint(path, 0.0, Interruption()), EpochLog(tmp_path / "epochs.csv", lambda epoch, values: None)]
    _fit(tmp_path, view(), callbacks=first, max_epochs=2)
    state = torch.load(path, weights_only=True)
    (rows,) = [value["rows"] for name, value in state["callbacks"].items() if "EpochLog" in name]
    assert [row["epoch"] for row in rows] == [0, 1]


def test_a_failed_write_leaves_the_last_checkpoint(tmp_path, view, monkeypatch):
    path = tmp_path / "fit.ckpt"
    _fit(tmp_path, view(), max_epochs=1)
    before = path.read_bytes()

    def half_written(checkpoint, stream):
        stream.write(before[: len(before) // 2])
        raise OSError("disk full")

    monkeypatch.setattr(torch, "save", half_written)
    with pytest.raises(OSError, match="disk full"):
        _fit(tmp_path, view(), max_epochs=2)
    assert path.read_bytes() == before
    assert sorted(p.name for p in tmp_path.iterdir() if "ckpt" in p.name) == ["fit.ckpt"]


def test_the_clock_starts_with_the_callback(tmp_path):
    assert time.monotonic() - ResumeCheckpoint(tmp_path / "fit.ckpt", 1.0, Interruption())._last < 5
