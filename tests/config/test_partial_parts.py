"""Parts that are made later: what they are given must not stand in the config, too."""

from functools import partial

import pytest

from alpl.config.partial_parts import complete
from alpl.errors import ConfigError


def part(size: int, depth: int = 1) -> tuple[int, int]:
    return size, depth


def test_what_the_config_says_and_what_is_given_are_joined() -> None:
    assert complete(partial(part, depth=3), "model.network", size=2) == (2, 3)
    assert complete(part, "model.network", size=2) == (2, 1)


def test_what_is_given_must_not_be_set() -> None:
    with pytest.raises(ConfigError, match=r"^model\.network\.depth must not be set: the framework sets it itself$"):
        complete(partial(part, depth=3), "model.network", size=2, depth=1)
