from functools import partial

import pytest
import torch

from alpl.errors import ConfigError
from alpl.networks.classification import ClassificationNetwork
from alpl.networks.small_cnn import SmallCnn


def _network(**options):
    torch.manual_seed(0)
    return ClassificationNetwork(partial(SmallCnn, widths=(4, 8)), num_classes=5, in_channels=1, **options)


def test_logits_are_the_head_of_the_features():
    network = _network().eval()
    logits, features = network(torch.rand(3, 1, 8, 8))
    assert (logits.shape, features.shape) == ((3, 5), (3, 8))
    torch.testing.assert_close(logits, features @ network.head.weight.T + network.head.bias)


def test_dropout_changes_the_logits_and_not_the_features():
    network = _network(dropout=0.5).eval()
    network.dropout.train()
    images = torch.rand(3, 1, 8, 8)
    (first, features), (second, again) = network(images), network(images)
    assert not torch.equal(first, second) and torch.equal(features, again)
    network.dropout.eval()
    assert torch.equal(network(images)[0], network(images)[0])


def test_both_outputs_carry_gradients():
    network = _network()
    logits, features = network(torch.rand(3, 1, 8, 8))
    (logits.sum() + features.sum()).backward()
    assert all(parameter.grad is not None for parameter in network.parameters())


@pytest.mark.parametrize("dropout", [-0.1, 1.0, float("nan")])
def test_a_dropout_outside_its_range_is_an_error(dropout):
    with pytest.raises(ConfigError, match=rf"dropout must be in \[0, 1\), got {dropout}"):
        _network(dropout=dropout)
