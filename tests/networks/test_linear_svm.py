"""Support vector machines beside what their optimum must be."""

import pytest
import torch

from alpl.errors import ConfigError
from alpl.networks.linear_svm import check_svm, one_vs_rest


def test_by_hand() -> None:
    """Two images at -1 and 1: the machine of the widest margin is w = 1, b = 0, as C = 5 lets no image within it."""
    features, targets = torch.tensor([[-1.0], [1.0]]), torch.tensor([0, 1])
    weight, bias = one_vs_rest(features, targets, 2, regularization=5.0, solver="svc")
    assert weight.flatten().tolist() == pytest.approx([-1, 1], abs=1e-4) and bias.tolist() == pytest.approx(
        [0, 0], abs=1e-4
    )


def test_a_small_c_lets_images_within_the_margin() -> None:
    """C = 0.1 < 1/2: both images are within, w = C (x_1 + x_2) = 0.2 by the conditions of the optimum."""
    features, targets = torch.tensor([[-1.0], [1.0]]), torch.tensor([0, 1])
    weight, _ = one_vs_rest(features, targets, 2, regularization=0.1, solver="svc")
    assert weight.flatten().tolist() == pytest.approx([-0.2, 0.2], abs=1e-4)


def test_the_squared_hinge_is_at_its_optimum() -> None:
    """The gradient of |w|^2 / 2 + b^2 / 2 + C sum max(0, 1 - y f)^2 is zero for each class, against the rest."""
    draw = torch.Generator().manual_seed(0)
    features, targets = torch.randn(60, 4, generator=draw), torch.randint(3, (60,), generator=draw)
    features[torch.arange(60), targets] += 1
    weight, bias = one_vs_rest(features, targets, 3, regularization=5.0, solver="linear_svc")
    for number in range(3):
        w, b = weight[number].double().requires_grad_(), bias[number].double().requires_grad_()
        sign = (targets == number).double() * 2 - 1
        hinge = (1 - sign * (features.double() @ w + b)).clamp(min=0)
        (w @ w / 2 + b * b / 2 + 5 * (hinge**2).sum()).backward()
        assert w.grad is not None and b.grad is not None
        assert float(w.grad.abs().max()) < 0.05 and float(b.grad.abs()) < 0.05  # of terms that sum to hundreds


@pytest.mark.parametrize("solver", ["svc", "linear_svc"])
def test_classes_without_images(solver) -> None:
    features = torch.tensor([[0.0, 1.0], [0.0, 2.0]])
    weight, bias = one_vs_rest(features, torch.tensor([1, 1]), 3, regularization=5.0, solver=solver)
    assert weight.abs().sum() == 0 and bias.tolist() == [-1, 1, -1]


def test_what_does_not_converge_is_told(caplog: pytest.LogCaptureFixture) -> None:
    draw = torch.Generator().manual_seed(0)
    features, targets = torch.randn(40, 80, generator=draw) * 50, torch.randint(2, (40,), generator=draw)
    with caplog.at_level("WARNING", logger="alpl"):
        one_vs_rest(features, targets, 2, regularization=5.0, solver="linear_svc", max_iter=1)
    assert "the SVMs of 2 classes did not converge in 1 iterations: [0, 1]" in caplog.text


def test_refuses() -> None:
    with pytest.raises(ConfigError, match="regularization must be a number > 0, got 0"):
        check_svm(0, "svc")
    with pytest.raises(ConfigError, match="solver must be one of linear_svc, svc, got 'libsvm'"):
        check_svm(1, "libsvm")
