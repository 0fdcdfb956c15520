"""The losses of mixture heads beside Eq. 2 to 5 and 9 of AL-MDN in loops, their gradients, and extreme numbers."""

import math

import mixture_reference as reference
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from alpl.losses.mixture import EPS, gaussian_mixture_loss, log_normal, mixture_cross_entropy, noisy_logits

DENSITIES = ["as_written", "as_released"]


def drawn(seed, *shape, number=3, scale=1.5):
    generator = torch.Generator().manual_seed(seed)
    return [scale * torch.randn(*shape, generator=generator, dtype=torch.float64) for _ in range(number)]


@pytest.mark.parametrize("density", DENSITIES)
@given(st.integers(0, 10_000), st.integers(1, 5))
def test_box_loss_is_eq_3(density, seed, components):
    raw, means, variances = drawn(seed, 6, components, 4)
    (values,) = drawn(seed + 1, 6, 4, number=1, scale=4.0)
    found = gaussian_mixture_loss(raw.log_softmax(1), means, variances, values, density)
    for n in range(6):
        for b in range(4):
            columns = (each[n, :, b].tolist() for each in (raw, means, variances))
            assert found[n, b].item() == pytest.approx(reference.nll(*columns, values[n, b].item(), density), abs=1e-9)


@given(st.integers(0, 10_000), st.integers(1, 4), st.integers(2, 5))
def test_class_loss_is_eq_5(seed, components, num_outputs):
    raw, means, variances = drawn(seed, 6, components, num_outputs)
    labels = torch.randint(num_outputs, (6,), generator=torch.Generator().manual_seed(seed))
    torch.manual_seed(seed)
    logits = noisy_logits(means, variances, "as_released")
    torch.manual_seed(seed)
    gamma = torch.randn(6, components, num_outputs, dtype=torch.float64)
    found = mixture_cross_entropy(raw[:, :, 0].log_softmax(1), logits, labels)
    exact = mixture_cross_entropy(raw[:, :, 0].log_softmax(1), means, labels)  # Eq. 9
    for n in range(6):
        weights, mu = raw[n, :, 0].tolist(), means[n].tolist()
        noisy = reference.noisy(mu, variances[n].tolist(), gamma[n].tolist())
        assert found[n].item() == pytest.approx(reference.cross_entropy(weights, noisy, labels[n].item()))
        assert exact[n].item() == pytest.approx(reference.cross_entropy(weights, mu, labels[n].item()))


def test_noise_is_shared_by_the_components_as_written_and_their_own_as_released():
    means, raw = torch.zeros(2000, 3, 4), torch.full((2000, 3, 4), math.log(0.25 / 0.75))  # variance .25, deviation .5
    shared, own = noisy_logits(means, raw), noisy_logits(means, raw, "as_released")
    assert torch.equal(shared[:, 0], shared[:, 1]) and torch.equal(shared[:, 0], shared[:, 2])
    assert not torch.equal(own[:, 0], own[:, 1])
    for drawn_logits in (shared, own):
        assert drawn_logits.std().item() == pytest.approx(0.5, rel=0.03)
        assert not torch.equal(drawn_logits[..., 0], drawn_logits[..., 1])


@pytest.mark.parametrize("noise", ["as_written", "as_released"])
def test_noise_only_adds_to_the_mean_class_loss(noise):
    """The cross-entropy is convex in the logits: of Eq. 4 and 5 no variance above 0 is the best, of whatever label."""
    (means,) = drawn(3, 1, 2, 4, number=1)
    weights = torch.tensor([[0.3, 0.7]], dtype=torch.float64).log()
    for label in range(4):
        losses = []
        for raw in (-30.0, -3.0, 0.0, 3.0):
            torch.manual_seed(5)
            logits = noisy_logits(means.expand(20_000, 2, 4), torch.full_like(means, raw).expand(20_000, 2, 4), noise)
            losses.append(mixture_cross_entropy(weights, logits, torch.tensor(label).expand(20_000)).mean().item())
        exact = mixture_cross_entropy(weights, means, torch.tensor([label])).item()
        assert losses[0] == pytest.approx(exact, abs=1e-5)
        assert losses == sorted(losses) and losses[1] > exact + 0.01


