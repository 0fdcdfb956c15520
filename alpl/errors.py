"""The errors that a user can mend. `alpl` prints them as one line, without a traceback, and exits with 2."""

from __future__ import annotations


class ConfigError(ValueError):
    """A setting that cannot work: names the argument, what is expected, and the value received."""


class DataError(ValueError):
    """A data set that is missing or broken: names the file and what is wrong with it."""


class RunLockedError(RuntimeError):
    """Another process works in the run folder."""
