"""Whether a few sets can cover all points but some, by a greedy choice or by HiGHS: the step of the robust core-set."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import Bounds, LinearConstraint, milp
from scipy.sparse import csr_matrix, hstack, identity


class Answer(NamedTuple):
    """What is known about a cover."""

    sets: NDArray[np.int64] | None
    """At most b sets that cover enough; None where there are none or none was found."""
    decided: bool
    """False where the solver ran out of time."""


def can_cover(covers: NDArray[np.bool_], budget: int, num_outliers: int, seconds: float) -> Answer:
    r"""Ask for at most b sets that cover all points but :math:`\Xi`.

    .. math:: \sum_j A_{ij} y_j + z_i \ge 1, \quad \sum_j y_j \le b, \quad \sum_i z_i \le \Xi,
        \quad y \in \{0, 1\}^J, \; 0 \le z \le 1

    The program of Sener and Savarese 2018 (section 4.3) with one variable a point instead of one a pair: a point is an
    outlier (:math:`z_i = 1`) or has a pick within the radius. A greedy choice, which takes the set that covers most of
    what is left (first index on ties), is tried first; the integer program is solved where it fails.

    Args:
        covers: ``Bool[I J]``, A: whether set j covers point i.
        budget: b.
        num_outliers: :math:`\Xi`.
        seconds: for the solver.

    Raises:
        RuntimeError: HiGHS fails for another reason than time.
    """
    number = len(covers)
    if number <= num_outliers:
        return Answer(np.empty(0, dtype=np.int64), True)
    found = _greedy(covers, budget, num_outliers)
    if found is not None:
        return Answer(found, True)
    if not budget:
        return Answer(None, True)
    useful = np.flatnonzero(covers.any(0))
    matrix = csr_matrix(covers[:, useful].astype(np.float64))
    columns = matrix.shape[1]
    chosen = np.concatenate([np.ones(columns), np.zeros(number)])[None]
    result = milp(
        np.zeros(columns + number),
        integrality=np.concatenate([np.ones(columns), np.zeros(number)]),
        bounds=Bounds(0, 1),
        constraints=[
            LinearConstraint(hstack([matrix, identity(number)], format="csr"), 1, np.inf),
            LinearConstraint(chosen, -np.inf, budget),
            LinearConstraint(1 - chosen, -np.inf, num_outliers),
        ],
        options={"time_limit": seconds},
    )
    if result.status not in (0, 1, 2):  # optimal, time, infeasible
        raise RuntimeError(f"HiGHS must end with an answer or by time, got status {result.status}: {result.message}")
    if result.x is None:
        return Answer(None, result.status == 2)
    sets = useful[result.x[:columns] > 0.5]
    enough = len(sets) <= budget and number - int(covers[:, sets].any(1).sum()) <= num_outliers
    return Answer(sets, True) if enough else Answer(None, False)  # not enough: within the solver's tolerance only


def _greedy(covers: NDArray[np.bool_], budget: int, num_outliers: int) -> NDArray[np.int64] | None:
    left = np.ones(len(covers), dtype=bool)
    counts = covers.sum(0)
    sets: list[int] = []
    while int(left.sum()) > num_outliers:
        if len(sets) == budget or not counts.any():
            return None
        best = int(counts.argmax())
        sets.append(best)
        new = left & covers[:, best]
        counts = counts - covers[new].sum(0)
        left &= ~new
    return np.array(sets, dtype=np.int64)
