"""Class probabilities, and how the outputs of a head are to be read.

Axes: C outputs of the head, K foreground classes.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import final

import torch
from torch import Tensor


class Form(str, Enum):
    """How the C outputs of a head are to be read."""

    SOFTMAX = "softmax"
    """C classes that exclude each other."""
    BACKGROUND = "background"
    """Softmax over C = K + 1 outputs; output 0 is the background."""
    SIGMOID = "sigmoid"
    """K independent probabilities."""


_TOLERANCE = 0.01
"""How far a sum may be from 1: bfloat16 keeps eight binary digits."""


@final
@dataclass(frozen=True, eq=False)
class Posterior:
    """Class probabilities and how to read them; the only place where the form is branched on.

    Args:
        probs: ``Float[... C]``.
        form: see :class:`Form`.
    """

    probs: Tensor
    form: Form = Form.SOFTMAX

    @property
    def foreground(self) -> Tensor:
        """``Float[... K]``: the probabilities of the foreground classes."""
        return self.probs[..., 1:] if self.form is Form.BACKGROUND else self.probs

    def checked(self) -> Posterior:
        """Give itself, if it holds probabilities: what is measured of anything else would rank images by nothing.

        Raises:
            ValueError: it is not ``Float[... I C]``; a value is NaN or outside [0, 1]; or, in the softmax forms, the
                outputs of an instance do not sum to 1.
        """
        probs = self.probs
        if probs.ndim < 2 or not probs.is_floating_point() or not probs.shape[-1]:
            raise ValueError(f"posterior must be Float[... I C], got {probs.dtype} {list(probs.shape)}")
        if not probs.numel():
            return self
        low, high = (float(value) for value in probs.aminmax())
        if not (low >= 0 and high <= 1 + _TOLERANCE):  # NaN compares false
            raise ValueError(f"posterior must hold probabilities in [0, 1], got {high if low >= 0 else low}")
        if self.form is not Form.SIGMOID:
            sums = probs.sum(-1, dtype=torch.promote_types(probs.dtype, torch.float32)).flatten()
            worst = float(sums[(sums - 1).abs().argmax()])
            if abs(worst - 1) > _TOLERANCE:
                raise ValueError(f"posterior must sum to 1 over {probs.shape[-1]} outputs, got a sum of {worst:.6g}")
        return self

    def entropy(self) -> Tensor:
        r"""``Float[...]``: Shannon entropy in nats, :math:`-\sum_c p_c \log p_c`.

        Over all outputs (background included) for the softmax forms; for the sigmoid form the sum of the K binary
        entropies. Zero probabilities count 0, as the limit says.

        >>> Posterior(torch.tensor([[0.5, 0.5], [1.0, 0.0]])).entropy()
        tensor([0.6931, 0.0000])
        """
        probs = self.probs
        if self.form is Form.SIGMOID:
            rest = 1 - probs
            return -(torch.xlogy(probs, probs) + torch.xlogy(rest, rest)).sum(-1) + 0.0
        return -torch.xlogy(probs, probs).sum(-1) + 0.0  # + 0.0: a certain posterior gives 0, not -0

    def __getitem__(self, chosen: Tensor | int) -> Posterior:
        return Posterior(self.probs[chosen], self.form)
