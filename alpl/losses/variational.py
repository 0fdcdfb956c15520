"""Losses of a variational autoencoder, and of a game about how its codes look (Kingma and Welling 2014; VAAL).

Axes: B images of a batch, C channels, H and W pixels, Z numbers of a code.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

import torch
import torch.nn.functional as F
from torch import Tensor

Summed: TypeAlias = Literal["sum", "mean"]
"""How the divergences of a batch's images are joined."""


def vae_loss(
    images: Tensor, reconstructed: Tensor, mu: Tensor, logvar: Tensor, *, beta: float = 1.0, kl: Summed = "sum"
) -> Tensor:
    r"""Give what a VAE loses on a batch (Sinha et al. 2019, "Variational Adversarial Active Learning", Eq. 1 or 2).

    .. math:: \frac1{BCHW} \lVert x - \hat x \rVert^2
        + \beta \sum_b -\frac12 \sum_z (1 + \log \sigma_{bz}^2 - \mu_{bz}^2 - \sigma_{bz}^2)

    The likelihood is a mean over all numbers, as in their released code, and so is the sum over the batch in the second
    term: a larger batch weighs it more.

    Args:
        images: ``Float[B C H W]``.
        reconstructed: the same shape.
        mu: ``Float[B Z]``.
        logvar: ``Float[B Z]``.
        beta: weight of the divergence.
        kl: "sum", or "mean" over the images of the batch.

    Returns:
        A scalar.

    >>> mu, logvar = torch.tensor([[1.0, 0.0], [0.0, 2.0]]), torch.zeros(2, 2)
    >>> images = torch.zeros(2, 1, 1, 1)
    >>> vae_loss(images, images + 3, mu, logvar), vae_loss(images, images + 3, mu, logvar, kl="mean")
    (tensor(11.5000), tensor(10.2500))
    """
    mu, logvar = mu.float(), logvar.float()
    divergence = -0.5 * (1 + logvar - mu.square() - logvar.exp()).sum()
    if kl == "mean":
        divergence = divergence / len(mu)
    return F.mse_loss(reconstructed.float(), images.float()) + beta * divergence


def appearance_loss(logits: Tensor, *, labeled: bool) -> Tensor:
    """Give the binary cross-entropy of all images looking labeled, or all unlabeled; its mean (VAAL, Eq. 3 and 4).

    Args:
        logits: ``Float[B]`` of looking labeled.
        labeled: what they should look.

    >>> appearance_loss(torch.zeros(4), labeled=True)
    tensor(0.6931)
    """
    return F.binary_cross_entropy_with_logits(logits.float(), torch.full_like(logits, float(labeled)).float())
