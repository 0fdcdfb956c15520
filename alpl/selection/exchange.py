r"""A choice of images that is bettered by exchanging one of them for another, for class-balanced selection.

What is minimized is :math:`u^T z + \lambda \lVert \Omega - P^T z \rVert_1` (thesis Eq. 4.8). Every exchange of two
images moves the C class sums at once, and of all pairs only a few in a million help. They are found by products: the
squared length of what the targets lack after an exchange,

.. math:: \lVert r + p_i - p_j \rVert^2 = \lVert r \rVert^2 + (\lVert p_i \rVert^2 + 2 r^T p_i)
    + (\lVert p_j \rVert^2 - 2 r^T p_j) - 2 p_i^T p_j,

is a sum of a row's, a column's and a fixed table's entries. The pairs that are best by it are measured by Eq. 4.8.

Axes: N images, C classes, n chosen images near the border of an order and m others that may be exchanged for them.
"""

from __future__ import annotations

from typing import NamedTuple, final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

BORDER = 2000
"""Images on either side of the border that may be exchanged; the table of products takes 16 ``BORDER``^2 bytes."""

_FREE = 0.999  # share of lambda up to which a multiplier says that a class can be balanced
_GAIN = 1e-9  # what an exchange must gain

Floats = NDArray[np.float64]
Places = NDArray[np.intp]


class State(NamedTuple):
    """A choice: the images at the border that are inside and outside, and what the targets lack."""

    inside: Places
    outside: Places
    lack: Floats

    def copy(self) -> State:
        """Give one that does not change with this one."""
        return State(*(each.copy() for each in self))


