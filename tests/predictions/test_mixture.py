"""What a mixture says, beside Eq. 1, 7 and 8 of AL-MDN in loops."""

import mixture_reference as reference
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from alpl.predictions.mixture import aleatoric, epistemic, mixture_log_posterior, mixture_mean, posterior_aleatoric

SEEDS = st.integers(0, 10_000)


def drawn(seed, components, width, scale=2.0):
    """Raw weights and values, ``Float64[5 M width]``."""
    generator = torch.Generator().manual_seed(seed)
    return [scale * torch.randn(5, components, width, generator=generator, dtype=torch.float64) for _ in range(2)]


@given(SEEDS, st.integers(1, 5))
def test_mean_and_uncertainties_are_eq_1_and_7(seed, components):
    raw, means = drawn(seed, components, 4)
    weights = raw.softmax(1)
    variances = torch.rand_like(means)
    given_mean, given_al, given_ep = (
        mixture_mean(weights, means),
        aleatoric(weights, variances),
        epistemic(weights, means),
    )
    for n in range(5):
        for b in range(4):
            raw_of, means_of = raw[n, :, b].tolist(), means[n, :, b].tolist()
            assert given_mean[n, b].item() == pytest.approx(reference.mean(raw_of, means_of), abs=1e-12)
            assert given_ep[n, b].item() == pytest.approx(reference.spread(raw_of, means_of), abs=1e-12)
            assert given_al[n, b].item() == pytest.approx(
                reference.mean(raw_of, variances[n, :, b].tolist()), abs=1e-12
            )


@given(SEEDS, st.integers(1, 5), st.integers(2, 6))
def test_posterior_is_eq_7(seed, components, num_outputs):
    raw, means = drawn(seed, components, num_outputs, scale=5.0)
    found = mixture_log_posterior(raw[:, :, 0].log_softmax(1), means).exp()
    for n in range(5):
        assert found[n].tolist() == pytest.approx(reference.posterior(raw[n, :, 0].tolist(), means[n].tolist()))
    torch.testing.assert_close(found.sum(-1), torch.ones(5, dtype=torch.float64))


@given(SEEDS, st.integers(1, 4), st.integers(2, 5))
def test_aleatoric_of_posteriors_is_the_diagonal_of_eq_8(seed, components, num_outputs):
    raw, means = drawn(seed, components, num_outputs)
    weights, probs = raw[:, :, 0].softmax(1), means.softmax(-1)
    found = posterior_aleatoric(weights[..., None], probs)
    for n in range(5):
        matrix = sum(w * (torch.diag(c) - torch.outer(c, c)) for w, c in zip(weights[n], probs[n], strict=True))
        torch.testing.assert_close(found[n], matrix.diagonal())


def test_both_parts_of_a_posterior_add_up_to_its_variance():
    """Of probabilities p: sum pi p (1 - p) + sum pi (p - mean)^2 = mean (1 - mean), whatever the mixture."""
    raw, means = drawn(3, 4, 6)
    weights, probs = raw[:, :, :1].softmax(1), means.softmax(-1)
    center = mixture_mean(weights, probs)
    both = posterior_aleatoric(weights, probs) + epistemic(weights, probs)
    torch.testing.assert_close(both, center * (1 - center))


def test_by_hand():
    weights, means = torch.tensor([[0.25], [0.75]]), torch.tensor([[4.0, 1.0], [0.0, 1.0]])
    assert mixture_mean(weights, means).tolist() == [1.0, 1.0]
    assert epistemic(weights, means).tolist() == [0.25 * 9 + 0.75 * 1, 0.0]
    assert aleatoric(weights, torch.tensor([[1.0, 0.0], [0.2, 0.4]])).tolist() == pytest.approx([0.4, 0.3])


def test_one_component_has_no_epistemic_uncertainty():
    _, means = drawn(0, 1, 4)
    assert not epistemic(torch.ones(5, 1, 1, dtype=torch.float64), means).any()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_extreme_values_stay_finite(dtype):
    logits = torch.tensor([[1e4, -1e4, 0.0], [-1e4, 1e4, 0.0], [0.0, 0.0, 0.0]], dtype=dtype)[None]
    weights = torch.tensor([[1e4, -1e4, 0.0]], dtype=dtype).log_softmax(-1)
    found = mixture_log_posterior(weights, logits)
    assert found.isfinite().all() and found.exp()[0].tolist() == [1.0, 0.0, 0.0]


def test_nothing_in_gives_nothing():
    assert mixture_log_posterior(torch.zeros(0, 4), torch.zeros(0, 4, 3)).shape == (0, 3)
    assert epistemic(torch.zeros(0, 4, 1), torch.zeros(0, 4, 3)).shape == (0, 3)
