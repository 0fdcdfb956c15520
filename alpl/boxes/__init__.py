"""What networks, losses, data and metrics share: objects, videos, priors, codes of boxes, matching, suppression."""

from alpl.boxes.footage import Footage
from alpl.boxes.objects import AbstractDetectionImages, AbstractDetectionSource, DetectionSplits, Objects, ObjectTable

__all__ = [
    "AbstractDetectionImages",
    "AbstractDetectionSource",
    "DetectionSplits",
    "Footage",
    "ObjectTable",
    "Objects",
]
