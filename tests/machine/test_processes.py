"""No process outlives the one that started it."""

import os
import threading

import pytest

from alpl.machine import processes
from alpl.machine.processes import end_with_parent, told_as_parent


def test_a_parent_that_went_before_it_was_looked_for_is_missed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who imports for seconds may have another parent by then."""
    ended = threading.Event()
    monkeypatch.setattr(processes.os, "_exit", lambda status: ended.set())
    with told_as_parent():
        told = os.environ[processes._PARENT]
        assert int(told) == os.getpid() != os.getppid()
        end_with_parent()
        assert ended.wait(5)
    assert processes._PARENT not in os.environ
