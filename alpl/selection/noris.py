r"""Non-redundant informative sampling: informative images that are not like others already chosen (NORIS).

Axes: N images, b picks.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, TypeAlias, final

import torch
from torch import Tensor

from alpl.errors import ConfigError
from alpl.selection.gains import AbstractGain
from alpl.selection.image_distance import AbstractImageDistance
from alpl.selection.noris_scores import AbstractScores, Equation7Scores, Equation8Scores, MaxScores, SumScores

Variant: TypeAlias = Literal["sum", "max", "sum_equation_7", "max_equation_8"]
Shape: TypeAlias = Literal["gaussian", "linear"]

_SCORES: dict[str, Callable[[Tensor, int], AbstractScores]] = {
    "sum": SumScores,
    "max": MaxScores,
    "sum_equation_7": Equation7Scores,
    "max_equation_8": Equation8Scores,
}
VARIANTS = tuple(_SCORES)


@final
@dataclass(frozen=True)
class Kernel:
    r"""Similarity of two samples at a distance d.

    .. math::
        \text{gaussian: } e^{-d^2 / \lambda}, \; \lambda = \frac{(\alpha d_{\max})^2}{\pi}; \qquad
        \text{linear: } \max\{0, 1 - d / \lambda\}, \; \lambda = \alpha d_{\max}

    NORIS Eq. 4 to 6 and 20. Where all samples are equal, :math:`d_{\max} = 0`, all similarities are 1.

    Args:
        shape: which of the two.
        alpha: how far a sample's influence reaches, as a share of the largest distance, in (0, 1].

    Raises:
        ConfigError: the shape is unknown, or ``alpha`` is outside (0, 1].

    >>> Kernel("linear", 0.5)(torch.tensor([0.0, 1.0, 2.0, 4.0]), 4.0)
    tensor([1.0000, 0.5000, 0.0000, 0.0000])
    """

    shape: Shape = "gaussian"
    alpha: float = 0.5

    def __post_init__(self) -> None:
        if self.shape not in ("gaussian", "linear"):
            raise ConfigError(f"similarity must be gaussian or linear, got {self.shape!r}")
        if not 0 < self.alpha <= 1:
            raise ConfigError(f"alpha must be in (0, 1], got {self.alpha}")

    def __call__(self, distances: Tensor, largest: float) -> Tensor:
        r"""``Float[N]``: the similarities at some distances, where the largest of all is :math:`d_{\max}`."""
        if largest == 0:
            return torch.ones_like(distances)
        scaled = distances / (self.alpha * largest)
        return (scaled.square() * -math.pi).exp() if self.shape == "gaussian" else (1 - scaled).clamp(min=0)


def noris(
    information: Tensor,
    distance: AbstractImageDistance,
    budget: int,
    *,
    variant: Variant = "sum",
    kernel: Kernel | None = None,
) -> tuple[Tensor, Tensor]:
    r"""Pick one sample after the other: the most informative, given what is picked.

    .. math::
        u_{next} = \arg\max_{u \notin S} \sigma(u), \qquad
        \sigma(u) \leftarrow \sigma(u) - sim(u, u_{next}) \sigma(u_{next})

    for all unpicked samples (``sum``, Algorithm 1) or for the one most similar to the pick (``max``, Algorithm 2), with
    the value that the pick has by then. This is not greedy on the paper's objectives, where the original values count
    and every pair of picks costs both: ``sum_equation_7`` and ``max_equation_8`` are. First index on ties. Values may
    fall below zero; nothing is clipped, as in the algorithms.

    One row of distances a pick and d_max: O(b) rows, and O(b N) beside them; all in float64. Memory: a few vectors of
    N, and for ``max_equation_8`` 8 b N bytes.

    Args:
        information: ``Float[N]``, :math:`\sigma \ge 0`.
        distance: between the samples.
        budget: b.
        variant: see above.
        kernel: how similarity falls with distance; Gaussian with alpha 0.5, the paper's choice, by default.

    Returns:
        ``Long[b]`` picks in order, and ``Float64[b]`` the value of each when it was picked.

    Raises:
        ValueError: the information is not finite or negative, or does not fit the distances; ``budget`` is out of
            range, or ``variant`` is unknown.

    >>> from alpl.selection.image_distance import FeatureDistance
    >>> distance = FeatureDistance(torch.tensor([[0.0], [0.1], [4.0]]))
    >>> noris(torch.tensor([1.0, 0.9, 0.5]), distance, 2, kernel=Kernel("linear", 1.0))[0]
    tensor([0, 2])
    """
    gain = NorisGain(information, distance, budget, variant=variant, kernel=kernel)
    picks: list[int] = []
    values: list[float] = []
    for step in range(budget):
        pick = int(torch.where(gain.free, gain.values, -math.inf).argmax())
        picks.append(pick)
        values.append(float(gain.values[pick]))
        if step + 1 < budget:
            gain.add(pick)
    return torch.tensor(picks, dtype=torch.long, device=information.device), torch.tensor(values, dtype=torch.float64)


@final
class NorisGain(AbstractGain):
    """What :func:`noris` takes the largest of, pick by pick; arguments and errors as there."""

    def __init__(
        self,
        information: Tensor,
        distance: AbstractImageDistance,
        budget: int,
        *,
        variant: Variant = "sum",
        kernel: Kernel | None = None,
    ) -> None:
        number = distance.num_images
        if information.shape != (number,):
            raise ValueError(f"information must be Float[{number}], got shape {list(information.shape)}")
        if not bool((information.isfinite() & (information >= 0)).all()):
            raise ValueError("information must be finite and >= 0, got NaN, infinite or negative values")
        if not 0 <= budget <= number:
            raise ValueError(f"budget must be in [0, {number}] samples, got {budget}")
        if variant not in VARIANTS:
            raise ValueError(f"variant must be one of {', '.join(VARIANTS)}, got {variant!r}")
        self._scores = _SCORES[variant](information.double(), budget)
        self._distance, self._kernel = distance, kernel or Kernel()
        self._largest = distance.largest() if budget > 1 else 0.0

    @property
    def values(self) -> Tensor:
        """See the base class."""
        return self._scores.values

    @property
    def free(self) -> Tensor:
        """``Bool[N]``: which are no picks."""
        return self._scores.free

    def add(self, pick: int) -> None:
        """See the base class."""
        self._scores.free[pick] = False
        self._scores.update(pick, self._kernel(self._distance.row(pick), self._largest))
