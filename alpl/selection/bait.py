r"""BAIT: the Fisher information of the last layer (Ash, Goel, Krishnamurthy and Kakade 2021, Gone Fishing).

Axes: U candidates, L labeled, C classes, F features, D = C F parameters of the last layer, b picks.
"""

from __future__ import annotations

import math
from typing import Literal, TypeAlias, get_args

import torch
from torch import Tensor

from alpl.selection.blocks import rows_per_block
from alpl.selection.feature_spaces import check_features

Weights: TypeAlias = Literal["sum", "as_released"]
WEIGHTS: tuple[str, ...] = get_args(Weights)

_DIGITS = 36  # of gains that count: what is beyond is rounding
_BLOCK = 2**27  # bytes of a block of candidates


def bait(
    features: Tensor,
    probs: Tensor,
    labeled_features: Tensor,
    labeled_probs: Tensor,
    budget: int,
    *,
    regularization: float = 1.0,
    oversample: float = 2.0,
    weights: Weights = "sum",
    memory_limit: int = 2**32,
) -> tuple[Tensor, Tensor]:
    r"""Pick what makes the last layer's parameters certain where the pool needs them (Ash et al. 2021, Algorithm 1).

    .. math:: \min_S \operatorname{tr}\Big( \big( \lambda I + \sum_{x \in L \cup S} I(x) \big)^{-1} I_U \Big), \qquad
        I(x) = (\operatorname{diag}(p) - p p^T) \otimes h h^T

    with :math:`I_U` the mean over the candidates: greedily forward to ``oversample`` times b picks, then greedily back
    to b. First index on ties.

    I(x) has rank C, and a pick changes the inverse by a matrix of rank C. So of each candidate only two C x C matrices
    are held, which a pick brings up to date in O(C^2 F + C^3): the picks are those of the loop that inverts D x D
    matrices. O(U D^2) once, then O(U C^2 (F + C)) a pick.

    Args:
        features: ``Float[U F]``, h: what the last layer sees.
        probs: ``Float[U C]``, p, a softmax.
        labeled_features: ``Float[L F]``, L may be 0.
        labeled_probs: ``Float[L C]``.
        budget: b.
        regularization: :math:`\lambda`, > 0; 1 in the paper's code.
        oversample: at least 1; 2 in the paper.
        weights: ``sum``: as above. ``as_released``: the labeled count with 1 / (L + b), the picks with b / (L + b).
        memory_limit: bytes for the three D x D matrices and the 3 U C^2 numbers: BAIT is for tens of classes, or few
            features.

    Returns:
        ``Long[b]`` picks in the order of the forward steps, and ``Float64[b]`` by how much each lowered the trace then.

    Raises:
        ValueError: shapes do not fit, a value is not finite, an argument is out of range, or the limit is too small.
    """
    number = len(features)
    _check(features, probs, labeled_features, labeled_probs, budget, regularization, oversample, weights)
    needed = 8 * (4 * (features.shape[1] * probs.shape[1]) ** 2 + 3 * number * probs.shape[1] ** 2)
    if needed > memory_limit:
        given = f"{number} candidates, {features.shape[1]} features and {probs.shape[1]} classes"
        raise ValueError(f"memory_limit must be at least {needed} bytes for {given}, got {memory_limit}")
    if not budget:
        return torch.empty(0, dtype=torch.long), torch.empty(0, dtype=torch.float64)
    total = len(labeled_features) + budget
    known, own = (1.0, 1.0) if weights == "sum" else (1 / total, budget / total)
    labeled = fisher_sum(labeled_features, labeled_probs) * known
    pool = fisher_sum(features, probs) / number
    trace = _Trace(features, probs, own**0.5, labeled, pool, regularization)
    picks: list[int] = []
    gains: list[float] = []
    for _ in range(min(math.ceil(oversample * budget), number)):
        found = trace.gains(torch.arange(number), 1.0)
        found[picks] = -torch.inf
        pick = _first_largest(found)
        gains.append(float(found[pick]))
        picks.append(pick)
        trace.update(pick, 1.0)
    while len(picks) > budget:
        losses = -trace.gains(torch.tensor(picks), -1.0)
        place = _first_largest(-losses)
        trace.update(picks[place], -1.0)
        del picks[place], gains[place]
    return torch.tensor(picks), torch.tensor(gains, dtype=torch.float64)


def fisher_sum(features: Tensor, probs: Tensor) -> Tensor:
    r"""``Float64[D D]``: :math:`\sum_x (\operatorname{diag}(p) - p p^T) \otimes h h^T`, parameters class by class."""
    rows, outputs = features.double(), probs.double()
    width, classes = rows.shape[1], outputs.shape[1]
    total = torch.zeros(classes, width, classes, width, dtype=torch.float64)
    for one in range(classes):
        for other in range(one + 1):
            weight = -outputs[:, one] * outputs[:, other]
            if one == other:
                weight = weight + outputs[:, one]
            part = (rows * weight[:, None]).T @ rows
            total[one, :, other] = part
            total[other, :, one] = part.T
    return total.reshape(classes * width, classes * width)


