"""The MultiBox loss in loops, from Liu et al. 2016, sec. 2.2, and Elezi et al., Eq. 8."""

import math
from typing import NamedTuple

import torch

from alpl.losses.multibox import Kind


class Unit(NamedTuple):
    boxes: torch.Tensor
    labels: torch.Tensor


NOTHING = Unit(torch.zeros(0, 4), torch.zeros(0, dtype=torch.long))


def corners(prior):
    cx, cy, w, h = prior
    return cx - w / 2, cy - h / 2, cx + w / 2, cy + h / 2


def iou(a, b):
    width = max(0.0, min(a[2], b[2]) - max(a[0], b[0]))
    height = max(0.0, min(a[3], b[3]) - max(a[1], b[1]))
    both = width * height
    return both / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - both)


def match_reference(boxes, labels, priors, thresh):
    overlaps = [[iou(box, corners(prior)) for prior in priors] for box in boxes]
    targets, matched = [], []
    for p, prior in enumerate(priors):
        column = [row[p] for row in overlaps]
        best = max(range(len(boxes)), key=lambda n: column[n], default=None)  # max gives the first
        targets.append(labels[best] + 1 if best is not None and column[best] >= thresh else 0)
        matched.append(boxes[best] if best is not None else corners(prior))
    for n, row in enumerate(overlaps):
        best = max(range(len(priors)), key=lambda p: row[p])
        targets[best], matched[best] = labels[n] + 1, boxes[n]
    return targets, matched


def smooth_l1(x):
    return 0.5 * x * x if abs(x) < 1 else abs(x) - 0.5


def loss_reference(logits, deltas, targets, priors, kinds):
    """Both terms of the batch, N, and the sum of both terms of each image over its own positives."""
    confidences, localizations, numbers = [], [], []
    for image, (outputs, offsets, target, kind) in enumerate(zip(logits, deltas, targets, kinds, strict=True)):
        assert len(outputs) == len(priors), image
        confidence = localization = 0.0
        if kind == Kind.UNLABELED:
            target = NOTHING
        labels, boxes = match_reference(target.boxes.tolist(), target.labels.tolist(), priors, 0.5)
        logs = [[value - math.log(sum(math.exp(other) for other in row)) for value in row] for row in outputs]
        positives = [p for p, label in enumerate(labels) if label]
        for p in positives:
            confidence -= logs[p][labels[p]]
            (x1, y1, x2, y2), (dx, dy, dw, dh) = boxes[p], priors[p]
            wanted = [
                ((x1 + x2) / 2 - dx) / dw / 0.1,
                ((y1 + y2) / 2 - dy) / dh / 0.1,
                math.log((x2 - x1) / dw) / 0.2,
                math.log((y2 - y1) / dh) / 0.2,
            ]
            localization += sum(smooth_l1(a - b) for a, b in zip(offsets[p], wanted, strict=True))
        if kind == Kind.LABELED:
            background = sorted((-logs[p][0] for p, label in enumerate(labels) if not label), reverse=True)
            confidence += sum(background[: 3 * len(positives)])
        confidences.append(confidence)
        localizations.append(localization)
        numbers.append(len(positives))
    total = sum(numbers)
    each = [(c + x) / max(n, 1) for c, x, n in zip(confidences, localizations, numbers, strict=True)]
    return sum(confidences) / max(total, 1), sum(localizations) / max(total, 1), total, each