@final
class Exchange:
    r"""A choice of b images, near the border of the reduced costs :math:`u - P \mu` open to exchanges.

    Args:
        cost: ``Float64[N]``, u.
        probs: ``Float64[N C]``, P.
        targets: ``Float64[C]``, :math:`\Omega`.
        weight: :math:`\lambda`.
        index: ``Long[b]`` the choice to begin with.
        multipliers: ``Float64[C]``, :math:`\mu` of the dual. Where one is as large as lambda, what its class lacks has
            a price that does not change, which the reduced costs contain; the products leave the class out.
        border: images that may be exchanged: so many of the chosen, those of the largest reduced costs, and so many of
            the others, those of the smallest.
    """

    def __init__(
        self,
        cost: Tensor,
        probs: Tensor,
        targets: Tensor,
        weight: float,
        index: Tensor,
        multipliers: Tensor,
        border: int = BORDER,
    ) -> None:
        reduced = cost - probs @ multipliers
        chosen = torch.zeros(len(cost), dtype=torch.bool, device=cost.device)
        chosen[index] = True
        order = torch.argsort(reduced, stable=True)
        inside, outside = order[chosen[order]].flip(0)[:border], order[~chosen[order]][:border]
        chosen[inside] = False
        self._kept, self._images = chosen.nonzero().flatten(), torch.cat([inside, outside])
        self._weight = weight
        self._cost, self._reduced, self._probs = (each[self._images].cpu().numpy() for each in (cost, reduced, probs))
        self._is_free = (multipliers.abs() < _FREE * weight).cpu().numpy()
        free = (self._probs * self._is_free).astype(np.float32)
        self._products = free @ free.T
        self._products *= 2
        self._squares = np.diag(self._products) / 2
        self._middle = float(self._reduced[[0, len(inside)]].mean())
        places = np.arange(len(self._images))
        lack = (targets - probs[index].sum(0)).cpu().numpy()
        self.restore(State(places[: len(inside)], places[len(inside) :], lack))

    @property
    def index(self) -> Tensor:
        """``Long[b]``, ascending."""
        inside = torch.from_numpy(self._now.inside).to(self._images.device)
        return torch.cat([self._kept, self._images[inside]]).sort().values

    @property
    def value(self) -> float:
        """Eq. 4.8 less the cost of the images that stay."""
        return float(self._cost[self._now.inside].sum() + self._weight * np.abs(self._now.lack).sum())

    @property
    def state(self) -> State:
        """The choice, for :meth:`restore`."""
        return self._now.copy()

    def restore(self, state: State) -> None:
        """Go back to a choice."""
        self._now = state.copy()
        self._slopes = (2 * (self._probs @ (state.lack * self._is_free))).astype(np.float32)

    def shake(self, count: int, near: int, random: torch.Generator) -> None:
        """Exchange at random ``count`` pairs, or fewer, of the images that are nearest to the border.

        Args:
            count: of the pairs.
            near: of the images inside and of those outside, so many may be drawn.
            random: on the CPU.
        """
        closeness = np.abs(self._reduced - self._middle)
        drawn = []
        for side in self._now[:2]:
            rows = _smallest(closeness[side], near)
            drawn.append(rows[torch.randperm(len(rows), generator=random).numpy()][:count])
        for row, column in zip(*drawn, strict=False):
            self._swap(int(row), int(column))

    def descend(self, toll: float, width: int, measured: int) -> None:
        r"""Exchange as long as the best of the measured pairs gains.

        Args:
            toll: how many times a reduced cost counts, >= 1: beyond 1, exchanges that need images far from the border
                are put off.
            width: images on each side, those of the best row and column entries, whose pairs are looked at.
            measured: of these pairs, the best by the squared length, are measured by Eq. 4.8.
        """
        while (pair := self._best_pair(toll, width, measured)) is not None:
            self._swap(*pair)

    def settle(self) -> None:
        """Exchange until no pair helps, all of them measured; each time the best partner of an image."""
        inside, outside, lack = self._now
        probs = torch.from_numpy(self._probs)
        outer, at, since = probs[outside], 0, 0
        while since < len(inside):
            place = int(inside[at])
            sums = torch.cdist(torch.from_numpy(lack + self._probs[place])[None], outer, p=1.0)[0].numpy()
            changes = self._weight * (sums - np.abs(lack).sum()) + self._cost[outside] - self._cost[place]
            best = int(changes.argmin())
            since += 1
            if changes[best] < -_GAIN:
                self._swap(at, best)
                outer[best] = probs[place]
                since = 0
            at = (at + 1) % len(inside)

    def _best_pair(self, toll: float, width: int, measured: int) -> tuple[int, int] | None:
        """Where in ``inside`` and ``outside`` the images are whose exchange gains most; None where none gains."""
        inside, outside, lack = self._now
        total, felt = float(np.abs(lack).sum()), np.abs(lack * self._is_free)
        # near the present lengths, lambda |r|_1 changes by lambda |r|_1 / (2 |r|_2^2) times what |r|_2^2 does
        unit = toll * 2 * float(felt @ felt) / (self._weight * max(float(felt.sum()), _GAIN))
        price = (unit * (self._reduced - self._middle)).astype(np.float32)
        leave = (self._squares + self._slopes - price)[inside]
        enter = (self._squares - self._slopes + price)[outside]
        rows, columns = _smallest(leave, width), _smallest(enter, width)
        table = leave[rows][:, None] + enter[columns]
        table -= self._products[inside[rows][:, None], outside[columns]]
        few = _smallest(table.ravel(), measured)
        rows, columns = rows[few // len(columns)], columns[few % len(columns)]
        out, new = inside[rows], outside[columns]
        changes = self._weight * (np.abs(lack + self._probs[out] - self._probs[new]).sum(1) - total)
        changes += self._cost[new] - self._cost[out] + (toll - 1) * (self._reduced[new] - self._reduced[out])
        best = int(changes.argmin())
        return (int(rows[best]), int(columns[best])) if changes[best] < -_GAIN else None

    def _swap(self, row: int, column: int) -> None:
        """Exchange what is at a place of ``inside`` for what is at one of ``outside``."""
        inside, outside, lack = self._now
        out, new = inside[row], outside[column]
        inside[row], outside[column] = new, out
        lack += self._probs[out] - self._probs[new]
        self._slopes += self._products[out] - self._products[new]


def _smallest(values: Floats | NDArray[np.float32], count: int) -> Places:
    """Where the ``count`` smallest values are, or all, in any order."""
    return np.argpartition(values, count)[:count] if count < len(values) else np.arange(len(values))
