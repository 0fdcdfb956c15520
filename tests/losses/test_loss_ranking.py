import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from alpl.losses.loss_ranking import ranking_loss


def _reference(predicted, losses, margin):
    """Yoo and Kweon 2019, Eq. 2 and 3, pair by pair."""
    terms = []
    for i in range(0, len(predicted) - 1, 2):
        sign = 1 if losses[i] > losses[i + 1] else -1
        terms.append(max(0.0, -sign * (predicted[i] - predicted[i + 1]) + margin))
    return sum(terms) / len(terms) if terms else 0.0


NUMBERS = st.floats(-4, 4, width=32)


@given(st.lists(st.tuples(NUMBERS, st.sampled_from([0.0, 0.5, 2.0])), max_size=9), st.sampled_from([0.5, 1.0]))
def test_it_is_the_mean_over_the_pairs(images, margin):
    predicted, losses = [list(values) for values in zip(*images, strict=True)] or [[], []]
    found = ranking_loss(torch.tensor(predicted), torch.tensor(losses), margin)
    assert found.item() == pytest.approx(_reference(predicted, losses, margin), rel=1e-5, abs=1e-6)


def test_by_hand():
    predicted = torch.tensor([2.0, 0.0, 0.0, 0.25, 9.0], requires_grad=True)
    losses = torch.tensor([1.0, 0.5, 3.0, 1.0, 7.0], requires_grad=True)
    loss = ranking_loss(predicted, losses)  # the first pair is right by more than the margin, the second is wrong
    loss.backward()
    assert loss.item() == 1.25 / 2 and losses.grad is None
    assert predicted.grad.tolist() == [0, 0, -0.5, 0.5, 0]


def test_without_pairs_it_is_zero_with_a_gradient():
    for number in (0, 1):
        predicted = torch.ones(number, requires_grad=True)
        ranking_loss(predicted, torch.ones(number)).backward()
        assert predicted.grad is not None and not predicted.grad.any()


def test_errors():
    with pytest.raises(ValueError, match=r"Float\[B\] each, got shapes \[2, 1\] and \[2\]"):
        ranking_loss(torch.zeros(2, 1), torch.zeros(2))
    with pytest.raises(ValueError, match="margin must be > 0, got 0"):
        ranking_loss(torch.zeros(2), torch.zeros(2), margin=0)
