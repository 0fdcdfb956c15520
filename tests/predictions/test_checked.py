"""What is no posterior is refused by all that measures one, in one line."""

import re

import pytest
import torch

from alpl.acquisition.detection_uncertainty import normalized_entropy
from alpl.acquisition.flip_inconsistency import inconsistency
from alpl.predictions import Form, Posterior, uncertainty

MEASURES = [uncertainty.entropy, uncertainty.margin, uncertainty.least_confidence, normalized_entropy]
BAD = {
    "sum": ([[0.5, 0.6], [0.2, 0.2]], "posterior must sum to 1 over 2 outputs, got a sum of 0.4"),
    "negative": ([[1.5, -0.5]], "posterior must hold probabilities in [0, 1], got -0.5"),
    "nan": ([[float("nan"), 0.5]], "posterior must hold probabilities in [0, 1], got nan"),
    "logits": ([[3.0, 1.0]], "posterior must hold probabilities in [0, 1], got 3.0"),
    "no axis of instances": ([0.5, 0.5], "posterior must be Float[... I C], got torch.float32 [2]"),
    "no outputs": ([[], []], "posterior must be Float[... I C], got torch.float32 [2, 0]"),
    "whole numbers": ([[1, 0]], "posterior must be Float[... I C], got torch.int64 [1, 2]"),
}


@pytest.mark.parametrize("measure", MEASURES)
@pytest.mark.parametrize("name", BAD)
def test_no_posterior_is_refused_by_what_measures_one(measure, name) -> None:
    values, message = BAD[name]
    with pytest.raises(ValueError, match=re.escape(message)):
        measure(Posterior(torch.tensor(values)))


@pytest.mark.parametrize("measure", [uncertainty.mutual_information, inconsistency])
@pytest.mark.parametrize("name", ["sum", "negative", "nan"])
def test_views_are_held_to_the_same(measure, name) -> None:
    values, message = BAD[name]
    with pytest.raises(ValueError, match=re.escape(message)):
        measure(Posterior(torch.tensor([values, values])))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_rounding_is_no_fault(dtype: torch.dtype) -> None:
    draw = torch.Generator().manual_seed(0)
    probs = torch.randn(50, 1000, generator=draw, dtype=torch.float64).softmax(-1).to(dtype)
    for form in (Form.SOFTMAX, Form.BACKGROUND, Form.SIGMOID):
        assert Posterior(probs, form).checked().form is form
    assert Posterior(probs.float()).checked().probs.shape == (50, 1000), "half precision that was widened since"


def test_independent_outputs_need_no_sum_and_no_instance_is_no_fault() -> None:
    assert uncertainty.margin(Posterior(torch.tensor([[0.9, 0.8, 0.1]]), Form.SIGMOID)).shape == (1,)
    assert uncertainty.entropy(Posterior(torch.zeros(0, 3))).shape == (0,)
