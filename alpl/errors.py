"""The errors that a user can mend. `alpl` prints them as one line, without a traceback, and exits with 2."""

from __future__ import annotations


class ConfigError(ValueError):
    """A setting that cannot work: names the argument, what is expected, and the value received."""


class DataError(ValueError):
    """A data set that is missing or broken: names the file and what is wrong with it."""


class AnswersAwaited(SystemExit):
    """A run has asked a person, and ends here until the answers are in: nothing has failed.

    Args:
        number: images that are asked about and not answered.
        place: where the tasks are.
    """

    STATUS = 3

    def __init__(self, number: int, place: str) -> None:
        super().__init__(self.STATUS)
        self.line = f"waits for {number} {'answer' if number == 1 else 'answers'}: {place}"


class RunLockedError(RuntimeError):
    """Another process works in the run folder."""
