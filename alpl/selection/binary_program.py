"""The integer program of class-balanced selection, solved to the end by HiGHS; for small pools."""

from __future__ import annotations

import numpy as np
import torch
from scipy.optimize import Bounds, LinearConstraint, milp
from torch import Tensor


def solve_exactly(cost: Tensor, probs: Tensor, targets: Tensor, weight: float, budget: int) -> Tensor:
    r"""``Long[b]``: the best choice for thesis Eq. 4.8, ascending.

    The l1 norm becomes one variable a class, :math:`t_c \ge |\Omega_c - (P^T z)_c|`. Seconds for 200 images and 10
    classes; the time grows beyond all measure with them.

    Args:
        cost: ``Float[N]``.
        probs: ``Float[N C]``.
        targets: ``Float[C]``.
        weight: of the norm.
        budget: b.

    Raises:
        RuntimeError: HiGHS ends without a proven optimum.
    """
    number, num_classes = probs.shape
    matrix, wanted = probs.double().cpu().numpy(), targets.double().cpu().numpy()
    slack = np.eye(num_classes)
    one_sum = np.concatenate([np.ones(number), np.zeros(num_classes)])[None]
    result = milp(
        np.concatenate([cost.double().cpu().numpy(), np.full(num_classes, weight)]),
        integrality=np.concatenate([np.ones(number), np.zeros(num_classes)]),
        bounds=Bounds(0, np.concatenate([np.ones(number), np.full(num_classes, np.inf)])),
        constraints=[
            LinearConstraint(one_sum, budget, budget),
            LinearConstraint(np.hstack([matrix.T, slack]), wanted, np.inf),  # t >= Omega - P'z
            LinearConstraint(np.hstack([matrix.T, -slack]), -np.inf, wanted),  # t >= P'z - Omega
        ],
        options={"mip_rel_gap": 0.0},
    )
    if result.status != 0:
        raise RuntimeError(f"HiGHS must end with an optimum, got status {result.status}: {result.message}")
    chosen = torch.from_numpy(np.flatnonzero(result.x[:number] > 0.5)).to(cost.device)
    if len(chosen) != budget:
        raise RuntimeError(f"HiGHS must choose {budget} images, got {len(chosen)}")
    return chosen
