"""Geometry that networks, losses, data and metrics share: objects, priors, codes of boxes, matching, suppression."""

from alpl.boxes.objects import AbstractDetectionImages, AbstractDetectionSource, DetectionSplits, Objects, ObjectTable

__all__ = [
    "AbstractDetectionImages",
    "AbstractDetectionSource",
    "DetectionSplits",
    "ObjectTable",
    "Objects",
]
