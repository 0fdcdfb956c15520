r"""Gradient embeddings (BADGE, Ash et al. 2020), compared without ever being formed.

Axes: U candidates, C classes, F features, n points, p pairs.
"""

from __future__ import annotations

from typing import final

import torch
from torch import Tensor

from alpl.selection.blocks import rows_per_block
from alpl.selection.exact_sum import tree_sum
from alpl.selection.feature_spaces import TINY, check_features
from alpl.selection.product_spaces import AbstractProductSpace, Operand


@final
class GradientSpace(AbstractProductSpace):
    r"""Squared distances of the gradients :math:`g = a \otimes h` of the last layer's weights.

    For the predicted class as label, :math:`a = p - e_{\arg\max p}`. The C F entries of a gradient factorize:

    .. math:: \lVert g_i - g_j \rVert^2
        = \lVert a_i \rVert^2 \lVert h_i \rVert^2 + \lVert a_j \rVert^2 \lVert h_j \rVert^2 - 2 (a_i^T a_j)(h_i^T h_j)
        = \lVert a_i \rVert^2 \lVert \Delta h \rVert^2 + \lVert \Delta a \rVert^2 \lVert h_j \rVert^2
        + 2 (a_i^T \Delta a)(h_j^T \Delta h)

    The first form gives the bounds, the second, which does not cancel for equal points, the exact distances. Where two
    points are swapped it may differ in the last bits; the row is i, the column j.

    Args:
        features: ``Float[U F]``, h.
        probs: ``Float[U C]``, p.
        memory_limit: bytes for the blocks.

    Raises:
        ValueError: the shapes do not fit, a value is not finite, or ``probs`` are not in [0, 1].
    """

    def __init__(self, features: Tensor, probs: Tensor, memory_limit: int) -> None:
        check_features(features, features[:0])
        if probs.ndim != 2 or len(probs) != len(features) or not probs.shape[1]:
            raise ValueError(f"probs must be [{len(features)} C], got {list(probs.shape)}")
        within = (probs >= 0) & (probs <= 1)  # False for NaN
        if not bool(within.all()):
            raise ValueError(f"probs must be in [0, 1], got {float(probs[~within][0])}")
        super().__init__(len(features), 0, features.shape[1] + probs.shape[1], features.device, memory_limit)
        self._features, self._num_classes = features, probs.shape[1]
        self._errors = probs.float().clone()
        if len(probs):
            self._errors[torch.arange(len(probs), device=probs.device), probs.argmax(1)] -= 1
        self.norms = self._squared_norms()
        """``Float64[U]``: squared lengths of the gradients."""

    def operand(self, points: Tensor, dtype: torch.dtype) -> Operand:
        """Errors on the left, features on the right; the slack is the squared length."""
        norms = self.norms[points]
        return Operand(self._errors[points].to(dtype), self._features[points].float().to(dtype), norms, norms + TINY)

    def product(self, bias: Tensor, ours: Operand, theirs: Operand) -> Tensor:
        """The product of two products."""
        return torch.addcmul(bias, _product(ours.left, theirs.left), _product(ours.right, theirs.right), value=-2)

    def exact(self, rows: Tensor, columns: Tensor) -> Tensor:
        """The second form."""
        ours, theirs = self._errors[rows].double(), self._errors[columns].double()
        turned = ours - theirs
        first = tree_sum(ours.square())
        last = tree_sum(turned.square())
        cross = tree_sum(ours * turned)
        ours, theirs = self._features[rows].float().double(), self._features[columns].float().double()
        turned = ours - theirs
        distances = first * tree_sum(turned.square()) + last * tree_sum(theirs.square())
        return distances.add_(cross * tree_sum(theirs * turned), alpha=2).clamp_(min=0)

    def _squared_norms(self) -> Tensor:
        everyone = torch.arange(self.num_candidates, device=self.device)
        parts = [
            tree_sum(self._errors[block].double().square_()) * tree_sum(self._features[block].double().square_())
            for block in everyone.split(rows_per_block(self.memory_limit, 20 * self.width))
        ]
        return torch.cat([self._none(), *parts])


def _product(ours: Tensor, theirs: Tensor) -> Tensor:
    """``Float[n m]``; of one column as a vector, which reads the matrix several times as fast."""
    return (ours @ theirs[0])[:, None] if len(theirs) == 1 else ours @ theirs.T
