"""What a Gaussian mixture says: its mean, its posterior, and its aleatoric and epistemic uncertainty.

Choi et al. 2021, "Active Learning for Deep Object Detection via Probabilistic Modeling" (AL-MDN). Axes: M components
(the paper's K), C outputs, D values that a mixture is of. Weights are positive and sum to 1 over the components.
"""

from __future__ import annotations

from torch import Tensor


def mixture_mean(weights: Tensor, means: Tensor) -> Tensor:
    r"""Give the mean of a mixture (Eq. 7, localization).

    .. math:: R = \sum_k \pi^k \mu^k

    Args:
        weights: ``Float[... M D]``, or ``Float[... M 1]`` where all values share them.
        means: ``Float[... M D]``.

    Returns:
        ``Float[... D]``.
    """
    return (weights * means).sum(-2)


def mixture_log_posterior(log_weights: Tensor, logits: Tensor) -> Tensor:
    r"""Give the logarithm of the mean posterior of the components (Eq. 7, classification).

    .. math:: P_i = \sum_k \pi^k \frac{e^{\mu_i^k}}{\sum_j e^{\mu_j^k}}

    Args:
        log_weights: ``Float[... M]``.
        logits: ``Float[... M C]``, :math:`\mu`.

    Returns:
        ``Float[... C]``, finite where the logits are.

    >>> import torch
    >>> weights, logits = torch.tensor([0.75, 0.25]), torch.tensor([[0.5, 0.5], [0.9, 0.1]]).log()
    >>> mixture_log_posterior(weights.log(), logits).exp()
    tensor([0.6000, 0.4000])
    """
    return (log_weights[..., None] + logits.log_softmax(-1)).logsumexp(-2)


def aleatoric(weights: Tensor, variances: Tensor) -> Tensor:
    r"""Give the noise that the components see in the data, in their mean (Eq. 1).

    .. math:: u_{al} = \sum_k \pi^k \Sigma^k

    Args:
        weights: ``Float[... M D]`` or ``Float[... M 1]``.
        variances: ``Float[... M D]``.

    Returns:
        ``Float[... D]``, in squared units of what the mixture is of.
    """
    return (weights * variances).sum(-2)


def epistemic(weights: Tensor, means: Tensor) -> Tensor:
    r"""Give the disagreement of the components (Eq. 1).

    .. math:: u_{ep} = \sum_k \pi^k \Big\lVert \mu^k - \sum_i \pi^i \mu^i \Big\rVert^2

    for each of D values by itself.

    Args:
        weights: ``Float[... M D]`` or ``Float[... M 1]``.
        means: ``Float[... M D]``.

    Returns:
        ``Float[... D]``, in squared units of the means; 0 for one component.

    >>> import torch
    >>> epistemic(torch.tensor([[0.5], [0.5]]), torch.tensor([[1.0, 2.0], [3.0, 2.0]]))
    tensor([1., 0.])
    """
    return (weights * (means - mixture_mean(weights, means).unsqueeze(-2)).square()).sum(-2)


def posterior_aleatoric(weights: Tensor, probs: Tensor) -> Tensor:
    r"""Give the aleatoric uncertainty of components without variances: the diagonal of Eq. 8.

    .. math:: u_{al} = \sum_k \pi^k \big(\mathrm{diag}(c^k) - c^k (c^k)^T\big)

    Args:
        weights: ``Float[... M 1]``.
        probs: ``Float[... M D]`` posterior of each component, or that of some outputs.

    Returns:
        ``Float[... D]``, in [0, 1/4].

    >>> import torch
    >>> posterior_aleatoric(torch.tensor([[1.0]]), torch.tensor([[0.5, 0.5, 0.0]]))
    tensor([0.2500, 0.2500, 0.0000])
    """
    return (weights * probs * (1 - probs)).sum(-2)
