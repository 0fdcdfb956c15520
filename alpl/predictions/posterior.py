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
