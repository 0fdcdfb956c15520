import multiprocessing
import os
import signal
import time
import zlib
from functools import partial

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import Callback
from torch.utils._python_dispatch import TorchDispatchMode

from alpl.callbacks.epoch_seed import EpochSeed
from alpl.callbacks.prediction_tracker import HISTORY, POSTERIORS, PredictionTracker, append_row
from alpl.data.augment import Normalize, PadCrop
from alpl.data.datamodule import ImageDataModule
from alpl.data.digits import Digits
from alpl.data.sets import ImageSet, Splits
from alpl.data.source import AbstractSource
from alpl.errors import ConfigError, DataError
from alpl.modules.classifier import Classifier
from alpl.networks.classification import ClassificationNetwork
from alpl.networks.small_cnn import SmallCnn
from alpl.pool import Pool
from alpl.predictions import Need

EPOCHS = 4
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")


class ManyClasses(AbstractSource):
    """As many images as classes."""

    def __init__(self, num_classes):
        self.num_classes = num_classes

    def load(self):
        images = torch.randint(256, (self.num_classes, 1, 8, 8), generator=torch.Generator().manual_seed(0)).byte()
        images = ImageSet(images, torch.arange(self.num_classes))
        return Splits(images, images, tuple(str(number) for number in range(self.num_classes)))


def _view(labeled=range(30), source=Digits, **options):
    options = {"batch_size": 16, "eval_batch_size": 300, "seed": 0} | options
    data = ImageDataModule(source, Normalize([0.3], [0.4]), [PadCrop(1)], **options)
    data.setup()
    _, targets = data.take_targets()
    labeled = torch.tensor(list(labeled))
    return data.with_pool(Pool.create(data.num_images, labeled), targets[labeled])


def _module(num_classes=10, seed=0):
    torch.manual_seed(seed)
    return Classifier(
        partial(ClassificationNetwork, partial(SmallCnn, widths=(4, 8)), dropout=0.3), num_classes, 1,
        optimizer=partial(torch.optim.SGD, lr=0.1, momentum=0.9),
    )  # fmt: skip


def _fit(folder, module, view, *callbacks, epochs=EPOCHS, reseed=True, **options):
    for callback in callbacks:
        if isinstance(callback, PredictionTracker):
            callback.bind(folder)
    callbacks = [*([EpochSeed(5)] * reseed), *callbacks]
    Trainer(
        accelerator="cpu", devices=1, max_epochs=epochs, callbacks=callbacks, logger=False,
        enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False, num_sanity_val_steps=0,
        use_distributed_sampler=False, default_root_dir=folder, limit_val_batches=0, **options,
    ).fit(module, datamodule=view)  # fmt: skip
    return module


def _probs(module, view):
    """The obvious way: all unlabeled images at once."""
    images = view.normalize(view.splits.train.images[view.pool.unlabeled])
    modes = [(part, part.training) for part in module.modules()]
    module.eval()
    with torch.no_grad():
        probs = module.network(images)[0].softmax(1)
    for part, mode in modes:
        part.training = mode
    return probs.numpy()


class _ByHand(Callback):
    """The reference: the posterior of the pool after every epoch."""

    def __init__(self, view):
        self.view, self.rows = view, []

    def on_train_epoch_end(self, trainer, pl_module):
        self.rows.append(_probs(pl_module, self.view))


# --- what it records


def test_history_is_what_the_model_says_of_the_pool_after_each_epoch(tmp_path):
    view = _view([5, 700, 3, *range(100, 131)])
    by_hand = _ByHand(view)
    _fit(tmp_path, _module(), view, PredictionTracker(posterior=True), by_hand)
    expected = np.stack(by_hand.rows)
    history, posteriors = np.load(tmp_path / HISTORY), np.load(tmp_path / POSTERIORS)
    assert history.dtype == np.uint8 and history.shape == (EPOCHS, 1198 - 34)
    assert posteriors.dtype == np.float16 and posteriors.shape == (EPOCHS, 1198 - 34, 10)
    np.testing.assert_allclose(posteriors, expected, atol=1e-3)
    top = np.sort(expected)
    clear = top[..., -1] - top[..., -2] > 1e-5  # sums of another batch size may tip a tie
    assert clear.mean() > 0.99
    np.testing.assert_array_equal(history[clear], expected.argmax(-1)[clear])
    assert (history[0] != history[-1]).any()


