"""Geometry that networks, losses, data and metrics share: objects, priors, codes of boxes, matching, suppression."""
