"""What a detection data set is made of, under the name by which sources outside the package know it."""

from alpl.boxes.objects import AbstractDetectionImages, AbstractDetectionSource, DetectionSplits, Objects, ObjectTable

__all__ = ["AbstractDetectionImages", "AbstractDetectionSource", "DetectionSplits", "ObjectTable", "Objects"]
