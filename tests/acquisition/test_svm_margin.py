"""SVM min margin beside its two readings, image by image."""

from types import SimpleNamespace

import pytest
import torch

from alpl.acquisition import SvmMargin
from alpl.errors import ConfigError
from alpl.predictions import Need

VALUES = [[2.0, -0.1, -3.0], [0.6, 0.5, -0.9], [1.0, -1.0, 1.0], [-1.0, -2.0, -1.5], [0.0, 5.0, -5.0]]


@pytest.mark.parametrize(
    ("of", "expected"),
    [("closest", [-0.1, -0.5, -1.0, -1.0, 0.0]), ("top_two", [-2.1, -0.1, 0.0, -0.5, -5.0])],
)
def test_by_hand(of, expected: list[float]) -> None:
    context = SimpleNamespace(predictions=SimpleNamespace(logits=torch.tensor(VALUES)))
    assert SvmMargin(of).utility(context).tolist() == pytest.approx(expected)
    assert SvmMargin().needs is Need.LOGITS


def test_no_image() -> None:
    context = SimpleNamespace(predictions=SimpleNamespace(logits=torch.zeros(0, 3)))
    assert SvmMargin().utility(context).shape == SvmMargin("top_two").utility(context).shape == (0,)


def test_refuses_another_reading() -> None:
    with pytest.raises(ConfigError, match=r"acquisition\.of must be one of closest, top_two, got 'widest'"):
        SvmMargin("widest")
