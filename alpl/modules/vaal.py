"""VAAL's models: an autoencoder whose codes of labeled and unlabeled images are to look alike, and who sees through it.

Axes: B images of a batch, C channels, S the side of a square image, Z numbers of a code.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, TypeAlias, final, get_args

import torch
from lightning.pytorch.core.optimizer import LightningOptimizer
from torch import Tensor, nn

from alpl.data.base import AbstractPoolDataModule
from alpl.data.batch import Batch
from alpl.errors import ConfigError
from alpl.losses.variational import Summed, appearance_loss, vae_loss
from alpl.modules.partner import AbstractPartner
from alpl.modules.training_means import TrainingMeans
from alpl.networks.vae import CodeDiscriminator, Vae
from alpl.predictions import Need

Appearance: TypeAlias = Literal["as_written", "as_released"]


@final
class VaalPartner(AbstractPartner):
    r"""Tells how labeled each image looks (Sinha et al. 2019, "Variational Adversarial Active Learning", Alg. 1).

    Each half-labeled batch is a step of the autoencoder, and every ``vae_steps``-th one of the discriminator D, too:

    .. math:: L_{VAE} = \sum_{x \in \{x_L, x_U\}} \mathrm{vae}(x) + \lambda\, \mathrm{bce}(D(\mu(x)), 1), \qquad
        L_D = \mathrm{bce}(D(\mu(x_L)), 1) + \mathrm{bce}(D(\mu(x_U)), 0)

    with :func:`alpl.losses.variational.vae_loss`. Where the paper and both snapshots of its code agree, or only the
    code says something, the defaults are the code's: two steps and fresh batches, the sum over the batch in the
    divergence, 128 + 128 images, Adam with 5e-4 for both.

    Args:
        num_classes: not used; the data tell it to every model.
        in_channels: C.
        size: S, to which images are resized.
        widths: see :class:`alpl.networks.vae.Vae`, also for ``latent`` and ``bias``.
        latent: Z.
        bias: of the encoder.
        hidden: see :class:`alpl.networks.vae.CodeDiscriminator`.
        lr: of both.
        beta: of the divergence.
        kl: see :func:`alpl.losses.variational.vae_loss`.
        adversary: :math:`\lambda`.
        appearance: how the autoencoder wants unlabeled images to look: "as_written" labeled (Eq. 3), "as_released"
            unlabeled, as a later snapshot of the released code has it, where nothing plays against D any more.
        vae_steps: of the autoencoder to one of the discriminator.
        batch_size: labeled images per process and step, and as many unlabeled ones.
        flip: probability of the mirror image in training.

    Raises:
        ConfigError: a value is out of range.
    """

    provides = Need.LABELEDNESS

    def __init__(
        self,
        num_classes: int,
        in_channels: int = 3,
        *,
        size: int = 32,
        widths: Sequence[int] = (128, 256, 512, 1024),
        latent: int = 32,
        bias: bool = False,
        hidden: int = 512,
        lr: float = 5e-4,
        beta: float = 1.0,
        kl: Summed = "sum",
        adversary: float = 1.0,
        appearance: Appearance = "as_written",
        vae_steps: int = 2,
        batch_size: int = 128,
        flip: float = 0.5,
    ) -> None:
        super().__init__()
        for name, value, known in (("kl", kl, get_args(Summed)), ("appearance", appearance, get_args(Appearance))):
            if value not in known:
                raise ConfigError(f"partner.module.{name} must be one of {', '.join(known)}, got {value!r}")
        if vae_steps < 1 or batch_size < 2:
            raise ConfigError(
                "partner.module.vae_steps must be >= 1, batch_size >= 2 for its batch norm, "
                f"got vae_steps={vae_steps}, batch_size={batch_size}"
            )
        if not lr > 0 or beta < 0 or adversary < 0 or not 0 <= flip <= 1:
            raise ConfigError(
                "partner.module.lr must be > 0, beta and adversary >= 0, flip in [0, 1], "
                f"got lr={lr}, beta={beta}, adversary={adversary}, flip={flip}"
            )
        self.automatic_optimization = False
        self.vae = Vae(in_channels, size, widths=widths, latent=latent, bias=bias)
        self.discriminator = CodeDiscriminator(latent, hidden)
        self.size, self.batch_size, self.flip = size, batch_size, flip
        self.lr, self.beta, self.adversary, self.vae_steps = lr, beta, adversary, vae_steps
        self.kl, self.appearance = kl, appearance
        self.means = TrainingMeans(("vae_loss", "discriminator_loss"))
        self._seen = 0  # batches of this fit
        self._last = torch.zeros(())

    def view(self, data: AbstractPoolDataModule) -> AbstractPoolDataModule:
        """Squares in half-labeled batches; an epoch has ``vae_steps`` batches for each one of a pass over the pool.

        So a fit has as many steps of the discriminator as a task's of so many epochs would have over all images, in
        batches of 128: N * epochs / 128 in the released code.
        """
        return data.squares(self.size, flip=self.flip, batch_size=2 * self.batch_size, passes=self.vae_steps)

    def configure_optimizers(self) -> list[torch.optim.Optimizer]:
        """Adam for the autoencoder and for the discriminator."""
        return [torch.optim.Adam(part.parameters(), self.lr) for part in (self.vae, self.discriminator)]

    def on_fit_start(self) -> None:
        """Refuse a precision whose gradients are scaled: they are averaged over processes here.

        Raises:
            ConfigError: it is that.
        """
        if self.trainer.precision == "16-mixed":
            raise ConfigError("partner.trainer.precision must be 32-true or bf16-mixed for VAAL, got 16-mixed")

    def training_step(self, batch: Batch, batch_idx: int) -> None:
        """Step the autoencoder, and the discriminator if it is its turn."""
        optimizers = self.optimizers()
        assert isinstance(optimizers, list), "there are two"
        vae, discriminator = optimizers
        labeled, unlabeled = batch.images[batch.labeled], batch.images[~batch.labeled]
        loss = self._vae_loss(labeled, unlabeled)
        self._step(vae, self.vae, loss)
        self.means.note("vae_loss", loss)
        self._last = loss.detach()
        self._seen += 1
        if self._seen % self.vae_steps == 0:
            loss = self._discriminator_loss(labeled, unlabeled)
            self._step(discriminator, self.discriminator, loss)
            self.means.note("discriminator_loss", loss)
        self.means.log(self, but=() if self._seen >= self.vae_steps else ("discriminator_loss",))

    def on_train_epoch_end(self) -> None:
        """Stop where numbers have left their range.

        Raises:
            ConfigError: the loss is not finite.
        """
        if not bool(torch.isfinite(self._last)):
            raise ConfigError(f"partner.module.lr must be smaller, or kl mean: the loss is {float(self._last)}")

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep whose turn is next."""
        checkpoint["vaal_batches"] = self._seen

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Go on there."""
        self._seen = int(checkpoint["vaal_batches"])

    def answer(self, batch: Batch) -> dict[str, Tensor]:
        """Give what D says of the mean of each image's code; in float32, as much of it is near 0."""
        mu, _ = self.vae.encode(batch.images)
        return {"labeledness": self.discriminator(mu).float().sigmoid()}

    def _vae_loss(self, labeled: Tensor, unlabeled: Tensor) -> Tensor:
        terms = []
        for images, looks in ((labeled, True), (unlabeled, self.appearance == "as_written")):
            again, mu, logvar = self.vae(images)
            terms.append(vae_loss(images, again, mu, logvar, beta=self.beta, kl=self.kl))
            terms.append(self.adversary * appearance_loss(self.discriminator(mu), labeled=looks))
        return torch.stack(terms).sum()

    def _discriminator_loss(self, labeled: Tensor, unlabeled: Tensor) -> Tensor:
        with torch.no_grad():  # as released, by the autoencoder as it is after its step
            codes = [self.vae.encode(images)[0] for images in (labeled, unlabeled)]
        looks = [self.discriminator(code) for code in codes]
        return appearance_loss(looks[0], labeled=True) + appearance_loss(looks[1], labeled=False)

    def _step(self, optimizer: LightningOptimizer, part: nn.Module, loss: Tensor) -> None:
        """Step one of the two, by gradients that are means over all processes.

        DistributedDataParallel waits for gradients of all parameters of a module, and each of these losses has some of
        them only; so it is left out: it joins nothing behind a plain ``backward``.
        """
        self.zero_grad()  # of both: the autoencoder's loss goes through the discriminator
        loss.backward()
        if self.trainer.world_size > 1:
            for parameter in part.parameters():
                if parameter.grad is not None:
                    torch.distributed.all_reduce(parameter.grad)
                    parameter.grad /= self.trainer.world_size
        optimizer.step()
