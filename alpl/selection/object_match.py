"""How alike two objects are, as a matrix product: what the best match of CCMS is taken over.

Axes: I objects, F features, C outputs.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Literal, NamedTuple, TypeAlias, final

import torch
from torch import Tensor

from alpl.errors import ConfigError

KlDirection: TypeAlias = Literal["symmetric", "as_released"]

LARGEST = 2.0
"""Similarity of equal objects; 0 is that of objects that do not match at all."""

_SMALLEST_PROB = 1e-12  # of the released code: keeps the logarithm finite


class Prepared(NamedTuple):
    """Objects in the form in which :math:`l_i^T r_j` is their similarity, less an offset."""

    left: Tensor
    """``Float32[I F']`` of the object that looks for a match."""
    right: Tensor
    """``Float32[I F']`` of the object that it may find."""


class AbstractMatch(ABC):
    """A similarity of objects in [0, 2] that is a matrix product."""

    offset: float = 0.0
    """Is added to the products."""
    symmetric: bool = True
    """Whether i is to j what j is to i."""

    @abstractmethod
    def prepare(self, values: Tensor) -> Prepared:
        """Bring ``Float[I F]`` values into the form of products."""


@final
class CosineMatch(AbstractMatch):
    r"""PPAL Eq. 6: :math:`\frac{f_i \cdot f_j}{\lVert f_i \rVert \lVert f_j \rVert} + 1`.

    The cosine of a vector of zeros, which has no direction, is 0 to every other.
    """

    offset = 1.0

    def prepare(self, values: Tensor) -> Prepared:
        """Divide the features by their lengths."""
        unit = unit_vectors(values)
        return Prepared(unit, unit)


@final
@dataclass(frozen=True)
class KlMatch(AbstractMatch):
    r"""PPAL sec. 4.2 (SSD): objects compared by their class probabilities.

    .. math:: 2 - \min\{2, D(p_i, p_j)\}

    with the symmetric divergence :math:`D = \tfrac12 [KL(p_i \Vert p_j) + KL(p_j \Vert p_i)]` of CDAL, which the paper
    follows. The paper does not say how a distance without a limit meets the "no match" of Eq. 6, which lies at cosine
    distance 2; here a divergence of 2 nats is as far as no match.

    Args:
        direction: ``symmetric``; or ``as_released``, :math:`D = KL(p_j \Vert p_i)` for the object i that looks for a
            match. The released code has probabilities below 1e-12 raised to it, and so has this.

    Raises:
        ConfigError: the direction is unknown.
    """

    direction: KlDirection = "symmetric"

    def __post_init__(self) -> None:
        if self.direction not in ("symmetric", "as_released"):
            raise ConfigError(f"direction must be symmetric or as_released, got {self.direction!r}")

    @property
    def symmetric(self) -> bool:  # type: ignore[override]  # the one match that depends on an argument
        """See the base class."""
        return self.direction == "symmetric"

    def prepare(self, values: Tensor) -> Prepared:
        r"""Write 2 - D as a product of ``[I C + 1]`` or ``[I 2 C + 2]`` with what is known of i and of j alone."""
        probs = values.double()
        logs = probs.clamp(min=_SMALLEST_PROB).log()
        certainty = (probs * logs).sum(1, keepdim=True)  # sum_c p_c ln p_c
        ones = torch.ones_like(certainty)
        if self.symmetric:
            left = torch.cat([logs / 2, probs / 2, 1 - certainty / 2, ones], 1)
            right = torch.cat([probs, logs, ones, 1 - certainty / 2], 1)
        else:
            left = torch.cat([logs, ones], 1)
            right = torch.cat([probs, 2 - certainty], 1)
        return Prepared(left.float(), right.float())


def unit_vectors(values: Tensor) -> Tensor:
    """``Float32[I F]``: each row over its length; a row of zeros stays one.

    >>> unit_vectors(torch.tensor([[3.0, 4.0], [0.0, 0.0]]))
    tensor([[0.6000, 0.8000],
            [0.0000, 0.0000]])
    """
    values = values.float()
    largest = values.abs().amax(1, keepdim=True) if values.shape[1] else values.new_ones(len(values), 1)
    # over the largest entry first: squares of very small or large entries would leave float32
    scaled = values / torch.where(largest > 0, largest, 1.0)
    length = scaled.square().sum(1, keepdim=True).sqrt_()
    return scaled.div_(torch.where(length > 0, length, 1.0))
