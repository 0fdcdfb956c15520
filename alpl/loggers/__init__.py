"""Where metrics go beside the CSV files, which are always written and are the truth."""

from alpl.loggers.base import AbstractRunLogger

__all__ = [
    "AbstractRunLogger",
]