class _Trace:
    """The trace, by the inverse and by what of it each candidate's factor sees.

    The factor of I(x) is ``A kron h``, with the rows sqrt(p_y) (e_y - p) of A.
    """

    def __init__(
        self, features: Tensor, probs: Tensor, scale: float, labeled: Tensor, pool: Tensor, regularization: float
    ) -> None:
        self._rows = features.double() * scale
        outputs = probs.double()
        self._classes = outputs.shape[1]
        eye = torch.eye(self._classes, dtype=torch.float64)
        self._factors = outputs.sqrt()[:, :, None] * (eye - outputs[:, None])  # [U C C]
        self._pool = pool
        self._inverse = torch.linalg.inv(labeled + regularization * torch.eye(len(labeled), dtype=torch.float64))
        self._by_inverse = self._seen(self._inverse)  # [U C C]: h^T M^-1 h
        self._by_both = self._seen(self._inverse @ pool @ self._inverse)

    def gains(self, some: Tensor, sign: float) -> Tensor:
        """``Float64[n]``: by how much the trace falls where a candidate is added (1), or taken out (-1; below 0)."""
        factor = self._factors[some]
        inner = factor @ self._by_inverse[some] @ factor.mT + sign * torch.eye(self._classes, dtype=torch.float64)
        both = factor @ self._by_both[some] @ factor.mT
        solved: Tensor = torch.linalg.solve(inner, both)
        return solved.diagonal(dim1=-2, dim2=-1).sum(-1)

    def update(self, pick: int, sign: float) -> None:
        """Add a candidate, or take it out (Woodbury)."""
        width = self._rows.shape[1]
        factor = (self._factors[pick][:, :, None] * self._rows[pick]).flatten(1)  # [C D]
        left = factor @ self._inverse
        inner = torch.linalg.inv(left @ factor.T + sign * torch.eye(self._classes, dtype=torch.float64))
        cross = left @ self._pool
        right, square = cross @ self._inverse, inner @ (cross @ left.T) @ inner
        self._inverse = self._inverse - left.T @ inner @ left
        for rows in torch.arange(len(self._rows)).split(max(_BLOCK // (16 * self._classes**2), 1)):
            by_left, by_right = (
                (self._rows[rows] @ part.reshape(-1, width).T).reshape(len(rows), self._classes, self._classes)
                for part in (left, right)
            )
            self._by_inverse[rows] -= by_left.mT @ inner @ by_left
            mixed = by_left.mT @ inner @ by_right
            self._by_both[rows] += by_left.mT @ square @ by_left - mixed - mixed.mT

    def _seen(self, matrix: Tensor) -> Tensor:
        """``Float64[U C C]``: h^T of each block of parameters of two classes, h."""
        classes, width = self._classes, self._rows.shape[1]
        blocks = matrix.reshape(classes, width, classes, width)
        found = torch.empty(len(self._rows), classes, classes, dtype=torch.float64)
        size = rows_per_block(max(_BLOCK, 8 * classes * width), 8 * classes * width)
        for rows in torch.arange(len(self._rows)).split(size):
            here = self._rows[rows]
            for one in range(classes):
                product = (here @ blocks[one].reshape(width, classes * width)).reshape(len(rows), classes, width)
                found[rows, one] = torch.einsum("ncf,nf->nc", product, here)
        return found


def _first_largest(values: Tensor) -> int:
    """The first of the largest, where differences beyond the digits that count are none."""
    largest = float(values.max())
    unit = math.ldexp(abs(largest), -_DIGITS) or 1.0
    return int((values / unit).round().argmax())


def _check(
    features: Tensor,
    probs: Tensor,
    labeled_features: Tensor,
    labeled_probs: Tensor,
    budget: int,
    regularization: float,
    oversample: float,
    weights: str,
) -> None:
    for name, rows, outputs in (("", features, probs), ("labeled_", labeled_features, labeled_probs)):
        if rows.ndim != 2 or outputs.ndim != 2 or len(rows) != len(outputs):
            shapes = f"{list(rows.shape)} and {list(outputs.shape)}"
            raise ValueError(f"{name}features and {name}probs must be [n F] and [n C], got {shapes}")
    check_features(features, labeled_features)
    if probs.shape[1] != labeled_probs.shape[1]:
        raise ValueError(f"labeled_probs must have {probs.shape[1]} classes, got {labeled_probs.shape[1]}")
    if not 0 <= budget <= len(features):
        raise ValueError(f"budget must be in [0, {len(features)}] candidates, got {budget}")
    if not 0 < regularization < math.inf or not 1 <= oversample < math.inf:
        given = f"{regularization} and {oversample}"
        raise ValueError(f"regularization must be finite and > 0 and oversample finite and >= 1, got {given}")
    if weights not in WEIGHTS:
        raise ValueError(f"weights must be one of {', '.join(WEIGHTS)}, got {weights!r}")
