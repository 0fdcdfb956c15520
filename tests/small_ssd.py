"""Priors and objects of a very small SSD, whose loss a loop can follow."""

import torch

from alpl.boxes.objects import Objects
from alpl.boxes.priors import PriorLayout

SIDE, NUM_CLASSES = 32, 3
LAYOUT = PriorLayout(SIDE, [8, 4, 2, 1], [4, 8, 16, 32], [6, 10, 16, 24], [10, 16, 24, 30], [[], [], [], []])


def objects_of(image):
    """Two objects, or one, or none."""
    boxes = torch.tensor([[2.0, 3, 12, 15], [10, 8, 30, 29]])[: 2 - image % 3] + image % 2
    return Objects(boxes, torch.arange(len(boxes)) + image % 2, torch.zeros(len(boxes), dtype=torch.bool))