def test_no_posterior_unless_asked(tmp_path):
    _fit(tmp_path, _module(), _view(), PredictionTracker(), epochs=1)
    assert sorted(path.name for path in tmp_path.iterdir()) == [HISTORY]


@pytest.mark.parametrize(("every", "kept"), [(1, [0, 1, 2, 3]), (2, [1, 3]), (3, [2]), (9, None)])
def test_every_n_epochs(tmp_path, every, kept):
    view = _view()
    by_hand = _ByHand(view)
    tracker = PredictionTracker(posterior=True, every_n_epochs=every)
    if kept is None:
        with pytest.raises(ConfigError, match=rf"every_n_epochs must be <= trainer.max_epochs = {EPOCHS}, got {every}"):
            _fit(tmp_path, _module(), view, tracker, by_hand)
    else:
        _fit(tmp_path, _module(), view, tracker, by_hand)
        np.testing.assert_allclose(np.load(tmp_path / POSTERIORS), np.stack(by_hand.rows)[kept], atol=1e-3)


@pytest.mark.parametrize("every", [0, -1])
def test_an_interval_below_one_is_refused(every):
    with pytest.raises(ConfigError, match=rf"every_n_epochs must be >= 1, got {every}"):
        PredictionTracker(every_n_epochs=every)


@pytest.mark.parametrize(
    ("num_classes", "dtype"), [(10, np.uint8), (256, np.uint8), (257, np.uint16), (300, np.uint16)]
)
def test_labels_take_as_few_bytes_as_the_classes_need(tmp_path, num_classes, dtype):
    view = _view(range(4), partial(ManyClasses, num_classes))
    module = _module(num_classes)
    with torch.no_grad():
        module.network.head.bias[-1] = 50.0  # the last class needs the last bit
    _fit(tmp_path, module, view, PredictionTracker(), epochs=1)
    history = np.load(tmp_path / HISTORY)
    assert history.dtype == dtype and (history == num_classes - 1).all()


def test_a_pool_without_unlabeled_images_has_rows_of_no_image(tmp_path):
    view = _view(range(40), partial(ManyClasses, 40))
    _fit(tmp_path, _module(40), view, PredictionTracker(posterior=True), epochs=2)
    assert np.load(tmp_path / HISTORY).shape == (2, 0)


# --- what it costs and leaves alone


@pytest.mark.sample(1)
@pytest.mark.parametrize("reseed", [True, False])  # the epochs' own seeds would hide a draw
@pytest.mark.parametrize("labeled_fraction", [1.0, 0.5])
def test_training_is_the_same_with_and_without_it(tmp_path, labeled_fraction, reseed):
    view = _view(labeled_fraction=labeled_fraction)
    for name in ("with", "without"):
        (tmp_path / name).mkdir()
    tracked = _fit(tmp_path / "with", _module(), view, PredictionTracker(posterior=True), reseed=reseed)
    plain = _fit(tmp_path / "without", _module(), view, reseed=reseed)
    other = _fit(tmp_path / "without", _module(seed=1), view)
    assert all(torch.equal(value, plain.state_dict()[name]) for name, value in tracked.state_dict().items())
    assert not all(torch.equal(value, plain.state_dict()[name]) for name, value in other.state_dict().items())


def test_every_part_is_back_in_its_own_mode(tmp_path):
    module, modes = _module(), []

    class Freeze(Callback):
        """A frozen batch norm stays in evaluation mode while the rest trains."""

        def on_train_epoch_start(self, trainer, pl_module):
            pl_module.network.backbone.layers[1].eval()

        def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
            modes.append([part.training for part in pl_module.modules()])

        def on_train_epoch_end(self, trainer, pl_module):
            modes.append([part.training for part in pl_module.modules()])

    _fit(tmp_path, module, _view(), PredictionTracker(), Freeze(), epochs=2)
    assert all(mode == modes[0] for mode in modes) and True in modes[0] and modes[0].count(False) == 1


@pytest.mark.parametrize("every", [1, 2])
def test_the_cost_is_one_pass_over_the_pool(tmp_path, every):
    view, module, passes = _view(), _module(), []
    module.network.register_forward_hook(lambda network, inputs, output: passes.append(network.training))
    _fit(tmp_path, module, view, PredictionTracker(posterior=True, every_n_epochs=every))
    assert passes.count(True) == EPOCHS * 2  # 30 images in batches of 16
    assert passes.count(False) == EPOCHS // every * 4  # 1168 images in batches of 300


