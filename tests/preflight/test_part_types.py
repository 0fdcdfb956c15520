"""Arguments that must be parts, told by the annotations of who takes them."""

from collections.abc import Callable
from typing import Any

import pytest
from torch import Tensor, nn

from alpl.acquisition.base import AbstractAcquisition
from alpl.errors import ConfigError
from alpl.preflight.part_types import check_parts

KIND = "a part of the kind alpl.acquisition.base.AbstractAcquisition"


def whole(
    inner: AbstractAcquisition,
    maybe: "AbstractAcquisition | None" = None,
    either: "AbstractAcquisition | str" = "",
    maker: Callable[..., nn.Module] = nn.Identity,
    function: Callable[[Tensor], Tensor] = nn.Identity(),  # noqa: B008
    number: int = 0,
    unreadable: "NowhereDefined" = None,  # noqa: F821  # type: ignore[name-defined]
    unsaid=None,
) -> None: ...


ENTROPY = {"_target_": "alpl.acquisition.Entropy"}
GOOD: list[dict[str, Any]] = [
    {"inner": ENTROPY, "maybe": ENTROPY},
    {"maybe": None},
    {"either": "some text"},
    {"maker": {"_target_": "torch.nn.Linear", "_partial_": True}},
    {"maker": {"_target_": "torchvision.models.resnet18", "_partial_": True}},  # a function may make anything
    {"function": {"_target_": "torch.nn.Linear"}},  # an object that is called, not a maker of tensors
    {"number": 3, "unreadable": 3, "unsaid": 3, "unknown": 3},
]
BAD: list[tuple[dict[str, Any], str]] = [
    ({"inner": 3}, rf"place.inner must be {KIND}, named by place.inner._target_, got 3; .* place.inner.NAME=VALUE"),
    ({"inner": {"size": 3}}, "place.inner must be .*got {'size': 3}"),
    ({"maybe": "entropy"}, "place.maybe must be .* got 'entropy'"),
    ({"inner": {"_target_": "torch.nn.Identity"}}, f"place.inner must be {KIND}, got torch.nn.Identity"),
    ({"maker": "resnet18"}, "place.maker must be .*Module, named by"),
    (
        {"maker": {"_target_": "torch.optim.SGD", "_partial_": True}},
        "place.maker must be .*Module, got torch.optim",
    ),
    ({"function": 3}, "place.function must be a part"),
]


@pytest.mark.parametrize("node", GOOD)
def test_parts_and_plain_values_in_their_places(node: dict[str, Any]) -> None:
    check_parts("place", node, whole)


@pytest.mark.parametrize("node, message", BAD)
def test_a_value_in_the_place_of_a_part(node: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        check_parts("place", node, whole)
