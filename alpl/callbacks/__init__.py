"""Callbacks of a fit: those that record something for an acquisition, and those that make a fit resumable."""

from alpl.callbacks.base import AbstractProvider

__all__ = [
    "AbstractProvider",
]
