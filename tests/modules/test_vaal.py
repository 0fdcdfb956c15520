"""VAAL's fit: its steps against slow ones, whose turn it is, and what it refuses."""

import copy
import sys
from pathlib import Path

import pytest
import torch
from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import Callback
from torch.optim import Adam
from torch.utils.data import DataLoader

sys.path.append(str(Path(__file__).parents[1] / "losses"))
from test_variational import slow_appearance_loss, slow_vae_loss

from alpl.data.batch import Batch
from alpl.errors import ConfigError
from alpl.modules.partner import Partner
from alpl.modules.vaal import VaalPartner
from alpl.predictions import Need

SMALL = {"size": 4, "widths": (2, 3), "latent": 2, "hidden": 4, "batch_size": 2, "lr": 0.01}


class SeedBatches(Callback):
    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx) -> None:
        torch.manual_seed(batch_idx)


def partner(**options) -> VaalPartner:
    torch.manual_seed(7)
    return VaalPartner(10, 1, **{**SMALL, **options})


def batches(number):
    draw = torch.Generator().manual_seed(5)
    labeled = torch.tensor([True, True, False, False])
    return [
        Batch(torch.rand(4, 1, 4, 4, generator=draw) * 2 - 1, torch.arange(4), labeled, torch.zeros(2).long(), True)
        for _ in range(number)
    ]


def loader(given):
    return DataLoader(given, batch_size=None)


def trainer(**options) -> Trainer:
    return Trainer(
        max_epochs=1, accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False, callbacks=[SeedBatches()], **options,
    )  # fmt: skip


def slow_fit(module: VaalPartner, given, *, unlabeled_looks: bool, kl: str, beta: float, adversary: float) -> None:
    """Algorithm 1 with two steps of the autoencoder to one of the discriminator, in sums of numbers."""
    vae, discriminator = module.vae.train(), module.discriminator
    adam_vae, adam_d = Adam(vae.parameters(), 0.01), Adam(discriminator.parameters(), 0.01)
    for number, batch in enumerate(given):
        torch.manual_seed(number)
        total = 0.0
        for images, looks in ((batch.images[:2], True), (batch.images[2:], unlabeled_looks)):
            again, mu, logvar = vae(images)
            total = total + slow_vae_loss(images, again, mu, logvar, beta, kl)
            total = total + adversary * slow_appearance_loss(discriminator(mu), looks)
        adam_vae.zero_grad()
        total.backward()
        adam_vae.step()
        if number % 2:
            codes = [vae.encode(images)[0].detach() for images in (batch.images[:2], batch.images[2:])]
            loss = slow_appearance_loss(discriminator(codes[0]), True)
            loss = loss + slow_appearance_loss(discriminator(codes[1]), False)
            adam_d.zero_grad()
            loss.backward()
            adam_d.step()


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize(("appearance", "kl"), [("as_written", "sum"), ("as_released", "mean")])
def test_steps_equal_slow_ones(appearance: str, kl: str) -> None:
    ours = partner(appearance=appearance, kl=kl, beta=0.5, adversary=2.0)
    slow, given = copy.deepcopy(ours), batches(5)
    trainer().fit(ours, loader(given))
    slow_fit(slow, given, unlabeled_looks=appearance == "as_written", kl=kl, beta=0.5, adversary=2.0)
    for (name, value), expected in zip(ours.state_dict().items(), slow.state_dict().values(), strict=True):
        torch.testing.assert_close(value, expected, rtol=1e-4, atol=1e-5, msg=name)


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize(("number", "steps"), [(1, 1), (2, 3), (3, 4), (4, 6)])
def test_both_optimizers_count(number: int, steps: int) -> None:
    """So max_steps counts three for each step of the discriminator."""
    module, fit = partner(), trainer()
    before = copy.deepcopy(module.discriminator.state_dict())
    fit.fit(module, loader(batches(number)))
    assert fit.global_step == steps
    moved = any(not torch.equal(value, before[name]) for name, value in module.discriminator.state_dict().items())
    assert moved == (number > 1)


def test_whose_turn_it_is_is_kept() -> None:
    module, other, kept = partner(), partner(), {}
    module._seen = 3
    module.on_save_checkpoint(kept)
    other.on_load_checkpoint(kept)
    assert other._seen == 3


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_a_loss_beyond_all_bounds_ends_the_fit() -> None:
    with pytest.raises(ConfigError, match=r"partner\.module\.lr must be smaller, or kl mean: the loss is (nan|inf)"):
        trainer().fit(partner(lr=1e12), loader(batches(6)))


def test_answers_are_the_discriminator_s_of_the_mean_code() -> None:
    module, (batch,) = partner().eval(), batches(1)
    with torch.no_grad():
        answers = module.answer(batch)["labeledness"]
        logits = module.discriminator(module.vae.mu(module.vae.encoder(batch.images)))
    torch.testing.assert_close(answers, 1 / (1 + (-logits).exp()))
    with torch.no_grad():
        assert torch.equal(module.answer(batch)["labeledness"], answers)  # nothing is drawn
    assert Partner(VaalPartner, trainer).provides == Need.LABELEDNESS


def test_scaled_gradients_are_refused() -> None:
    class Half:
        precision = "16-mixed"

    module = partner()
    module._trainer = Half()
    with pytest.raises(ConfigError, match=r"partner\.trainer\.precision must be 32-true or bf16-mixed"):
        module.on_fit_start()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"kl": "max"}, "kl must be one of sum, mean, got 'max'"),
        ({"appearance": "real"}, "appearance must be one of as_written, as_released, got 'real'"),
        ({"vae_steps": 0}, "vae_steps must be >= 1"),
        ({"batch_size": 1}, "batch_size >= 2"),
        ({"lr": 0.0}, "lr must be > 0"),
        ({"flip": 1.5}, r"flip in \[0, 1\], got .*flip=1.5"),
        ({"size": 6}, "size must be a multiple"),
    ],
)
def test_bad_values_are_named(options, message) -> None:
    with pytest.raises(ConfigError, match=message):
        partner(**options)
