"""Objects, or images, whose features look unlabeled to a discriminator: VAAL and MAL as NORIS compares with them.

Axes: L labeled and U unlabeled vectors, F features, Z numbers of a code, B vectors of a batch.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import final

import torch
from torch import Generator, Tensor, nn
from torch.optim import Adam

from alpl.acquisition.base import AbstractRanking, Context
from alpl.acquisition.object_ranking import CHUNK, AbstractObjectRanking, ObjectValues, check_score_thresh, confident
from alpl.errors import ConfigError
from alpl.losses.variational import appearance_loss, vae_loss
from alpl.predictions import Need

_HIDDEN, _CODER = 512, 256  # numbers between the layers of the discriminator, and of the autoencoder


@final
@dataclass(frozen=True)
class FeatureGame:
    """Trains a discriminator of labeled and unlabeled vectors, within the choice, in seconds.

    NORIS (supplement, sec. 4, Fig. 7) feeds object features to the discriminator of MAL, and to the autoencoder of
    VAAL, and prints no layer, loss or step. Ours: vectors of zero mean and unit variance; for VAAL two layers of 256 to
    a code and back, with the losses of :class:`alpl.modules.vaal.VaalPartner`, whose divergence is a mean over the
    batch and divided by F here, as the likelihood is; else codes of wide features hold nothing that tells them apart. A
    discriminator of three layers with 512 between; Adam for both.

    Args:
        latent: Z of VAAL; None for the discriminator alone (MAL, whose game of entropies is not played).
        epochs: passes over the smaller of the two sets.
        batch_size: B of each set.
        lr: of both.

    Raises:
        ConfigError: a value is out of range.
    """

    latent: int | None
    epochs: int = 20
    batch_size: int = 256
    lr: float = 5e-4

    def __post_init__(self) -> None:
        if (self.latent is not None and self.latent < 1) or self.epochs < 1 or self.batch_size < 1 or not self.lr > 0:
            raise ConfigError(
                "acquisition.latent (or null), epochs and batch_size must be >= 1, lr > 0, got "
                f"latent={self.latent}, epochs={self.epochs}, batch_size={self.batch_size}, lr={self.lr}"
            )

    def unlabeledness(self, labeled: Tensor, unlabeled: Tensor, context: Context) -> Tensor:
        """``Float[L F]`` and ``Float[U F]`` -> ``Float64[U]``: one minus how labeled each looks; 1/2 where L is 0."""
        if not len(labeled) or not len(unlabeled):
            return torch.full((len(unlabeled),), 0.5, dtype=torch.float64)
        sets = [vectors.detach().float().cpu().clone() for vectors in (labeled, unlabeled)]
        spread, center = torch.std_mean(torch.cat(sets), 0, correction=0)
        sets = [(vectors - center) / spread.clamp(min=1e-6) for vectors in sets]
        draw = context.generator("discriminator")
        with torch.random.fork_rng(devices=[]), torch.enable_grad():  # neither weights nor codes disturb other draws
            torch.default_generator.manual_seed(draw.initial_seed())  # torch.manual_seed is that of all devices, too
            coder = None if self.latent is None else _Coder(labeled.shape[1], self.latent)
            discriminator = _layers(labeled.shape[1] if self.latent is None else self.latent, _HIDDEN, _HIDDEN, 1)
            self._train(coder, discriminator, sets, draw)
        with torch.no_grad():
            parts = [part if coder is None else coder.encode(part)[0] for part in sets[1].split(CHUNK)]
            looks = torch.cat([discriminator(part).squeeze(1) for part in parts])
        return (-looks).double().sigmoid()

    def _train(self, coder: _Coder | None, discriminator: nn.Module, sets: list[Tensor], draw: Generator) -> None:
        play = Adam(discriminator.parameters(), self.lr)
        code = None if coder is None else Adam(coder.parameters(), self.lr)
        for pair in self._batches(sets, draw):
            codes = pair
            if coder is not None and code is not None:
                terms = []
                for vectors in pair:
                    again, mu, logvar = coder(vectors)
                    terms.append(vae_loss(vectors, again, mu, logvar, beta=1 / vectors.shape[1], kl="mean"))
                    terms.append(appearance_loss(discriminator(mu).squeeze(1), labeled=True))
                _step(code, torch.stack(terms).sum())
                with torch.no_grad():
                    codes = [coder.encode(vectors)[0] for vectors in pair]
            looks = [discriminator(each).squeeze(1) for each in codes]
            _step(play, appearance_loss(looks[0], labeled=True) + appearance_loss(looks[1], labeled=False))

    def _batches(self, sets: list[Tensor], draw: Generator) -> Iterator[list[Tensor]]:
        """As many vectors of each set; of the larger one others in each epoch."""
        number = min(len(vectors) for vectors in sets)
        for _ in range(self.epochs):
            orders = [torch.randperm(len(vectors), generator=draw)[:number] for vectors in sets]
            for rows in zip(*(order.split(self.batch_size) for order in orders), strict=True):
                yield [vectors[chosen] for vectors, chosen in zip(sets, rows, strict=True)]


@final
class ObjectDiscriminator(AbstractObjectRanking):
    """The images with the object that looks least labeled (NORIS sec. 4.3 and Table 2, VAAL and MAL on objects).

    Args:
        latent: see :class:`FeatureGame`, also for ``epochs``, ``batch_size`` and ``lr``.
        score_thresh: the least score of an object, in the labeled and the unlabeled images; 0 for all. An image without
            any gets 0.
        epochs: passes.
        batch_size: objects.
        lr: of both.

    Raises:
        ConfigError: a value is out of range.
    """

    needs = Need.FEATURES | Need.LABELED

    def __init__(
        self,
        latent: int | None,
        score_thresh: float = 0.05,
        epochs: int = 20,
        batch_size: int = 256,
        lr: float = 5e-4,
    ) -> None:
        super().__init__("max", 0.0)
        self.game = FeatureGame(latent, epochs, batch_size, lr)
        self.score_thresh = check_score_thresh(score_thresh)

    def object_values(self, context: Context) -> ObjectValues:
        """See :meth:`FeatureGame.unlabeledness`."""
        seen, known = context.predictions, context.labeled
        assert known is not None and known.features is not None, "Need.LABELED was declared"
        assert seen.features is not None, "Need.FEATURES was declared"
        chosen, labeled = confident(seen, self.score_thresh), confident(known, self.score_thresh)
        return ObjectValues(
            chosen, self.game.unlabeledness(known.features[labeled], seen.features[chosen], context).to(chosen.device)
        )


@final
class ImageDiscriminator(AbstractRanking):
    """The images whose features look least labeled (NORIS Table 2, MAL on images).

    Args:
        latent: see :class:`FeatureGame`, also for all others.
        epochs: passes.
        batch_size: images.
        lr: of both.

    Raises:
        ConfigError: a value is out of range.
    """

    needs = Need.IMAGE_FEATURES | Need.LABELED

    def __init__(self, latent: int | None, epochs: int = 20, batch_size: int = 256, lr: float = 5e-4) -> None:
        self.game = FeatureGame(latent, epochs, batch_size, lr)

    def utility(self, context: Context) -> Tensor:
        """``Float[U]``, see :meth:`FeatureGame.unlabeledness`."""
        assert context.labeled is not None, "Need.LABELED was declared"
        seen, known = context.predictions.image_features, context.labeled.image_features
        assert seen is not None and known is not None, "Need.IMAGE_FEATURES was declared"
        return self.game.unlabeledness(known, seen, context)


@final
class _Coder(nn.Module):
    """An autoencoder of vectors."""

    def __init__(self, width: int, latent: int) -> None:
        super().__init__()
        self.encoder = nn.Sequential(_layers(width, _CODER, _CODER), nn.ReLU())
        self.mu, self.logvar = nn.Linear(_CODER, latent), nn.Linear(_CODER, latent)
        self.decoder = _layers(latent, _CODER, _CODER, width)

    def encode(self, vectors: Tensor) -> tuple[Tensor, Tensor]:
        hidden = self.encoder(vectors)
        return self.mu(hidden), self.logvar(hidden)

    def forward(self, vectors: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        mu, logvar = self.encode(vectors)
        return self.decoder(mu + (logvar / 2).exp() * torch.randn_like(mu)), mu, logvar


def _layers(*widths: int) -> nn.Sequential:
    """Linear layers with ReLU between."""
    parts: list[nn.Module] = []
    for wide, out in pairwise(widths):
        parts += [nn.Linear(wide, out), nn.ReLU()]
    return nn.Sequential(*parts[:-1])


def _step(optimizer: Adam, loss: Tensor) -> None:
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
