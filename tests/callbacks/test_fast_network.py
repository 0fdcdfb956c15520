"""What makes a GPU fast, turned on on the CPU: nothing changes beyond rounding, and all is as it was behind it."""

import copy
from functools import partial

import pytest
import torch
from command import TINY, alpl
from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import Callback

from alpl.callbacks.fast_network import FastNetwork, to_channels_last
from alpl.callbacks.static_shapes import CompiledCalls, StaticShapes
from alpl.data.augment import Normalize
from alpl.data.base import StaticSizes
from alpl.data.datamodule import ImageDataModule
from alpl.data.digits import Digits
from alpl.errors import ConfigError
from alpl.machine.speed import Speed, settled_precision, short_products
from alpl.modules.classifier import Classifier
from alpl.networks.classification import ClassificationNetwork
from alpl.networks.small_cnn import SmallCnn
from alpl.pool import Pool

CPU = torch.device("cpu")
OFF = Speed(channels_last=False, compile=False, fused=False, tf32=False)
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")


SGD = partial(torch.optim.SGD, lr=0.05, momentum=0.9)


def _module(seed=0, optimizer=SGD):
    torch.manual_seed(seed)
    return Classifier(partial(ClassificationNetwork, partial(SmallCnn, widths=(4, 8))), 10, 1, optimizer=optimizer)


@pytest.fixture(scope="module")
def data():
    made = ImageDataModule(Digits, Normalize([0.3], [0.4]), batch_size=16, eval_batch_size=100, seed=0)
    made.setup()
    _, targets = made.take_targets()
    return lambda number: made.with_pool(Pool.create(1198, torch.arange(number)), targets[:number]).observing(
        torch.arange(500, 760)
    )


def _trainer(folder, speed, said=None, **options):
    given = {"max_epochs": 2, "enable_checkpointing": False, "limit_val_batches": 0} | options
    return Trainer(
        accelerator="cpu", devices=1, logger=False, enable_progress_bar=False, enable_model_summary=False,
        num_sanity_val_steps=0, use_distributed_sampler=False, default_root_dir=folder,
        callbacks=[FastNetwork(speed, (said if said is not None else []).append)], **given,
    )  # fmt: skip


def _fitted(folder, data, speed, **options):
    module = _module(**options)
    _trainer(folder, speed).fit(module, datamodule=data)
    predictions = _trainer(folder, speed).predict(module, datamodule=data)
    return module, torch.cat([part.scores for part in predictions])


# --- switches


def test_auto_is_off_on_a_cpu_and_on_on_a_gpu(monkeypatch):
    assert Speed().on(CPU) == OFF
    monkeypatch.setattr("alpl.machine.speed.shutil.which", lambda name: "/usr/bin/cc" if name == "cc" else None)
    monkeypatch.setattr("alpl.machine.speed.importlib.util.find_spec", lambda name: object())
    monkeypatch.setattr("alpl.machine.speed.Path.is_file", lambda path: path.name == "Python.h")
    assert Speed().on(torch.device("cuda")) == Speed(True, True, True, True)
    assert Speed(tf32=False).on(torch.device("cuda", 0)) == Speed(True, True, True, False)
    monkeypatch.setattr("alpl.machine.speed.Path.is_file", lambda path: False)
    assert Speed().on(torch.device("cuda")).compile is False  # triton includes the header
    monkeypatch.setattr("alpl.machine.speed.Path.is_file", lambda path: True)
    monkeypatch.setattr("alpl.machine.speed.shutil.which", lambda name: None)
    assert Speed().on(torch.device("cuda")).compile is False


@pytest.mark.parametrize("name", ["channels_last", "compile", "fused", "tf32"])
def test_a_switch_is_true_false_or_auto(name):
    with pytest.raises(ConfigError, match=rf"speed\.{name} must be true, false or auto, got 'on'"):
        Speed(**{name: "on"})


def test_the_backend_must_be_known():
    with pytest.raises(ConfigError, match=r"speed\.backend must be one of .*eager.*, got 'fast'"):
        Speed(compile=True, backend="fast")


@pytest.mark.parametrize(
    ("precision", "accelerator", "has_cuda", "has_bf16", "settled"),
    [
        ("auto", "auto", True, True, "bf16-mixed"), ("auto", "gpu", True, True, "bf16-mixed"),
        ("auto", "cuda", True, False, "32-true"), ("auto", "auto", False, True, "32-true"),
        ("auto", "cpu", True, True, "32-true"), ("32-true", "auto", True, True, "32-true"), (64, "cpu", True, True, 64),
    ],
)  # fmt: skip
def test_the_precision_is_settled(monkeypatch, precision, accelerator, has_cuda, has_bf16, settled):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: has_cuda)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: has_bf16)
    assert settled_precision(precision, accelerator) == settled