class Leaving(TorchDispatchMode):
    """Counts what would make the CPU wait for a GPU: values that are read, and copies to the CPU."""

    def __init__(self):
        super().__init__()
        self.waits = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        name = function.overloadpacket._qualified_op_name
        self.waits += name in ("aten::_local_scalar_dense", "aten::nonzero", "aten::is_nonzero")
        return function(*args, **(kwargs or {}))


def test_the_device_is_waited_for_once_an_epoch(tmp_path, monkeypatch):
    copies, leaving = [], Leaving()
    cpu = torch.Tensor.cpu
    monkeypatch.setattr(torch.Tensor, "cpu", lambda self: copies.append(self.numel()) or cpu(self))
    tracker, module, view = PredictionTracker(posterior=True), _module(), _view(eval_batch_size=100)
    record, predict, seen = tracker.on_train_epoch_end, module.predict_batch, []

    def watched(batch, needs):
        with leaving:
            return predict(batch, needs)

    def counted(trainer, pl_module):
        copies.clear()
        record(trainer, pl_module)
        seen.append(list(copies))

    module.predict_batch, tracker.on_train_epoch_end = watched, counted
    _fit(tmp_path, module, view, tracker)
    unlabeled = len(view.pool.unlabeled)
    assert unlabeled > 1000 and seen == [[unlabeled, 10 * unlabeled]] * EPOCHS and leaving.waits == 0
    with leaving:
        assert torch.ones(1).item() == 1.0
    assert leaving.waits == 1


def test_it_predicts_in_the_precision_of_the_trainer(tmp_path):
    view, module, kinds = _view(), _module(), set()
    conv = next(layer for layer in module.network.modules() if isinstance(layer, torch.nn.Conv2d))
    conv.register_forward_hook(lambda layer, inputs, output: kinds.add((layer.training, output.dtype)))
    _fit(tmp_path, module, view, PredictionTracker(posterior=True), epochs=1, precision="bf16-mixed")
    assert kinds == {(True, torch.bfloat16), (False, torch.bfloat16)}
    sums = np.load(tmp_path / POSTERIORS).astype(float).sum(-1)
    np.testing.assert_allclose(sums, 1, atol=5e-3)  # softmax in float32: bfloat16 would be off by 1e-2


def test_what_it_provides():
    assert PredictionTracker.provides == Need.HISTORY


# --- the file


@given(st.lists(st.tuples(st.integers(0, 12), st.integers(0, 255)), min_size=1, max_size=30), st.integers(0, 5))
@settings(max_examples=60, deadline=None)
def test_the_file_is_the_list_of_rows_after_every_append(tmp_path_factory, appends, width):
    """Appends at any earlier position cut off what stood behind, as a resumed fit does."""
    path = tmp_path_factory.mktemp("history") / "rows.npy"
    rows = []
    for back, value in appends:
        position = max(len(rows) - back, 0)
        row = np.full(width, value, dtype=np.uint8)
        append_row(path, row, position)
        rows = [*rows[:position], row]
        np.testing.assert_array_equal(np.load(path), np.stack(rows))
        assert path.stat().st_size == 128 + len(rows) * width  # nothing is left behind the array


def test_the_header_has_room_for_many_rows(tmp_path):
    path = tmp_path / "rows.npy"
    for number in range(1001):
        append_row(path, np.array([number, 7], dtype=np.int32), number)
        if number in (0, 8, 9, 10, 98, 99, 100, 998, 999, 1000):
            expected = np.stack([np.arange(number + 1), np.full(number + 1, 7)], 1)
            np.testing.assert_array_equal(np.load(path, mmap_mode="r"), expected)


def test_rows_may_have_axes_and_any_layout(tmp_path):
    rows = np.random.default_rng(0).random((3, 5, 4)).astype(np.float16)
    for number, row in enumerate(rows):
        append_row(tmp_path / "rows.npy", np.asfortranarray(row), number)
    np.testing.assert_array_equal(np.load(tmp_path / "rows.npy"), rows)


