"""What data is labeled for, and what a module learns."""

from __future__ import annotations

from enum import Enum


class Task(str, Enum):
    """The tasks of the framework; data and module say theirs, and must agree."""

    CLASSIFICATION = "classification"
    """One class an image."""
    DETECTION = "detection"
    """Objects on an image: a box and a class each."""
