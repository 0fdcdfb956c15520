"""The loss prediction module: what it computes, whom its gradient reaches, and that it learns an order."""

import pytest
import torch
from torch import nn

from alpl.errors import ConfigError
from alpl.losses.loss_ranking import ranking_loss
from alpl.networks.loss_prediction import LossPrediction


def _maps(number=4, seed=0):
    draws = torch.Generator().manual_seed(seed)
    return [torch.randn(number, channels, side, side, generator=draws) for channels, side in ((3, 5), (6, 2))]


@torch.no_grad()
def test_it_is_pooling_a_layer_a_map_and_a_last_layer():
    torch.manual_seed(0)
    module, maps = LossPrediction([3, 6], width=4), _maps()
    for image in range(4):
        hidden = []
        for branch, map_ in zip(module.branches, maps, strict=True):
            mean = [float(channel.mean()) for channel in map_[image]]
            for weights, bias in zip(branch.weight.tolist(), branch.bias.tolist(), strict=True):
                hidden.append(max(0.0, sum(w * x for w, x in zip(weights, mean, strict=True)) + bias))
        assert len(hidden) == 8 and any(hidden)
        expected = sum(w * x for w, x in zip(module.head.weight[0].tolist(), hidden, strict=True))
        assert module(maps)[image].item() == pytest.approx(expected + module.head.bias.item(), abs=1e-5)


def test_it_has_the_published_width():
    module = LossPrediction([512, 1024])
    assert [branch.out_features for branch in module.branches] == [128, 128] and module.head.in_features == 256


@pytest.mark.parametrize(("done", "reaches"), [(0.0, True), (0.59, True), (0.6, False), (0.9, False)])
def test_the_gradient_reaches_the_trunk_until_it_is_detached(done, reaches):
    torch.manual_seed(0)
    trunk, module = nn.Conv2d(3, 6, 1), LossPrediction([6, 6])
    maps = [trunk(torch.randn(4, 3, 4, 4)), trunk(torch.randn(4, 3, 2, 2))]
    losses = torch.tensor([1.0, 2.0, 4.0, 3.0])
    loss = module.loss(maps, losses, done)
    assert torch.equal(loss, ranking_loss(module(maps), losses))
    loss.backward()
    assert all(p.grad is not None for p in module.parameters()) and module.head.weight.grad.any()
    assert (trunk.weight.grad is not None and bool(trunk.weight.grad.any())) == reaches


def test_it_learns_to_rank_losses_that_depend_on_the_maps():
    torch.manual_seed(0)
    module = LossPrediction([3, 6], width=16)
    optimizer = torch.optim.Adam(module.parameters(), lr=0.01)

    def draw(number):
        levels = torch.rand(number) * 3
        maps = [torch.randn(number, 3, 4, 4) * 0.5, torch.randn(number, 6, 2, 2) * 0.5]
        maps[0][:, 1] += levels[:, None, None]
        return maps, levels**2  # any rising function of it has the same order

    for _ in range(200):
        optimizer.zero_grad()
        module.loss(*draw(16), 0.0).backward()
        optimizer.step()
    with torch.no_grad():
        maps, losses = draw(200)
        ranks = torch.stack([module(maps).argsort().argsort(), losses.argsort().argsort()]).double()
    assert torch.corrcoef(ranks)[0, 1] > 0.8


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"channels": []}, "channels must have one number for each map, got"),
        ({"width": 0}, "width must be >= 1"),
        ({"margin": 0.0}, "margin and weight must be > 0, got width=128, margin=0.0"),
        ({"weight": -1.0}, "weight=-1.0"),
        ({"detach_after": 1.5}, r"detach_after must be in \[0, 1\], got 1.5"),
    ],
)
def test_errors(arguments, message):
    with pytest.raises(ConfigError, match=message):
        LossPrediction(**({"channels": [3]} | arguments))
