"""SimSiam's heads beside the formula, written with plain operations."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from alpl.errors import ConfigError
from alpl.networks.simsiam import Predictor, Projector


def normed(values: Tensor, norm: nn.BatchNorm1d) -> Tensor:
    """Batch norm in training: mean and variance of the batch."""
    out = (values - values.mean(0)) / (values.var(0, correction=0) + norm.eps).sqrt()
    return out if norm.weight is None else out * norm.weight + norm.bias


@pytest.mark.parametrize(("num_layers", "scaled"), [(2, True), (3, False), (1, False)])
def test_projector(num_layers: int, scaled: bool) -> None:
    torch.manual_seed(0)
    head = Projector(5, width=4, num_layers=num_layers, scaled=scaled)
    values = features = torch.randn(6, 5)
    linear = [layer for layer in head.layers if isinstance(layer, nn.Linear)]
    norms = [layer for layer in head.layers if isinstance(layer, nn.BatchNorm1d)]
    assert len(linear) == len(norms) == num_layers
    assert [norm.affine for norm in norms] == [True] * (num_layers - 1) + [scaled]
    for number, (layer, norm) in enumerate(zip(linear, norms, strict=True)):
        values = normed(values @ layer.weight.T, norm)
        values = values.clamp(min=0) if number < num_layers - 1 else values
    assert torch.allclose(head(features), values, atol=1e-5)


def test_predictor() -> None:
    torch.manual_seed(0)
    head = Predictor(4, hidden=3)
    first, norm, _, last = head.layers
    z = torch.randn(6, 4)
    assert torch.allclose(head(z), F.relu(normed(z @ first.weight.T, norm)) @ last.weight.T + last.bias, atol=1e-5)


def test_refuses_what_is_no_size() -> None:
    with pytest.raises(ConfigError, match="num_layers of SimSiam's heads must be an int >= 1, got 0"):
        Projector(5, num_layers=0)
    with pytest.raises(ConfigError, match="hidden of SimSiam's heads"):
        Predictor(5, hidden=-1)
