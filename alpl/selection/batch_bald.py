r"""BatchBALD: the labels that say most about the parameters together (Kirsch, van Amersfoort and Gal 2019).

Axes: V views (draws of the parameters), U candidates, C classes, M joint outcomes of the labels chosen so far, b picks.
"""

from __future__ import annotations

import torch
from torch import Generator, Tensor

from alpl.selection.blocks import MEMORY_LIMIT, rows_per_block


def batch_bald(
    views: Tensor,
    budget: int,
    generator: Generator,
    *,
    num_outcomes: int = 10_000,
    memory_limit: int = MEMORY_LIMIT,
) -> tuple[Tensor, Tensor]:
    r"""Pick the candidate that raises the mutual information of all labels chosen with the parameters most; repeatedly.

    .. math:: a(x_{1:n}) = H(y_{1:n}) - \sum_{i=1}^n E_w\, H(y_i \mid w)

    (Eq. 8 and 9, Algorithm 1.) The joint entropy is exact as long as the C^n outcomes of the labels chosen are at most
    ``num_outcomes`` (Eq. 10). Beyond that it is estimated from so many outcomes, drawn from the mixture of the views,
    each by a view drawn uniformly and a class for every pick (Eq. 12):

    .. math:: H \approx -\frac1M \sum_m \sum_y \frac{p(m, y)}{p(m)} \ln p(m, y)

    All candidates meet the same outcomes, so the draw does not decide between them. First index on ties.

    O(M V U C) time a pick; memory of a block. BatchBALD is meant for queries of tens of images.

    Args:
        views: ``Float[V U C]``, softmax.
        budget: b.
        generator: of the outcomes, on the CPU.
        num_outcomes: M, at least 1.
        memory_limit: bytes for a block of candidates, beside V U C 8.

    Returns:
        ``Long[b]`` picks in order, and ``Float64[b]`` what each added to the mutual information.

    Raises:
        ValueError: shapes do not fit, an argument is out of range, or the views hold what is no probability.
    """
    if views.ndim != 3:
        raise ValueError(f"views must be Float[V U C], got shape {list(views.shape)}")
    if num_outcomes < 1:
        raise ValueError(f"num_outcomes must be >= 1, got {num_outcomes}")
    number = views.shape[1]
    if not 0 <= budget <= number:
        raise ValueError(f"budget must be in [0, {number}] candidates, got {budget}")
    probs = views.detach().cpu().double()
    conditional = -torch.xlogy(probs, probs).sum(2).mean(0)
    outcomes = _Outcomes(probs, generator, num_outcomes, memory_limit)
    is_free = torch.ones(number, dtype=torch.bool)
    picks: list[int] = []
    gains: list[float] = []
    before = 0.0
    for _ in range(budget):
        joint = outcomes.joint_entropies(is_free.nonzero().flatten())
        value = torch.full((number,), -torch.inf, dtype=torch.float64)
        value[is_free] = joint - conditional[is_free]
        if bool(value.isnan().any()):
            raise ValueError(f"views must be finite and >= 0, got a mutual information of NaN at pick {len(picks)}")
        pick = int(value.round(decimals=_DECIMALS).argmax())
        total = float(joint[int(is_free[:pick].sum())])
        picks.append(pick)
        gains.append(total - before - float(conditional[pick]))
        before = total
        is_free[pick] = False
        if outcomes.add(pick):
            before = outcomes.entropy()
    return torch.tensor(picks, dtype=torch.long), torch.tensor(gains, dtype=torch.float64)


_DECIMALS = 10  # of values that count: what is beyond is rounding


class _Outcomes:
    """Joint outcomes of the labels chosen so far, and how likely each view finds them."""

    def __init__(self, probs: Tensor, generator: Generator, most: int, memory_limit: int) -> None:
        self._probs, self._generator, self._most, self._memory_limit = probs, generator, most, memory_limit
        self._given = torch.ones(1, len(probs), dtype=torch.float64)  # [M V]: p(outcome | view), but for the scale
        self._log_scale = torch.zeros(1, dtype=torch.float64)  # [M]; 0 of exact outcomes, which are few labels'
        self._picks: list[int] = []
        self._is_exact = True

    def joint_entropies(self, candidates: Tensor) -> Tensor:
        """``Float64[n]``: the entropy of the labels chosen and each candidate's."""
        num_views, _, classes = self._probs.shape
        size = rows_per_block(max(self._memory_limit, 24 * len(self._given) * classes), 24 * len(self._given) * classes)
        weights = self._weights()
        found = []
        for rows in candidates.split(size):
            block = self._probs[:, rows].reshape(num_views, -1)
            joint = (self._given @ block / num_views).reshape(len(self._given), len(rows), classes)
            logs = torch.xlogy(joint, joint).sum(2) + joint.sum(2) * self._log_scale[:, None]
            found.append(-(logs * weights[:, None]).sum(0))
        return torch.cat(found) if found else torch.empty(0, dtype=torch.float64)

    def entropy(self) -> float:
        """The entropy of the labels chosen, by the outcomes that are there."""
        joint = self._given.mean(1)
        return -float(((torch.xlogy(joint, joint) + joint * self._log_scale) * self._weights()).sum())

    def add(self, pick: int) -> bool:
        """Choose a candidate; whether outcomes were drawn anew, which estimates the entropy anew."""
        self._picks.append(pick)
        mine = self._probs[:, pick].T  # [C V]
        if self._is_exact and len(self._given) * len(mine) <= self._most:
            self._given = (self._given[:, None] * mine).flatten(0, 1)
            return False
        self._is_exact = False
        self._given, self._log_scale = self._drawn()
        return True

    def _weights(self) -> Tensor:
        """``Float64[M]``: of the exact outcomes 1; of drawn ones the inverse of how often each is expected.

        The scales cancel against those of what is weighted.
        """
        if self._is_exact:
            return torch.ones(len(self._given), dtype=torch.float64)
        return 1 / (len(self._given) * self._given.mean(1))

    def _drawn(self) -> tuple[Tensor, Tensor]:
        """``Float64[M V]``: outcomes of all picks, each of a view drawn uniformly; ``Float64[M]``: logs of the scales.

        The likeliest view of each outcome is scaled to 1 after each pick: p(outcome | view) of hundreds of labels is
        less than what a number can hold. The view that an outcome is drawn of finds it possible, so no scale is 0.
        """
        view = torch.randint(len(self._probs), (self._most,), generator=self._generator)
        given = torch.ones(self._most, len(self._probs), dtype=torch.float64)
        log_scale = torch.zeros(self._most, dtype=torch.float64)
        for pick in self._picks:
            mine = self._probs[:, pick]
            race = torch.empty(self._most, mine.shape[1], dtype=torch.float64).exponential_(generator=self._generator)
            given *= mine[:, (race / mine[view]).argmin(1)].T
            top = given.amax(1, keepdim=True)
            given /= top
            log_scale += top[:, 0].log()
        return given, log_scale
