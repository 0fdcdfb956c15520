"""Posterior -> one value per instance; higher is more uncertain. Pure functions of ``Float[I C]`` or ``[V I C]``.

All raise a ValueError where it holds no probabilities, see :meth:`Posterior.checked`.
"""

from __future__ import annotations

from torch import Tensor

from alpl.predictions.posterior import Form, Posterior


def least_confidence(posterior: Posterior) -> Tensor:
    r"""``Float[I]``: :math:`1 - \max_k p_k` over the foreground classes.

    >>> import torch
    >>> least_confidence(Posterior(torch.tensor([[0.7, 0.2, 0.1]])))
    tensor([0.3000])
    """
    return 1 - posterior.checked().foreground.amax(-1)


def margin(posterior: Posterior) -> Tensor:
    r"""``Float[I]``: :math:`1 - (p_{(1)} - p_{(2)})`, the two largest outputs (background included).

    The works rank by the smallest difference; one minus it ranks the same, with higher = more uncertain. With a
    single sigmoid output the other class is its complement.

    >>> import torch
    >>> margin(Posterior(torch.tensor([[0.5, 0.4, 0.1]])))
    tensor([0.9000])
    """
    probs = posterior.checked().probs
    if probs.shape[-1] == 1:
        if posterior.form is not Form.SIGMOID:
            return probs.new_zeros(probs.shape[:-1])  # one class that excludes all others: certain
        return 1 - (2 * probs[..., 0] - 1).abs()
    top = probs.topk(2, dim=-1).values
    return 1 - (top[..., 0] - top[..., 1])


def margin_squared(posterior: Posterior) -> Tensor:
    r"""``Float[I]``: :math:`(1 - (p_{(1)} - p_{(2)}))^2`, see :func:`margin`.

    Brust et al. 2019 ("1-vs-2"), whom thesis sec. 2.5.2 follows: to be summed over the objects of an image.

    >>> import torch
    >>> margin_squared(Posterior(torch.tensor([[0.5, 0.4, 0.1]])))
    tensor([0.8100])
    """
    return margin(posterior) ** 2


def entropy(posterior: Posterior) -> Tensor:
    """``Float[I]``: Shannon entropy in nats; see :meth:`Posterior.entropy`."""
    return posterior.checked().entropy()


def mutual_information(views: Posterior) -> Tensor:
    r"""``Float[I]``: BALD, the mutual information of prediction and parameters, from ``[V I C]``.

    .. math:: I = H\big[\tfrac1V \sum_v p_v\big] - \tfrac1V \sum_v H[p_v]

    Houlsby et al. 2011 (Eq. 2); Gal et al. 2017 with dropout passes as views. Never negative beyond rounding, and
    clipped there.

    Raises:
        ValueError: ``views`` has no view axis.

    >>> import torch
    >>> mutual_information(Posterior(torch.tensor([[[1.0, 0.0]], [[0.0, 1.0]]])))
    tensor([0.6931])
    """
    if views.probs.ndim != 3:
        raise ValueError(f"views must be [V I C], got shape {list(views.probs.shape)}")
    mean = Posterior(views.checked().probs.mean(0), views.form)
    return (mean.entropy() - views.entropy().mean(0)).clamp(min=0)
