"""Imports without the garbage collector leave it as it was."""

import gc

import pytest

from alpl.machine.imports import uncollected


@pytest.mark.parametrize("enabled", [True, False])
def test_the_collector_is_off_within_and_as_before_behind(enabled: bool) -> None:
    was = gc.isenabled()
    try:
        (gc.enable if enabled else gc.disable)()
        with pytest.raises(ImportError), uncollected():
            assert not gc.isenabled()
            raise ImportError
        assert gc.isenabled() == enabled
    finally:
        (gc.enable if was else gc.disable)()