def test_short_products_end_with_the_block():
    before = torch.get_float32_matmul_precision()
    with pytest.raises(RuntimeError), short_products(allowed=True):
        assert torch.get_float32_matmul_precision() == "high"
        raise RuntimeError
    assert torch.get_float32_matmul_precision() == before
    convolutions = torch.backends.cudnn.allow_tf32
    with short_products(allowed=False):
        assert torch.get_float32_matmul_precision() == before and not torch.backends.cudnn.allow_tf32
    assert torch.backends.cudnn.allow_tf32 == convolutions


def test_deterministic_memory_is_left_as_it_comes(tmp_path, data):
    seen = []

    class Watch(Callback):
        def on_train_start(self, trainer, module):
            seen.append((torch.are_deterministic_algorithms_enabled(), _fills()))

    trainer = _trainer(tmp_path, OFF, deterministic="warn", max_epochs=1)
    trainer.callbacks.append(Watch())
    try:
        trainer.fit(_module(), datamodule=data(16))
    finally:
        torch.use_deterministic_algorithms(False)
    assert seen == [(True, False)] and _fills()


def _fills():
    return torch.utils.deterministic.fill_uninitialized_memory


# --- each of them


@pytest.mark.parametrize(
    "on",
    [
        {"channels_last": True},
        {"fused": True},
        {"tf32": True},
        pytest.param({"compile": True, "backend": "eager"}, marks=pytest.mark.slow),
    ],
)
def test_nothing_changes_beyond_rounding(tmp_path, data, on):
    plain, expected = _fitted(tmp_path, data(40), OFF)
    fast, found = _fitted(tmp_path, data(40), Speed(**{"channels_last": False, "compile": False, "fused": False} | on))
    for ours, theirs in zip(fast.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
    assert fast.state_dict().keys() == plain.state_dict().keys()


def test_maps_follow_their_weights():
    network, laid = SmallCnn(3, widths=(4, 8)), []  # of one channel the two ways to lie are the same
    for part in network.modules():
        if isinstance(part, torch.nn.Conv2d):
            part.register_forward_hook(
                lambda layer, given, found: laid.append(found.is_contiguous(memory_format=torch.channels_last))
            )
    images = torch.randn(2, 3, 8, 8)
    expected = network.eval()(images)
    to_channels_last(network)
    torch.testing.assert_close(network(images), expected, rtol=1e-5, atol=1e-5)
    half = len(laid) // 2
    assert half > 1 and laid == [False] * half + [True] * half


def test_the_optimizer_is_fused_where_it_can_be(tmp_path, data):
    for optimizer, expected in (
        (partial(torch.optim.SGD, lr=0.1), True),
        (partial(torch.optim.Adam, lr=0.1), True),
        (partial(torch.optim.RAdam, lr=0.1), None),  # torch has no such kernel
        (partial(torch.optim.SGD, lr=0.1, fused=False), False),
        (partial(torch.optim.SGD, lr=0.1, foreach=True), None),
    ):
        module = _module(optimizer=optimizer)
        trainer = _trainer(tmp_path, Speed(fused=True), max_epochs=1)
        trainer.fit(module, datamodule=data(16))
        assert trainer.optimizers[0].param_groups[0].get("fused") is expected


def test_clipped_gradients_in_mixed_precision_are_not_fused(tmp_path, data):
    clipped = {"precision": "bf16-mixed", "gradient_clip_val": 1.0, "max_epochs": 1}
    with pytest.raises(
        ConfigError, match=r"speed\.fused must be auto or false where trainer\.gradient_clip_val is set"
    ):
        _trainer(tmp_path, Speed(fused=True), **clipped).fit(_module(), datamodule=data(16))
    module = _module()
    trainer = _trainer(tmp_path, Speed(), **clipped)
    trainer.fit(module, datamodule=data(16))
    assert not module.fused


def test_a_fit_goes_on_whose_weights_lay_otherwise(tmp_path, data):
    plain = _trainer(tmp_path, OFF, enable_checkpointing=True, max_epochs=1)
    plain.fit(_module(), datamodule=data(40))
    plain.save_checkpoint(tmp_path / "fit.ckpt")
    whole, left = _module(), _module()
    _trainer(tmp_path, OFF).fit(whole, datamodule=data(40))
    trainer = _trainer(tmp_path, Speed(channels_last=True, fused=True))
    trainer.fit(left, datamodule=data(40), ckpt_path=tmp_path / "fit.ckpt", weights_only=True)
    for parameter, state in trainer.optimizers[0].state.items():
        assert state["momentum_buffer"].stride() == parameter.stride()
    for ours, theirs in zip(left.parameters(), whole.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)


def test_all_is_as_it_was_also_behind_an_error(tmp_path, data):
    module, before = _module(), torch.get_float32_matmul_precision()
    module.training_step = None
    with pytest.raises(Exception, match="training_step"):
        _trainer(tmp_path, Speed(tf32=True, compile=True, backend="eager")).fit(module, datamodule=data(16))
    assert torch.get_float32_matmul_precision() == before
    assert "forward" not in vars(module.network)


# --- compilation


@pytest.mark.parametrize("backend", ["eager", pytest.param("aot_eager", marks=pytest.mark.slow)])
def test_one_compilation_serves_all_cycles(tmp_path, data, backend, monkeypatch):
    torch.compiler.reset()
    calls, said = CompiledCalls(backend), []
    monkeypatch.setattr("alpl.callbacks.fast_network.compiled_calls", lambda name: calls)
    speed = Speed(compile=True, backend=backend)
    for cycle, number in enumerate((16, 37, 50, 64, 81)):  # labeled images; the last batches are of any size
        module = _module(cycle)
        _trainer(tmp_path, speed, said, max_epochs=1).fit(module, datamodule=data(number))
        _trainer(tmp_path, speed, said).predict(module, datamodule=data(number))
    assert calls.compilations == ["training, 16 x 1 x 8 x 8", "evaluation, 100 x 1 x 8 x 8"]
    assert [line for line in said if "compiled the network for training, 16 x 1 x 8 x 8 (compilation 1" in line]
    assert len(said) == 2


def test_smaller_batches_are_filled_up_in_evaluation_only():
    network = torch.nn.Sequential(torch.nn.BatchNorm2d(2), torch.nn.Flatten())
    seen = []

    def calls(network, images):
        seen.append(len(images))
        return network(images)

    calls.compilations = []
    static = StaticShapes(network, StaticSizes(4, 6), calls, print)
    images = torch.randn(5, 2, 3, 3, generator=torch.Generator().manual_seed(0))
    network.eval()
    assert torch.equal(static(images), network(images)) and seen == [6]
    assert torch.equal(static(images[:3]), network(images[:3])) and seen == [6, 6]
    static(images[:2])  # the network itself takes them: less than half of a batch
    network.train()
    static(images[:3])
    assert seen == [6, 6]
    static(images[:4])
    assert seen == [6, 6, 4]
    StaticShapes(network, StaticSizes(None, 6), calls, print)(images[:4])
    assert seen == [6, 6, 4]
    network.forward = static
    copied = copy.deepcopy(network)
    assert copied.forward is not static and copied.forward.network is copied


def test_channels_last_leaves_other_weights_alone():
    module = torch.nn.Sequential(torch.nn.Conv2d(2, 3, 3), torch.nn.Conv1d(2, 3, 3), torch.nn.Linear(2, 2))
    to_channels_last(module)
    assert module[0].weight.is_contiguous(memory_format=torch.channels_last)
    assert module[1].weight.is_contiguous() and module[2].weight.is_contiguous()


@pytest.mark.slow
def test_a_run_with_all_of_it_chooses_and_ends(tmp_path):
    speed = [f"speed.{name}=true" for name in ("channels_last", "compile", "fused", "tf32")]
    result = alpl(tmp_path, *TINY, *speed, "speed.backend=eager", "acquisition=margin", "trainer.precision=auto")
    assert result.status == 0, result.err
    assert (
        "compiled the network for training" in (result.run_folder() / "run.log").read_text() + result.err + result.out
    )


def test_maps_are_given_whatever_was_compiled_before():
    torch.manual_seed(0)
    network = ClassificationNetwork(partial(SmallCnn, widths=(4, 8)), 10, 1).eval()
    images = torch.randn(4, 1, 8, 8)
    plain = network.with_maps(images)
    network.forward = StaticShapes(network, StaticSizes(4, 4), CompiledCalls("eager"), lambda line: None)
    torch.testing.assert_close(network(images), plain[:2])  # compiled without hooks
    for mine, theirs in zip(network.with_maps(images)[2], plain[2], strict=True):
        torch.testing.assert_close(mine, theirs)


def test_networks_of_many_makes_are_compiled_in_one_process():
    calls, said = CompiledCalls("eager"), []
    for width in range(2, 6):
        network = ClassificationNetwork(partial(SmallCnn, widths=(width, 8)), 10, 1)
        static = StaticShapes(network, StaticSizes(4, 4), calls, said.append)
        for mode in (torch.enable_grad, torch.no_grad, torch.inference_mode):
            network.train(mode is torch.enable_grad)
            with mode():
                static(torch.randn(4, 1, 8, 8))
    assert len(calls.compilations) == len(said) == 12


@pytest.mark.slow
def test_a_run_with_predicted_losses_is_compiled(tmp_path):
    """Its test set and its pool fill batches, so that both go through what is compiled."""
    result = alpl(
        tmp_path, "data=digits", "method=llal_subset", "acquisition.ratio=3.0", *TINY, "data.eval_batch_size=50",
        "speed.compile=true", "speed.backend=eager", "trainer.accelerator=cpu",
    )  # fmt: skip
    assert result.status == 0, result.err
