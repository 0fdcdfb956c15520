r"""The space in which class distributions are compared: symmetric Kullback-Leibler.

Axes: U candidates, L centers, C classes, n points, p pairs.
"""

from __future__ import annotations

from typing import final

import torch
from torch import Tensor

from alpl.selection.exact_sum import tree_sum
from alpl.selection.feature_spaces import TINY, Points, check_features
from alpl.selection.product_spaces import AbstractProductSpace, Operand

SMALLEST_PROBABILITY = 1e-12
"""Smaller probabilities count as this one where a logarithm is taken."""


@final
class SymmetricKLSpace(AbstractProductSpace):
    r"""Half the sum of both Kullback-Leibler divergences of class distributions.

    .. math:: \tfrac12 KL(p \Vert q) + \tfrac12 KL(q \Vert p) = \tfrac12 \sum_c (p_c - q_c)(\log p_c - \log q_c)

    Probabilities below :data:`SMALLEST_PROBABILITY` are raised to it; logarithms are held in float32, which is the only
    copy of the size of the points.

    Args:
        candidates: ``Float[U C]``, rows that sum to 1; held as they are, read as float32.
        centers: ``Float[L C]``.
        memory_limit: bytes for the blocks, beside 4 C for each point.

    Raises:
        ValueError: the shapes do not fit, or a row is not a distribution: it has a negative value, or its sum differs
            from 1 by 1e-3 or more (for bfloat16 by its epsilon, 0.0078, or more).
    """

    def __init__(self, candidates: Tensor, centers: Tensor, memory_limit: int) -> None:
        check_features(candidates, centers)
        width = candidates.shape[1]
        super().__init__(len(candidates), len(centers), 2 * width, candidates.device, memory_limit)
        self._points, number = Points(candidates, centers), len(candidates) + len(centers)
        self._logs = torch.empty(number, width, device=self.device)
        self._bias, self._slack = torch.empty(2, number, dtype=torch.float64, device=self.device)
        tolerance = max(_tolerance(candidates), _tolerance(centers))
        for block in self._points.blocks(memory_limit):
            self._prepare(block, tolerance)

    def _prepare(self, points: Tensor, tolerance: float) -> None:
        probs = self._points[points]
        _check_distributions(probs, tolerance)
        probs.clamp_(min=SMALLEST_PROBABILITY)
        logs = probs.cpu().double().log_().float().to(self.device)  # one logarithm for all devices
        self._logs[points] = logs
        self._bias[points] = logs.double().mul_(probs).sum(1).mul_(0.5)
        # |p_i| |log p_j| <= |log p_j| in either half of the operands; 0.51: |p| may exceed 1 by rounding
        self._slack[points] = logs.double().square_().sum(1).sqrt_().mul_(0.51).add_(TINY)

    def operand(self, points: Tensor, dtype: torch.dtype) -> Operand:
        """Probabilities beside logarithms, and the other way around."""
        probs, logs = self._probs(points).to(dtype), self._logs[points].to(dtype)
        left, right = torch.cat([probs, logs], 1), torch.cat([logs, probs], 1)
        return Operand(left, right, self._bias[points], self._slack[points])

    def product(self, bias: Tensor, ours: Operand, theirs: Operand) -> Tensor:
        """``bias`` less half of both cross terms."""
        return torch.addmm(bias, ours.left, theirs.right.T, alpha=-0.5)

    def exact(self, rows: Tensor, columns: Tensor) -> Tensor:
        """Sum over the classes; no term is negative."""
        probs = self._probs(rows).double().sub_(self._probs(columns))
        return tree_sum(probs.mul_(self._logs[rows].double().sub_(self._logs[columns]))).mul_(0.5)

    def _probs(self, points: Tensor) -> Tensor:
        return self._points[points].clamp_(min=SMALLEST_PROBABILITY)


def _tolerance(probs: Tensor) -> float:
    """By how much the sum of a distribution may miss 1: rounding each entry moves it by half an epsilon at most."""
    return max(1e-3, torch.finfo(probs.dtype).eps) if len(probs) and probs.is_floating_point() else 1e-3


def _check_distributions(probs: Tensor, tolerance: float) -> None:
    rule = "candidates and centers must hold rows of probabilities that sum to 1"
    negative = probs < 0
    if bool(negative.any()):
        raise ValueError(f"{rule}, got a probability of {float(probs[negative][0])}")
    sums = probs.sum(1)
    apart = (sums - 1).abs() >= tolerance
    if bool(apart.any()):
        raise ValueError(f"{rule}, got a row that sums to {float(sums[apart][0])}")