@pytest.mark.parametrize(
    ("row", "position"),
    [
        (np.zeros(3, np.uint8), 3),
        (np.zeros(4, np.uint8), 2),
        (np.zeros(3, np.uint16), 2),
        (np.zeros((3, 1), np.uint8), 1),
    ],
)
def test_rows_that_do_not_continue_the_file_are_refused(tmp_path, row, position):
    path = tmp_path / "rows.npy"
    for number in range(2):
        append_row(path, np.full(3, number, dtype=np.uint8), number)
    before = path.read_bytes()
    with pytest.raises(ValueError, match=rf"must hold {position} or more rows of {row.dtype}.*holds uint8 \[2, 3\]"):
        append_row(path, row, position)
    assert path.read_bytes() == before


@pytest.mark.parametrize("left", [2 * 5, 2 * 5 + 3, 3 * 5, 3 * 5 + 1])
def test_a_file_cut_behind_the_checkpoint_is_taken_up(tmp_path, left):
    path = tmp_path / "rows.npy"
    for number in range(4):
        append_row(path, np.full(5, number, dtype=np.uint8), number)
    os.truncate(path, 128 + left)
    append_row(path, np.full(5, 9, dtype=np.uint8), 2)
    assert np.load(path).tolist() == [[0] * 5, [1] * 5, [9] * 5]


@pytest.mark.parametrize("left", [0, 3, 5, 9])
def test_a_file_cut_before_the_checkpoint_is_refused(tmp_path, left):
    """What is missing must not become rows of class 0."""
    path = tmp_path / "rows.npy"
    for number in range(4):
        append_row(path, np.full(5, number, dtype=np.uint8), number)
    os.truncate(path, 128 + left)
    with pytest.raises(ValueError, match="must hold 2 or more rows"):
        append_row(path, np.full(5, 9, dtype=np.uint8), 2)


def _write_forever(path, position):
    while True:
        append_row(path, np.full(50_000, position % 251, dtype=np.uint8), position)
        position += 1
        if position % 40 == 0:
            position -= 15  # a resumed fit


@pytest.mark.slow
def test_a_killed_writer_leaves_a_whole_file(tmp_path):
    path, position = tmp_path / "rows.npy", 0
    for number in range(8):
        writer = multiprocessing.get_context("fork").Process(target=_write_forever, args=(path, position))
        writer.start()
        while not path.exists() or path.stat().st_size < 128 + 50_000:
            time.sleep(0.01)
        time.sleep(0.05 + 0.037 * number)
        writer.kill()
        writer.join()
        assert writer.exitcode == -signal.SIGKILL
        rows = np.load(path)
        assert len(rows) >= max(position - 15, 1)
        np.testing.assert_array_equal(rows, np.repeat(np.arange(len(rows)) % 251, 50_000).reshape(rows.shape))
        position = len(rows) * 2 // 3


def test_the_tracker_sees_the_pool_in_order_and_without_targets(tmp_path):
    view, module, seen = _view(), _module(), []
    predict = module.predict_batch

    def spy(batch, needs):
        seen.append(batch)
        return predict(batch, needs)

    module.predict_batch = spy
    _fit(tmp_path, module, view, PredictionTracker(), epochs=1)
    assert not any(batch.labeled.any() or len(batch.targets) or batch.augment for batch in seen)
    assert torch.equal(torch.cat([batch.index for batch in seen]), view.pool.unlabeled)


def test_rows_that_are_not_those_that_were_recorded_are_named(tmp_path):
    rows = [np.array([1, 2, 3], dtype=np.uint8), np.array([4, 5, 6], dtype=np.uint8)]
    for number, row in enumerate([*rows, rows[0]]):  # the last one is of an epoch that is trained again
        append_row(tmp_path / HISTORY, row, number)
    state = {"recorded": 2, "sums": {HISTORY: zlib.crc32(np.stack(rows).tobytes())}}
    tracker = PredictionTracker()
    tracker.bind(tmp_path)
    tracker.load_state_dict(state)
    assert tracker.state_dict() == state
    append_row(tmp_path / HISTORY, np.array([4, 5, 7], dtype=np.uint8), 1)
    with pytest.raises(DataError, match=r"history.npy must hold the 2 rows that were recorded, .*delete the fit_"):
        tracker.load_state_dict(state)
    (tmp_path / HISTORY).unlink()
    with pytest.raises(DataError, match=r"history.npy must be a file"):
        tracker.load_state_dict(state)
