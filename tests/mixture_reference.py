"""Mixture heads in loops, from Eq. 1 to 9 of Choi et al. 2021 (AL-MDN) and what is known of their released code."""

import math

from multibox_reference import match_reference

EPSILON = 1e-9


def softmax(values):
    largest = max(values)
    powers = [math.exp(value - largest) for value in values]
    return [power / sum(powers) for power in powers]


def sigmoid(value):
    return 1 / (1 + math.exp(-value))


def normal(g, mu, raw, density):
    """N(g | mu, Sigma) of Eq. 3, where Eq. 2 gives Sigma; or the released code's."""
    if density == "as_written":
        variance = sigmoid(raw)
        return math.exp(-((g - mu) ** 2) / (2 * variance)) / math.sqrt(2 * math.pi * variance)
    deviation = sigmoid(raw)
    return math.exp(-(((g - mu) / deviation) ** 2) / 2) / (math.sqrt(2 * math.pi) * (deviation + 0.3))


def nll(raw_weights, means, raw_variances, g, density):
    """One coordinate of Eq. 3; lists over k."""
    weights = softmax(raw_weights)
    parts = zip(weights, means, raw_variances, strict=True)
    return -math.log(sum(pi * normal(g, mu, raw, density) for pi, mu, raw in parts) + EPSILON)


def cross_entropy(raw_weights, logits, label):
    """Eq. 5 and 9 of one prior; logits are lists over k of lists over p."""
    weights = softmax(raw_weights)
    logs = [row[label] - math.log(sum(math.exp(value) for value in row)) for row in logits]
    return -sum(pi * log for pi, log in zip(weights, logs, strict=True))


def noisy(means, raw_variances, gamma):
    """Eq. 4."""
    rows = zip(means, raw_variances, gamma, strict=True)
    return [[mu + math.sqrt(sigmoid(raw)) * g for mu, raw, g in zip(*row, strict=True)] for row in rows]


def posterior(raw_weights, means):
    """Eq. 7, classification."""
    rows = [softmax(row) for row in means]
    return [sum(pi * row[p] for pi, row in zip(softmax(raw_weights), rows, strict=True)) for p in range(len(means[0]))]


def mean(raw_weights, means):
    """Eq. 7, localization, of one coordinate."""
    return sum(pi * mu for pi, mu in zip(softmax(raw_weights), means, strict=True))


def spread(raw_weights, means):
    """The epistemic part of Eq. 1."""
    center = mean(raw_weights, means)
    return sum(pi * (mu - center) ** 2 for pi, mu in zip(softmax(raw_weights), means, strict=True))


# --- a prior's values, in the order of the heads


def class_values(values, components, variances=True):
    """Raw weights (M), means (M, C) and raw variances (M, C) or None; one component has no weights."""
    weights = values[len(values) - components :] if components > 1 else [0.0]
    rest = values[: len(values) - components] if components > 1 else values
    size = len(rest) // (components * (2 if variances else 1))
    rows = [rest[start : start + size] for start in range(0, len(rest), size)]
    return weights, rows[:components], rows[components:] if variances else None


def box_values(values, components):
    """Raw weights, means and raw variances, each a list over the 4 coordinates of lists over k."""
    rows = [values[start : start + 4] for start in range(0, len(values), 4)]
    groups = [rows[start : start + components] for start in range(0, len(rows), components)]
    means, raw_variances, weights = groups if components > 1 else (*groups, [[0.0] * 4])
    return tuple([[row[b] for row in group] for b in range(4)] for group in (weights, means, raw_variances))


def aims(box, prior, encoding):
    """The g of Eq. 3, of a box xyxy and a prior cxcywh; the released code divides by SSD's variances."""
    (x1, y1, x2, y2), (dx, dy, dw, dh) = box, prior
    written = [((x1 + x2) / 2 - dx) / dw, ((y1 + y2) / 2 - dy) / dh, math.log((x2 - x1) / dw), math.log((y2 - y1) / dh)]
    variances = (0.1, 0.1, 0.2, 0.2) if encoding == "as_released" else (1, 1, 1, 1)
    return [value / variance for value, variance in zip(written, variances, strict=True)]


def total(classes, boxes, targets, priors, class_loss, components, density, encoding):
    """Eq. 6: over the images of a batch; ``class_loss`` of image, prior and label; hard negatives by that very loss."""
    whole, number = 0.0, 0
    for image, target in enumerate(targets):
        labels, matched = match_reference(target.boxes.tolist(), target.labels.tolist(), priors, 0.5)
        positives = [p for p, label in enumerate(labels) if label]
        for p in positives:
            whole += class_loss(classes, image, p, labels[p])
            weights, means, raw_variances = box_values(boxes[image][p], components)
            coordinates = zip(weights, means, raw_variances, aims(matched[p], priors[p], encoding), strict=True)
            whole += sum(nll(w, m, v, g, density) for w, m, v, g in coordinates) / 2
        background = [class_loss(classes, image, p, 0) for p, label in enumerate(labels) if not label]
        whole += sum(sorted(background, reverse=True)[: 3 * len(positives)])
        number += len(positives)
    return whole / number if number else 0.0
