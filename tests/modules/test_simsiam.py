"""SimSiam's module: what a step learns from, beside a slow version, and what its learning rates are."""

import copy
from functools import partial

import pytest
import torch
from configs import composed
from hydra.utils import instantiate
from lightning.pytorch import Trainer
from torch import Tensor, nn

from alpl.data.batch import Batch
from alpl.errors import ConfigError
from alpl.modules.pretraining import Pretraining
from alpl.modules.simsiam import SimSiam, backbone_state, features_of
from alpl.networks.simsiam import Predictor, Projector
from alpl.networks.small_cnn import SmallCnn


def made(**options) -> SimSiam:
    torch.manual_seed(0)
    module = SimSiam(
        partial(SmallCnn, widths=[4, 6]),
        1,
        projector=partial(Projector, width=8, num_layers=2),
        predictor=partial(Predictor, hidden=4),
        optimizer=partial(torch.optim.SGD, lr=0.06, momentum=0.9),
        **options,
    )
    module.log = lambda *given, **named: None  # no trainer
    return module


def batch(images: Tensor) -> Batch:
    number = len(images)
    nobody = torch.zeros(number, dtype=torch.bool)
    return Batch(images, torch.arange(number), nobody, torch.zeros(0, dtype=torch.long), True)


def test_a_step_is_the_equations_and_views_have_batch_norms_of_their_own() -> None:
    module, images = made(), torch.randn(5, 2, 1, 8, 8)
    slow = copy.deepcopy(module)
    module.training_step(batch(images), 0).backward()
    outs = [slow(images[:, view]) for view in (0, 1)]
    total = torch.zeros(())
    for (p, _), (_, z) in (outs, outs[::-1]):
        for row in range(5):
            fixed = z[row].detach()
            total = total - (p[row] @ fixed) / (p[row].norm() * fixed.norm()) / 5 / 2
    total.backward()
    assert total.item() == pytest.approx(module.loss.compute().item(), abs=1e-6)
    for ours, theirs in zip(module.parameters(), slow.parameters(), strict=True):
        assert ours.grad is not None and theirs.grad is not None
        assert torch.allclose(ours.grad, theirs.grad, atol=1e-6)


def test_a_constant_network_is_told_as_collapsed() -> None:
    module = made()
    module.projector = nn.Linear(module.backbone.num_features, 8)
    nn.init.zeros_(module.projector.weight)
    module.predictor = nn.Identity()
    loss = module.training_step(batch(torch.randn(4, 2, 1, 8, 8)), 0)
    assert loss.item() == pytest.approx(-1, abs=1e-6) and module.spread.compute().item() == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize(("constant", "factor"), [(True, 1.0), (False, 1.0), (True, 0.5), (False, 2.0)])
def test_learning_rates(constant: bool, factor: float) -> None:
    module = made(warmup_epochs=1, constant_predictor=constant, rate_factor=factor)
    module.trainer = trainer = Trainer(max_epochs=3, accelerator="cpu", logger=False, enable_checkpointing=False)
    type(trainer).estimated_stepping_batches, kept = 6, type(trainer).estimated_stepping_batches
    try:
        made_of = module.configure_optimizers()
    finally:
        type(trainer).estimated_stepping_batches = kept
    optimizer, schedule = made_of["optimizer"], made_of["lr_scheduler"]["scheduler"]
    assert made_of["lr_scheduler"]["interval"] == "step"
    grouped = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    assert {id(each) for each in grouped} == {id(each) for each in module.parameters()}
    assert [id(each) for each in optimizer.param_groups[1]["params"]] == [id(e) for e in module.predictor.parameters()]
    seen = []
    for _ in range(7):
        seen.append([group["lr"] / 0.06 / factor for group in optimizer.param_groups])
        optimizer.step()
        schedule.step()
    falling = [0.0, 0.5, 1.0, 0.853553, 0.5, 0.146447, 0.0]
    assert [row[0] for row in seen] == pytest.approx(falling, abs=1e-5)
    assert [row[1] for row in seen] == pytest.approx([1.0] * 7 if constant else falling, abs=1e-5)


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        (("data=cifar10", "pretrained=cifar10"), 0.06),  # thesis sec. 5.4: 0.03, batches of 512
        (("data=cifar10", "pretrained=cifar10", "pretrained.batch_size=256"), 0.03),
        (("data=cifar10", "pretrained=simsiam_as_released", "pretrained.batch_size=1024"), 0.12),
        (("data=cifar10", "pretrained=cifar10", "pretrained.batch_size=256", "pretrained.rate_per=null"), 0.03),
        (("data=digits", "pretrained=digits"), 0.06),
    ],
)
def test_the_rate_follows_the_batch(overrides: tuple[str, ...], expected: float) -> None:
    config = composed(*overrides, "model=resnet18_frozen")
    recipe = instantiate(config.pretrained, _convert_="all")
    assert config.pretrained.module.optimizer.lr * recipe.rate_factor == pytest.approx(expected)


def test_what_is_kept_gives_the_features() -> None:
    module, images = made(), torch.randn(5, 1, 8, 8)
    module.train()
    found = features_of(module, images)
    assert module.backbone.training and not found.requires_grad
    fresh = SmallCnn(in_channels=1, widths=[4, 6])
    fresh.load_state_dict(backbone_state(module))
    assert torch.equal(found, fresh.eval()(images))


@pytest.mark.parametrize(
    ("change", "told"),
    [({"batch_size": 1}, "pretrained.batch_size must be an int >= 2, got 1"),
     ({"epochs": 0}, "pretrained.epochs must be an int >= 1, got 0"),
     ({"check_every": -1}, "pretrained.check_every must be an int >= 0, got -1"),
     ({"rate_per": 0}, "pretrained.rate_per must be an int >= 1 or null, got 0")],
)  # fmt: skip
def test_refuses_numbers_out_of_range(change: dict[str, int], told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        Pretraining(made, [], **({"batch_size": 4, "epochs": 1, "seed": 0} | change))


def test_processes_share_a_batch_evenly() -> None:
    recipe = Pretraining(made, [], batch_size=6, epochs=1, seed=0)
    assert [recipe.batch_of(number) for number in (1, 2, 3)] == [6, 3, 2]
    for number in (4, 6):
        with pytest.raises(ConfigError, match=f"each of the {number} processes the same number of images"):
            recipe.batch_of(number)
