"""A variational autoencoder of square images, and who tells its codes apart (VAAL).

Axes: B images, C channels, S their side, Z numbers of a code.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import final

import torch
from torch import Tensor, nn

from alpl.errors import ConfigError


@final
class Vae(nn.Module):
    """Convolutions of 4x4 that halve the side, a code, and their mirror image, each with batch norm and ReLU.

    As the released code of Sinha et al. 2019 ("Variational Adversarial Active Learning") has it for images of 32
    pixels, with widths of 128, 256, 512 and 1024: the decoder begins with a map twice as wide as the encoder's last, so
    that one layer fewer doubles it, and ends with a 1x1 convolution without bounds. Larger images have larger maps
    there (64 pixels), or a fifth layer (256; CALD's released code: widths of 64 to 1024, 256 numbers, biases).

    Args:
        in_channels: C.
        size: S, a multiple of two to the power of the layers.
        widths: channels behind each layer of the encoder.
        latent: Z.
        bias: whether the encoder's convolutions have one.

    Raises:
        ConfigError: a value is out of range, or the side cannot be halved so often.
    """

    def __init__(
        self,
        in_channels: int,
        size: int,
        *,
        widths: Sequence[int] = (128, 256, 512, 1024),
        latent: int = 32,
        bias: bool = False,
    ) -> None:
        super().__init__()
        if not widths or min(widths) < 1 or latent < 1:
            raise ConfigError(f"widths and latent must be >= 1, got widths={list(widths)}, latent={latent}")
        halved, rest = divmod(size, 2 ** len(widths))
        if rest or not halved:
            raise ConfigError(f"size must be a multiple of 2 ** {len(widths)} for {len(widths)} widths, got {size}")
        steps = zip((in_channels, *widths), widths, strict=False)
        self.encoder = nn.Sequential(
            *(_block(nn.Conv2d(wide, out, 4, 2, 1, bias=bias), out) for wide, out in steps), nn.Flatten()
        )
        self.mu = nn.Linear(widths[-1] * halved**2, latent)
        self.logvar = nn.Linear(widths[-1] * halved**2, latent)
        back = widths[::-1]
        self.decoder = nn.Sequential(
            nn.Linear(latent, back[0] * (2 * halved) ** 2),
            nn.Unflatten(1, (back[0], 2 * halved, 2 * halved)),
            *(_block(nn.ConvTranspose2d(wide, out, 4, 2, 1, bias=False), out) for wide, out in pairwise(back)),
            nn.ConvTranspose2d(back[-1], in_channels, 1),
        )
        for part in (self.encoder, self.decoder):
            part.apply(_initialize)

    def encode(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """``Float[B C S S]`` -> mean and logarithm of the variance of each code, ``Float[B Z]`` both."""
        maps = self.encoder(images)
        return self.mu(maps), self.logvar(maps)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """``Float[B C S S]`` -> the images again, from a code that is drawn for each, and :meth:`encode`."""
        mu, logvar = self.encode(images)
        code = mu + (logvar / 2).exp() * torch.randn_like(mu)
        return self.decoder(code), mu, logvar


@final
class CodeDiscriminator(nn.Module):
    """Tells codes of labeled images from those of unlabeled ones: three linear layers with ReLU between (VAAL).

    Args:
        latent: Z.
        hidden: numbers between the layers.

    Raises:
        ConfigError: ``hidden`` is below 1.
    """

    def __init__(self, latent: int = 32, hidden: int = 512) -> None:
        super().__init__()
        if hidden < 1:
            raise ConfigError(f"hidden must be >= 1, got {hidden}")
        self.layers = nn.Sequential(
            nn.Linear(latent, hidden), nn.ReLU(), nn.Linear(hidden, hidden), nn.ReLU(), nn.Linear(hidden, 1)
        )
        self.layers.apply(_initialize)

    def forward(self, codes: Tensor) -> Tensor:
        """``Float[B Z]`` -> ``Float[B]``: logits of looking labeled."""
        logits: Tensor = self.layers(codes).squeeze(1)
        return logits


def _block(convolution: nn.Module, width: int) -> nn.Sequential:
    return nn.Sequential(convolution, nn.BatchNorm2d(width), nn.ReLU())


def _initialize(part: nn.Module) -> None:
    """As released: He's normal numbers for convolutions and linear layers, torch's own for transposed convolutions."""
    if isinstance(part, (nn.Conv2d, nn.Linear)):
        nn.init.kaiming_normal_(part.weight)
        if part.bias is not None:
            nn.init.zeros_(part.bias)
