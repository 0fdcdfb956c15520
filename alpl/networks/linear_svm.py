"""Linear support vector machines, one class against the rest (thesis sec. 5.4, "SVM Min Margin")."""

from __future__ import annotations

import logging
import warnings
from typing import Any, Literal, TypeAlias, get_args

import numpy as np
import torch
from sklearn.exceptions import ConvergenceWarning
from sklearn.svm import SVC, LinearSVC
from torch import Tensor

from alpl.errors import ConfigError

log = logging.getLogger("alpl")

Solver: TypeAlias = Literal["linear_svc", "svc"]


def one_vs_rest(
    features: Tensor, targets: Tensor, num_classes: int, *, regularization: float, solver: Solver, max_iter: int = 10000
) -> tuple[Tensor, Tensor]:
    r"""Fit a machine for each class that tells it from all others.

    "svc" minimizes :math:`\frac12 \|w\|^2 + C \sum_i \max(0, 1 - y_i (w^T x_i + b))`, "linear_svc" the square of the
    hinge, with :math:`b^2 / 2` beside the :math:`\|w\|^2`: it takes minutes where the other takes hours.

    Args:
        features: ``Float[n F]``, n >= 1.
        targets: ``Long[n]``.
        num_classes: K.
        regularization: C > 0.
        solver: of scikit-learn.
        max_iter: of "linear_svc".

    Returns:
        ``Float[K F]`` w and ``Float[K]`` b of each class. A class of which nothing is labeled has the machine that says
        -1 of every image, one that has all of them that says 1.
    """
    values = features.double().cpu().numpy()
    classes = targets.cpu().numpy()
    weight, bias = np.zeros((num_classes, values.shape[1])), np.full(num_classes, -1.0)
    slow = []
    for number in np.unique(classes).tolist():
        is_class = classes == number
        if is_class.all():
            bias[number] = 1.0
            continue
        machine = _machine(regularization, solver, max_iter)
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always", ConvergenceWarning)
            machine.fit(values, is_class)
        weight[number], bias[number] = machine.coef_[0], float(machine.intercept_[0])
        if any(issubclass(each.category, ConvergenceWarning) for each in told):
            slow.append(number)
    if slow:
        log.warning("the SVMs of %d classes did not converge in %d iterations: %s", len(slow), max_iter, slow[:10])
    return torch.from_numpy(weight).float(), torch.from_numpy(bias).float()


def check_svm(regularization: Any, solver: Any) -> None:
    """Refuse what no machine can be fitted with.

    Raises:
        ConfigError: it is so.
    """
    if isinstance(regularization, bool) or not isinstance(regularization, (int, float)) or regularization <= 0:
        raise ConfigError(f"callbacks.svm.regularization must be a number > 0, got {regularization!r}")
    if solver not in get_args(Solver):
        raise ConfigError(f"callbacks.svm.solver must be one of {', '.join(get_args(Solver))}, got {solver!r}")


def _machine(regularization: float, solver: Solver, max_iter: int) -> Any:
    if solver == "svc":
        return SVC(kernel="linear", C=regularization)
    return LinearSVC(C=regularization, dual="auto", max_iter=max_iter, random_state=0)
