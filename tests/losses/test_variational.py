"""Losses of VAAL against sums written out number by number."""

import math

import pytest
import torch
from torch.distributions import Normal, kl_divergence

from alpl.losses.variational import appearance_loss, vae_loss


def slow_vae_loss(images, again, mu, logvar, beta, kl):
    """Sinha et al. 2019, Eq. 1, by its numbers."""
    pairs = list(zip(images.flatten(), again.flatten(), strict=True))
    squares = sum((x - y) ** 2 for x, y in pairs) / len(pairs)
    divergence = sum(-0.5 * (1 + lv - m**2 - lv.exp()) for m, lv in zip(mu.flatten(), logvar.flatten(), strict=True))
    return squares + beta * divergence / (len(images) if kl == "mean" else 1)


def slow_appearance_loss(logits, labeled):
    probs = [1 / (1 + (-logit).exp()) for logit in logits]
    return sum(-(p if labeled else 1 - p).log() for p in probs) / len(probs)


@pytest.mark.parametrize("kl", ["sum", "mean"])
def test_the_autoencoder_s_loss_is_the_slow_sum(kl):
    torch.manual_seed(0)
    images, again, mu, logvar = torch.rand(3, 2, 2, 2), torch.rand(3, 2, 2, 2), torch.randn(3, 4), torch.randn(3, 4)
    expected = slow_vae_loss(images, again, mu, logvar, 0.7, kl)
    torch.testing.assert_close(vae_loss(images, again, mu, logvar, beta=0.7, kl=kl), expected)


def test_the_divergence_is_that_of_normal_distributions():
    torch.manual_seed(1)
    mu, logvar, images = torch.randn(5, 3), torch.randn(5, 3), torch.zeros(5, 1, 1, 1)
    closed = kl_divergence(Normal(mu, (logvar / 2).exp()), Normal(0.0, 1.0)).sum()
    torch.testing.assert_close(vae_loss(images, images, mu, logvar), closed)
    assert float(vae_loss(images, images, torch.zeros(5, 3), torch.zeros(5, 3))) == 0


def test_half_precision_is_left_where_sums_are_large():
    wide = torch.full((64, 32), 8.0, dtype=torch.bfloat16)
    images = torch.zeros(64, 1, 1, 1, dtype=torch.bfloat16)
    assert float(vae_loss(images, images, wide, torch.zeros_like(wide))) == 64 * 32 * 32


@pytest.mark.parametrize("labeled", [True, False])
def test_appearances_are_cross_entropies(labeled):
    logits = torch.tensor([0.3, -2.0, 1.5])
    torch.testing.assert_close(appearance_loss(logits, labeled=labeled), slow_appearance_loss(logits, labeled))


def test_an_appearance_beyond_doubt_has_a_finite_loss():
    assert float(appearance_loss(torch.tensor([200.0]), labeled=False)) == 200
    assert math.isclose(float(appearance_loss(torch.tensor([200.0]), labeled=True)), 0, abs_tol=1e-6)
