"""What only a GPU can tell: fits, predictions, the pool that lies there, picks, and that a killed fit goes on."""

import sys
from functools import partial
from pathlib import Path

import pytest
import torch
from command import TINY, alpl
from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import Callback

from alpl.acquisition import Query
from alpl.callbacks.epoch_seed import EpochSeed
from alpl.callbacks.fast_network import FastNetwork
from alpl.data.augment import HorizontalFlip, Normalize, PadCrop
from alpl.data.datamodule import ImageDataModule
from alpl.data.digits import Digits
from alpl.machine.speed import Speed
from alpl.modules.classifier import Classifier
from alpl.networks.classification import ClassificationNetwork
from alpl.networks.small_cnn import SmallCnn
from alpl.pool import Pool

sys.path.insert(0, str(Path(__file__).parent))
import same_picks

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.filterwarnings("ignore::UserWarning"),
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]
CASES = {name: (given, choose) for name, given, choose in same_picks.cases(tiny=True)}
FULL = Speed(channels_last=True, compile=False, fused=True, tf32=True)


def _view(**options):
    data = ImageDataModule(
        Digits, Normalize([0.3], [0.4]), [PadCrop(1), HorizontalFlip()], batch_size=16, eval_batch_size=100, seed=0,
        **options,
    )  # fmt: skip
    data.setup()
    _, targets = data.take_targets()
    return data.with_pool(Pool.create(1198, torch.arange(64)), targets[:64]).observing(torch.arange(100, 350))


def _module():
    torch.manual_seed(0)
    network = partial(ClassificationNetwork, partial(SmallCnn, widths=(4, 8)))
    return Classifier(network, 10, 1, optimizer=partial(torch.optim.SGD, lr=0.05, momentum=0.9))


def _trainer(folder, *callbacks, **options):
    return Trainer(
        accelerator="cuda", devices=1, logger=False, enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False, num_sanity_val_steps=0, use_distributed_sampler=False, default_root_dir=folder,
        limit_val_batches=0, callbacks=list(callbacks), **({"max_epochs": 2} | options),
    )  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_selection_picks_the_same(name):
    given, choose = CASES[name]
    on_cpu, _ = same_picks.timed(choose, given, torch.device("cpu"))
    on_gpu, _ = same_picks.timed(choose, given, torch.device("cuda"))
    assert on_gpu == on_cpu


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
def test_a_fit_and_a_prediction(tmp_path, precision):
    module, view = _module(), _view()
    before = module.network.head.weight.detach().clone()
    _trainer(tmp_path, FastNetwork(FULL, print), precision=precision).fit(module, datamodule=view)
    parts = _trainer(tmp_path, FastNetwork(FULL, print), precision=precision).predict(module, datamodule=view)
    assert not torch.equal(module.network.head.weight.cpu(), before)
    scores = torch.cat([part.scores for part in parts])
    assert scores.device.type == "cpu" and len(scores) == 250 and scores.isfinite().all()


def test_one_compilation_serves_every_fit(tmp_path):
    said = []
    speed = Speed(channels_last=True, compile=True, fused=True, tf32=True)
    for number in range(3):
        module, view = _module(), _view()
        _trainer(tmp_path, FastNetwork(speed, said.append), precision="bf16-mixed", max_epochs=1).fit(module, view)
        assert module.trainer.global_step == 4, number
    assert len(said) <= 1  # none where an earlier test compiled it


def test_the_pool_lies_on_the_gpu_and_gives_the_same_batches(tmp_path):
    seen = {}

    class Batches(Callback):
        def on_train_batch_start(self, trainer, module, batch, number):
            seen.setdefault(limit, []).append((batch.index.cpu(), batch.images.cpu()))

    for limit in (0, 2**30):
        view = _view(device_pool_bytes=limit)
        _trainer(tmp_path, EpochSeed(5), Batches(), max_epochs=1).fit(_module(), datamodule=view)
        assert view.train_dataloader().dataset.images.is_cuda == (limit > 0)
    for (index, images), (other, others) in zip(*seen.values(), strict=True):
        assert torch.equal(index, other) and torch.equal(images, others)


def test_a_step_does_not_wait_for_the_gpu(tmp_path):
    class Watch(Callback):
        def on_train_batch_start(self, trainer, module, batch, number):
            torch.cuda.set_sync_debug_mode("error" if trainer.current_epoch else "default")

        def on_train_batch_end(self, trainer, module, outputs, batch, number):
            torch.cuda.set_sync_debug_mode("default")

    try:
        module = _module()
        _trainer(tmp_path, FastNetwork(FULL, print), Watch()).fit(module, datamodule=_view())
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert module.trainer.current_epoch == 2


def test_a_fit_goes_on_from_its_checkpoint(tmp_path):
    first = _trainer(tmp_path, FastNetwork(FULL, print), max_epochs=1)
    first.fit(_module(), datamodule=_view())
    first.save_checkpoint(tmp_path / "fit.ckpt")
    module = _module()
    trainer = _trainer(tmp_path, FastNetwork(FULL, print))
    trainer.fit(module, datamodule=_view(), ckpt_path=tmp_path / "fit.ckpt", weights_only=True)
    assert trainer.global_step == 8 and trainer.optimizers[0].param_groups[0]["fused"]


def test_a_whole_run_and_the_same_command_again(tmp_path):
    on_gpu = ["trainer.accelerator=cuda", "trainer.precision=auto", "speed.compile=false", "acquisition=margin"]
    first = alpl(tmp_path, *TINY, *on_gpu)
    assert first.status == 0, first.err
    query = Query.load(first.run_folder() / "cycle_00" / "query.csv").index
    again = alpl(tmp_path, *TINY, *on_gpu)
    assert again.status == 0 and "finished already" in again.out + again.err
    assert torch.equal(Query.load(again.run_folder() / "cycle_00" / "query.csv").index, query)
    assert '"gpu_bytes"' in (first.run_folder() / "journal.jsonl").read_text()
