import re

import pytest
import torch

import alpl
from alpl.acquisition import Glister
from alpl.errors import ConfigError
from alpl.selection import glister


def reference(features, weight, bias, seen, labels, budget, eta):
    """Killamsetty et al. 2021, with a real last layer, real steps and gradients by autograd."""
    layer = torch.nn.Linear(*weight.T.shape).double()
    loss = torch.nn.CrossEntropyLoss()

    def gradient(weights, rows, answers):
        with torch.no_grad():
            layer.weight.copy_(weights[0])
            layer.bias.copy_(weights[1])
        layer.zero_grad()
        loss(layer(rows), answers).backward()
        return layer.weight.grad.clone(), layer.bias.grad.clone()

    start = now = (weight, bias)
    own = [gradient(start, row[None], (row @ weight.T + bias).argmax()[None]) for row in features]
    picks = []
    for _ in range(budget):
        w, b = gradient(now, seen, labels)
        gains = [float((w * own_w).sum() + (b * own_b).sum()) for own_w, own_b in own]
        pick = max((i for i in range(len(own)) if i not in picks), key=lambda i: gains[i])
        picks.append(pick)
        now = (now[0] - eta * own[pick][0], now[1] - eta * own[pick][1])
    return picks


def _made(seed):
    random = torch.Generator().manual_seed(seed)
    draw = {name: torch.randn(*shape, generator=random, dtype=torch.float64) for name, shape in SHAPES.items()}
    return draw, torch.randint(3, (7,), generator=random)


SHAPES = {"features": (15, 4), "seen": (7, 4), "weight": (3, 4), "bias": (3,)}


@pytest.mark.parametrize(("eta", "budget"), [(0.05, 6), (1.0, 15), (5.0, 8)])
def test_the_picks_are_those_of_real_steps_of_a_last_layer(eta, budget):
    made, labels = _made(budget)
    probs, seen_probs = ((made[name] @ made["weight"].T + made["bias"]).softmax(1) for name in ("features", "seen"))
    picks, _ = glister(made["features"], probs, made["seen"], seen_probs, labels, budget, eta=eta)
    assert picks.tolist() == reference(*(made[n] for n in ("features", "weight", "bias", "seen")), labels, budget, eta)


def test_by_hand():
    # the validation image is taken for class 0 and is of class 1: what pulls towards 1 where it lies helps
    probs = torch.tensor([[0.6, 0.4], [0.4, 0.6], [0.4, 0.6]])
    features = torch.tensor([[1.0], [0.5], [1.0]])
    picks, values = glister(
        features, probs, torch.tensor([[1.0]]), torch.tensor([[0.8, 0.2]]), torch.tensor([1]), 3, eta=0.01
    )
    assert picks.tolist() == [2, 1, 0]
    assert float(values[0]) == pytest.approx(0.4 * 0.8 * 2 + 0.4 * 0.8 * 2)  # two classes, feature and bias


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"budget": 4}, "budget must be in [0, 3] candidates, got 4"),
        ({"probs": torch.ones(2, 2)}, "features and probs must be [n F] and [n C], got [3, 2] and [2, 2]"),
        ({"validation_probs": torch.ones(1, 3)}, "validation_probs must have 2 classes, got 3"),
        ({"validation_labels": torch.tensor([2])}, "validation_labels must lie in [0, 2), got 2 to 2"),
        ({"validation_labels": torch.tensor([0, 1])}, "validation_labels must be Long[L], one for each of L >= 1"),
        ({"eta": 0.0}, "eta must be finite and > 0, got 0.0"),
    ],
)
def test_what_cannot_be_is_refused(change, message):
    half = torch.full((3, 2), 0.5)
    given = {"features": torch.rand(3, 2), "probs": half, "validation_features": torch.rand(1, 2), "budget": 1}
    given |= {"validation_probs": half[:1], "validation_labels": torch.tensor([1])} | change
    with pytest.raises(ValueError, match=re.escape(message)):
        glister(**given)


def test_the_acquisition_takes_the_labels_of_the_labeled_images():
    random = torch.Generator().manual_seed(0)
    features, probs = torch.randn(20, 4, generator=random), torch.randn(20, 3, generator=random).softmax(1)
    labeled, labels = [9, 2, 5], [0, 1, 2]
    free = [row for row in range(20) if row not in labeled]
    query = alpl.select("glister", 5, features=features, posterior=probs, labeled=labeled, labels=labels)
    picks, _ = glister(features[free], probs[free], features[labeled], probs[labeled], torch.tensor(labels), 5)
    assert query.index.tolist() == [free[place] for place in picks.tolist()]
    with pytest.raises(ValueError, match=re.escape("Glister needs labels [L], which is not given")):
        alpl.select("glister", 5, features=features, posterior=probs, labeled=labeled)
    with pytest.raises(ValueError, match="validation_labels must be Long"):
        alpl.select("glister", 5, features=features, posterior=probs, labels=[])
    with pytest.raises(ValueError, match="must be a softmax over classes for GLISTER, got sigmoid"):
        alpl.select("glister", 5, features=features, posterior=probs, labeled=labeled, labels=labels, form="sigmoid")
    with pytest.raises(ConfigError, match=r"acquisition\.eta must be finite and > 0, got 0"):
        Glister(0)
