"""Losses of mixture density heads (AL-MDN, Choi et al. 2021), computed through logarithms.

Axes: M components (the paper's K), C outputs (0 is the background), D values that a mixture is of.
"""

from __future__ import annotations

import math
from typing import Literal, TypeAlias

import torch
from torch import Tensor

Density: TypeAlias = Literal["as_written", "as_released"]
Noise: TypeAlias = Literal["as_written", "as_released"]

EPS = 1e-9
"""Added to a density before its logarithm (Eq. 3)."""

RELEASED_WIDENING = 0.3
"""What the released code adds to the deviation in the density's denominator, and there alone."""

_LOWEST = -40.0  # of a variance's logarithm: below it a density is a spike that float32 cannot resolve
_LEAST_NOISE = 1e-30  # variance
_FARTHEST = 1e3  # deviations: the density at that distance is 0 in any precision


def log_normal(values: Tensor, means: Tensor, raw_variances: Tensor, density: Density = "as_written") -> Tensor:
    r"""Give the logarithm of a component's density.

    ``as_written`` (Eq. 3), with the variance :math:`\Sigma = \sigma(\hat\Sigma)` (Eq. 2):

    .. math:: \ln N(g \mid \mu, \Sigma) = -\tfrac12 \ln 2\pi - \tfrac12 \ln \Sigma - \frac{(g - \mu)^2}{2 \Sigma}

    ``as_released``, where the sigmoid is the deviation s, and the density does not integrate to 1:

    .. math:: -\tfrac12 \ln 2\pi - \ln (s + 0.3) - \frac{(g - \mu)^2}{2 s^2}

    A sigmoid below :math:`e^{-40}` counts as that.

    Args:
        values: ``Float[...]``, g.
        means: the same shape.
        raw_variances: the same shape, before the sigmoid.
        density: see above.
    """
    log_sigmoid = torch.nn.functional.logsigmoid(raw_variances).clamp(min=_LOWEST)
    if density == "as_written":
        log_deviation = log_sigmoid / 2
        log_width = log_deviation
    else:
        log_deviation = log_sigmoid
        log_width = (log_sigmoid.exp() + RELEASED_WIDENING).log()
    # clamped before the square, so that no gradient is the product of zero and infinity
    distance = ((values - means) * (-log_deviation).exp()).clamp(-_FARTHEST, _FARTHEST)
    return -0.5 * math.log(2 * math.pi) - log_width - distance.square() / 2


def gaussian_mixture_loss(
    log_weights: Tensor, means: Tensor, raw_variances: Tensor, values: Tensor, density: Density = "as_written"
) -> Tensor:
    r"""Give the negative logarithm of a mixture's density, value by value (Eq. 3).

    .. math:: - \ln \Big( \sum_k \pi^k N(g \mid \mu^k, \Sigma^k) + \varepsilon \Big), \qquad \varepsilon = 10^{-9}

    Args:
        log_weights: ``Float[... M D]``.
        means: ``Float[... M D]``.
        raw_variances: ``Float[... M D]``, before the sigmoid.
        values: ``Float[... D]``, g.
        density: see :func:`log_normal`.

    Returns:
        ``Float[... D]``, at most :math:`-\ln \varepsilon`.

    >>> zero = torch.zeros(1, 1)
    >>> gaussian_mixture_loss(zero, zero, zero, torch.zeros(1))  # variance 1/2: the density is 1 / sqrt(pi)
    tensor([0.5724])
    """
    densities = log_weights + log_normal(values.unsqueeze(-2), means, raw_variances, density)
    whole = densities.logsumexp(-2)
    return -torch.logaddexp(whole, whole.new_tensor(math.log(EPS)))


def noisy_logits(means: Tensor, raw_variances: Tensor, noise: Noise = "as_written") -> Tensor:
    r"""Draw the logits of each component (Eq. 4).

    .. math:: c^k = \mu^k + \sqrt{\Sigma^k}\, \gamma, \qquad \gamma \sim N(0, 1)

    Args:
        means: ``Float[... M C]``.
        raw_variances: ``Float[... M C]``, before the sigmoid (Eq. 2).
        noise: ``as_written``: :math:`\gamma` has the size of one :math:`\mu^k` and no index k, so that the components
            share it. ``as_released``: each component has its own.

    Returns:
        ``Float[... M C]``.
    """
    gamma = torch.randn_like(means if noise == "as_released" else means[..., :1, :])
    deviations = raw_variances.sigmoid().clamp(min=_LEAST_NOISE).sqrt()  # the root of 0 has no gradient
    return means + deviations * gamma


def mixture_cross_entropy(log_weights: Tensor, logits: Tensor, labels: Tensor) -> Tensor:
    r"""Give the mean cross-entropy of the components (Eq. 5 of noisy logits, Eq. 9 of the means themselves).

    .. math:: - \sum_k \pi^k \Big( c_y^k - \ln \sum_p e^{c_p^k} \Big)

    It is convex in the logits, so that noise (Eq. 4) only adds to its mean: training drives the variances toward 0. It
    is linear in the weights, so that these go to the component of least loss.

    Args:
        log_weights: ``Float[... M]``.
        logits: ``Float[... M C]``, c.
        labels: ``Long[...]``, y, 0 for the background.

    Returns:
        ``Float[...]``.

    >>> half = torch.tensor([0.5, 0.5]).log()
    >>> mixture_cross_entropy(half, torch.tensor([[0.0, 0.0], [0.0, 50.0]]), torch.tensor(1))  # ln 2 and 0
    tensor(0.3466)
    """
    index = labels[..., None, None].expand(*logits.shape[:-1], 1)
    entropies = logits.logsumexp(-1) - logits.gather(-1, index).squeeze(-1)
    return (log_weights.exp() * entropies).sum(-1)