def test_by_hand():
    """Variance 1/2 at distance 1: exp(-1) / sqrt(pi); as released deviation 1/2, so exp(-2) / (sqrt(2 pi) .8)."""
    zero, one = torch.zeros(1), torch.ones(1)
    assert log_normal(one, zero, zero).exp().item() == pytest.approx(math.exp(-1) / math.sqrt(math.pi))
    released = math.exp(-2) / (math.sqrt(2 * math.pi) * 0.8)
    assert log_normal(one, zero, zero, "as_released").exp().item() == pytest.approx(released)
    far = gaussian_mixture_loss(torch.zeros(1, 1), torch.zeros(1, 1), torch.zeros(1, 1), torch.tensor([100.0]))
    assert far.item() == pytest.approx(-math.log(EPS)) == pytest.approx(20.723, abs=1e-3)


def test_as_written_is_a_density_and_as_released_is_not():
    grid = torch.linspace(-30, 30, 60_001, dtype=torch.float64)
    raw = torch.full_like(grid, 0.7)
    areas = [log_normal(grid, torch.zeros_like(grid), raw, density).exp().sum().item() / 1000 for density in DENSITIES]
    deviation = reference.sigmoid(0.7)
    assert areas == pytest.approx([1.0, deviation / (deviation + 0.3)], rel=1e-6)


@pytest.mark.parametrize("density", DENSITIES)
def test_box_gradients_are_right(density):
    raw, means, variances = (each.requires_grad_() for each in drawn(0, 3, 4, 2))
    (values,) = drawn(5, 3, 2, number=1)

    def loss(raw, means, variances):
        return gaussian_mixture_loss(raw.log_softmax(1), means, variances, values, density)

    assert torch.autograd.gradcheck(loss, (raw, means, variances))


def test_class_gradients_are_right():
    raw, means, variances = (each.requires_grad_() for each in drawn(1, 3, 4, 3))
    labels = torch.tensor([0, 2, 1])

    def loss(raw, means, variances):
        torch.manual_seed(0)
        return mixture_cross_entropy(raw[:, :, 0].log_softmax(1), noisy_logits(means, variances), labels)

    assert torch.autograd.gradcheck(loss, (raw, means, variances))


EXTREMES = [0.0, 1.0, -1.0, 40.0, -40.0, 88.0, -88.0, 1e4, -1e4, 3e4, -3e4]


@pytest.mark.parametrize("density", DENSITIES)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32, torch.float64])
def test_box_loss_of_extreme_numbers_is_finite(dtype, density):
    """Every combination of weight, mean, variance and target, with gradients; in bfloat16 itself, too."""
    grid = torch.cartesian_prod(*[torch.tensor(EXTREMES, dtype=dtype)] * 4)
    raw, means, variances = (grid[:, [n]].repeat(1, 2)[..., None].clone().requires_grad_() for n in range(3))
    with torch.no_grad():  # the second component differs
        raw[:, 1] = 0.0
        means[:, 1] = -means[:, 0]
    loss = gaussian_mixture_loss(raw.log_softmax(1), means, variances, grid[:, [3]], density)
    assert loss.isfinite().all()
    loss.sum().backward()
    assert all(each.grad.isfinite().all() for each in (raw, means, variances))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32, torch.float64])
def test_class_loss_of_extreme_numbers_is_finite(dtype):
    grid = torch.cartesian_prod(*[torch.tensor(EXTREMES, dtype=dtype)] * 3)
    raw = torch.stack([grid[:, 0], torch.zeros_like(grid[:, 0])], 1).requires_grad_()
    means = torch.stack([grid[:, 1:2] * torch.tensor([1, -1, 0]), grid[:, 1:2] * torch.tensor([0, 1, 0])], 1)
    means = means.to(dtype).requires_grad_()
    variances = grid[:, 2].view(-1, 1, 1).expand(-1, 2, 3).clone().requires_grad_()
    labels = torch.arange(len(grid)) % 3
    loss = mixture_cross_entropy(raw.log_softmax(1), noisy_logits(means, variances), labels)
    assert loss.isfinite().all()
    loss.sum().backward()
    assert all(each.grad.isfinite().all() for each in (raw, means, variances))
