r"""GLISTER: what lowers the loss of a validation set most (Killamsetty et al. 2021, GLISTER, AAAI).

Axes: U candidates, L validation images, C classes, F features, b picks.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from alpl.selection.feature_spaces import check_features


def glister(
    features: Tensor,
    probs: Tensor,
    validation_features: Tensor,
    validation_probs: Tensor,
    validation_labels: Tensor,
    budget: int,
    *,
    eta: float = 0.05,
) -> tuple[Tensor, Tensor]:
    r"""Pick the candidate whose gradient step lowers the validation loss most, again and again (Algorithm 2, 3).

    .. math:: j^* = \arg\max_j \; g_j^T \, \nabla L_V\Big( W - \eta \sum_{i \in S} g_i \Big), \qquad
        g_j = (p_j - e_{\hat y_j}) \otimes [h_j, 1]

    the first term of the Taylor series of :math:`L_V(W - \eta \sum_S g_i) - L_V(W - \eta \sum_{S \cup j} g_i)`, over
    :math:`\eta`, with the parameters W of the last layer, its bias among them, the cross-entropy :math:`L_V`, a mean,
    and the predicted class :math:`\hat y` for the label that is not known. After each pick the outputs of the
    validation set follow the step. First index on ties.

    O(b (U + L) C F) time, O(U (C + F)) memory beside the inputs.

    Args:
        features: ``Float[U F]``, h: what the last layer sees.
        probs: ``Float[U C]``, p, a softmax.
        validation_features: ``Float[L F]``, L at least 1.
        validation_probs: ``Float[L C]``.
        validation_labels: ``Long[L]``.
        budget: b.
        eta: :math:`\eta`, the step.

    Returns:
        ``Long[b]`` picks in order, and ``Float64[b]`` the value of each when it was picked.

    Raises:
        ValueError: shapes do not fit, a value is not finite, there is no validation image, or an argument is out of
            range.
    """
    _check(features, probs, validation_features, validation_probs, validation_labels, budget, eta)
    rows, seen = _with_one(features), _with_one(validation_features)
    errors = probs.double().clone()
    errors[torch.arange(len(errors)), probs.argmax(1)] -= 1
    outputs = validation_probs.double().clamp(min=torch.finfo(torch.float64).tiny).log()
    truth = torch.nn.functional.one_hot(validation_labels, probs.shape[1]).double()
    is_free = torch.ones(len(rows), dtype=torch.bool)
    picks, values = [], []
    for _ in range(budget):
        gradient = (outputs.softmax(1) - truth).T @ seen / len(seen)  # [C F + 1]
        gains = ((rows @ gradient.T) * errors).sum(1)
        pick = int(torch.where(is_free, gains, -torch.inf).argmax())
        picks.append(pick)
        values.append(float(gains[pick]))
        is_free[pick] = False
        outputs = outputs - eta * (seen @ rows[pick])[:, None] * errors[pick]
    return torch.tensor(picks, dtype=torch.long), torch.tensor(values, dtype=torch.float64)


def _with_one(features: Tensor) -> Tensor:
    """``Float64[n F + 1]``: the input of the bias beside the features."""
    rows = features.double()
    return torch.cat([rows, rows.new_ones(len(rows), 1)], 1)


def _check(
    features: Tensor,
    probs: Tensor,
    validation_features: Tensor,
    validation_probs: Tensor,
    labels: Tensor,
    budget: int,
    eta: float,
) -> None:
    for name, rows, outputs in (("", features, probs), ("validation_", validation_features, validation_probs)):
        if rows.ndim != 2 or outputs.ndim != 2 or len(rows) != len(outputs):
            shapes = f"{list(rows.shape)} and {list(outputs.shape)}"
            raise ValueError(f"{name}features and {name}probs must be [n F] and [n C], got {shapes}")
    check_features(features, validation_features)
    classes = probs.shape[1]
    if validation_probs.shape[1] != classes:
        raise ValueError(f"validation_probs must have {classes} classes, got {validation_probs.shape[1]}")
    if labels.shape != (len(validation_features),) or not len(labels):
        raise ValueError(f"validation_labels must be Long[L], one for each of L >= 1, got shape {list(labels.shape)}")
    if int(labels.min()) < 0 or int(labels.max()) >= classes:
        raise ValueError(
            f"validation_labels must lie in [0, {classes}), got {int(labels.min())} to {int(labels.max())}"
        )
    if not 0 <= budget <= len(features):
        raise ValueError(f"budget must be in [0, {len(features)}] candidates, got {budget}")
    if not 0 < eta < math.inf:
        raise ValueError(f"eta must be finite and > 0, got {eta}")
