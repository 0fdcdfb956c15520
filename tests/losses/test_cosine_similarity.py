"""SimSiam's loss beside what the equations say, entry by entry."""

import math

import pytest
import torch
from torch import Tensor

from alpl.losses.cosine_similarity import negative_cosine, simsiam_loss, spread


def slow(p: list[list[float]], z: list[list[float]]) -> float:
    """Thesis, Eq. 5.2, in plain Python."""
    total = 0.0
    for a, b in zip(p, z, strict=True):
        lengths = math.sqrt(sum(x * x for x in a)) * math.sqrt(sum(x * x for x in b))
        total -= sum(x * y for x, y in zip(a, b, strict=True)) / lengths
    return total / len(p)


@pytest.mark.parametrize(
    ("p", "z", "expected"),
    [([1.0, 0.0], [0.0, 1.0], 0.0), ([3.0, 4.0], [3.0, 4.0], -1.0), ([1.0, 0.0], [-2.0, 0.0], 1.0),
     ([1.0, 0.0], [1.0, 1.0], -math.sqrt(0.5)), ([0.0, 0.0], [1.0, 0.0], 0.0)],
)  # fmt: skip
def test_by_hand(p: list[float], z: list[float], expected: float) -> None:
    assert float(negative_cosine(torch.tensor([p]), torch.tensor([z]))) == pytest.approx(expected, abs=1e-6)


def test_equals_the_equations() -> None:
    p1, p2, z1, z2 = torch.randn(4, 5, 7, generator=torch.Generator().manual_seed(0)).unbind()
    expected = slow(p1.tolist(), z2.tolist()) / 2 + slow(p2.tolist(), z1.tolist()) / 2
    assert float(simsiam_loss((p1, z1), (p2, z2))) == pytest.approx(expected, abs=1e-6)


def test_gradients_pass_the_predictions_alone() -> None:
    """That of p is the derivative of the equation, by differences; z has none."""
    draws = torch.randn(4, 2, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    p1, p2, z1, z2 = (each.clone().requires_grad_() for each in draws)
    simsiam_loss((p1, z1), (p2, z2)).backward()
    assert z1.grad is None and z2.grad is None and p1.grad is not None

    def at(value: Tensor) -> float:
        return slow(value.tolist(), z2.tolist()) / 2 + slow(p2.tolist(), z1.tolist()) / 2

    for row in range(2):
        for column in range(3):
            step = torch.zeros(2, 3, dtype=torch.float64)
            step[row, column] = 1e-5
            slope = (at(p1.detach() + step) - at(p1.detach() - step)) / 2e-5
            assert float(p1.grad[row, column]) == pytest.approx(slope, abs=1e-5)


def test_short_floats_are_computed_in_float32() -> None:
    p, z = torch.randn(2, 4, 64, generator=torch.Generator().manual_seed(2)).bfloat16().unbind()
    loss = negative_cosine(p, z)
    assert loss.dtype == torch.float32
    assert float(loss) == pytest.approx(slow(p.tolist(), z.tolist()), abs=1e-6)


def test_spread_tells_a_collapse() -> None:
    same = torch.randn(1, 16, generator=torch.Generator().manual_seed(3)).expand(32, 16)
    around = torch.randn(4096, 16, generator=torch.Generator().manual_seed(4))
    assert float(spread(same * torch.rand(32, 1))) == pytest.approx(0, abs=1e-5)  # whatever the lengths
    assert float(spread(around)) == pytest.approx(1, abs=0.02)
    assert float(spread(torch.tensor([[2.0, 0.0], [-5.0, 0.0]]))) == pytest.approx(math.sqrt(2) / 2)
