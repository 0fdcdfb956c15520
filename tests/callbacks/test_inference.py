from functools import partial

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import Callback

from alpl.callbacks.inference import gather_rows, interleave, predict_batches
from alpl.data.augment import Normalize
from alpl.data.datamodule import ImageDataModule
from alpl.data.digits import Digits
from alpl.modules.classifier import Classifier
from alpl.networks.classification import ClassificationNetwork
from alpl.networks.small_cnn import SmallCnn
from alpl.pool import Pool
from alpl.predictions import Need

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")


@given(st.integers(0, 40), st.integers(1, 5), st.sampled_from([np.int64, np.float16]), st.sampled_from([(), (3,)]))
def test_interleave_undoes_every_nth(num_rows, world_size, dtype, shape):
    rows = np.arange(num_rows * int(np.prod(shape)), dtype=dtype).reshape(num_rows, *shape)
    shards = [rows[rank::world_size] for rank in range(world_size)]
    joined = interleave(shards)
    assert joined.dtype == dtype
    np.testing.assert_array_equal(joined, rows)


def test_interleave_of_nothing_is_empty():
    assert interleave([]).shape == (0,)


def test_one_process_gathers_its_own_rows():
    trainer = Trainer(accelerator="cpu", devices=1, logger=False, enable_checkpointing=False)
    parts = [torch.tensor([[1, 2], [3, 4]]), torch.tensor([[5, 6]])]
    assert gather_rows(trainer, parts).tolist() == [[1, 2], [3, 4], [5, 6]]
    assert gather_rows(trainer, []).shape == (0,)


class _At(Callback):
    """Runs a check at the end of the first epoch."""

    def __init__(self, check):
        self.check, self.ran = check, False

    def on_train_epoch_end(self, trainer, pl_module):
        self.check(trainer, pl_module, trainer.datamodule.tracking_dataloader())
        self.ran = True


def _during_a_fit(folder, check):
    data = ImageDataModule(Digits, Normalize([0.3], [0.4]), batch_size=16, eval_batch_size=500, seed=0)
    data.setup()
    _, targets = data.take_targets()
    torch.manual_seed(0)
    module = Classifier(
        partial(ClassificationNetwork, partial(SmallCnn, widths=(4, 8)), dropout=0.3), 10, 1,
        optimizer=partial(torch.optim.SGD, lr=0.1),
    )  # fmt: skip
    callback = _At(check)
    Trainer(
        accelerator="cpu", devices=1, max_epochs=1, callbacks=[callback], logger=False, enable_checkpointing=False,
        enable_progress_bar=False, enable_model_summary=False, num_sanity_val_steps=0, limit_val_batches=0,
        use_distributed_sampler=False, default_root_dir=folder,
    ).fit(module, datamodule=data.with_pool(Pool.create(1198, torch.arange(30)), targets[:30]))  # fmt: skip
    assert callback.ran


def test_parts_have_what_was_asked_for_and_no_graph(tmp_path):
    def check(trainer, module, loader):
        parts = list(predict_batches(trainer, module, loader, Need.POSTERIOR | Need.VIEWS))
        assert [part.num_images for part in parts] == [500, 500, 168]
        assert all(part.image_features is None and not part.posterior.probs.requires_grad for part in parts)
        assert all(part.views.probs.shape == (10, part.num_images, 10) for part in parts)

    _during_a_fit(tmp_path, check)


def test_the_caller_keeps_its_gradients_between_two_parts(tmp_path):
    def check(trainer, module, loader):
        assert torch.is_grad_enabled()
        assert [torch.is_grad_enabled() for _ in predict_batches(trainer, module, loader, Need.NOTHING)] == [True] * 3

    _during_a_fit(tmp_path, check)


def test_modes_return_when_a_prediction_fails(tmp_path):
    def check(trainer, module, loader):
        def fail(*args):
            raise ArithmeticError("on purpose")

        modes = [part.training for part in module.modules()]
        hook = module.network.register_forward_hook(fail)
        with pytest.raises(ArithmeticError):
            list(predict_batches(trainer, module, loader, Need.NOTHING))
        hook.remove()
        assert [part.training for part in module.modules()] == modes and all(modes)

    _during_a_fit(tmp_path, check)


def test_modes_return_when_the_caller_stops_early(tmp_path):
    def check(trainer, module, loader):
        parts = predict_batches(trainer, module, loader, Need.NOTHING)
        next(parts)
        assert not module.training
        parts.close()
        assert module.training and torch.is_grad_enabled()

    _during_a_fit(tmp_path, check)
