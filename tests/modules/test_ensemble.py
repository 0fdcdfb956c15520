from functools import partial

import pytest
import torch

from alpl.data.batch import Batch
from alpl.modules.classifier import Classifier
from alpl.modules.ensemble import ClassifierEnsemble
from alpl.networks.classification import ClassificationNetwork
from alpl.networks.small_cnn import SmallCnn
from alpl.predictions import Form, Need

EVERYTHING = Need.POSTERIOR | Need.IMAGE_FEATURES | Need.VIEWS


def _member(seed, dropout=0.0):
    torch.manual_seed(seed)
    network = partial(ClassificationNetwork, partial(SmallCnn, widths=(4, 8)), dropout=dropout)
    return Classifier(network, 5, 2, optimizer=partial(torch.optim.SGD, lr=0.1))


def _ensemble(number=3, dropout=0.0):
    return ClassifierEnsemble([_member(seed, dropout) for seed in range(number)], 5).eval()


def _batch(size=6, targets=None):
    images = torch.randn(size, 2, 8, 8, generator=torch.Generator().manual_seed(9))
    targets = torch.arange(size) % 5 if targets is None else targets
    return Batch(images, torch.arange(size) * 7, torch.ones(size, dtype=torch.bool), targets, False)


def _member_probs(ensemble, images):
    with torch.no_grad():
        return torch.stack([member.network(images)[0].softmax(1) for member in ensemble.members])


@pytest.mark.parametrize("number", [1, 3])
def test_the_posterior_is_the_mean_of_the_members_and_the_views_are_they(number):
    ensemble, batch = _ensemble(number), _batch()
    expected = _member_probs(ensemble, batch.images)
    found = ensemble.predict_batch(batch, EVERYTHING)
    assert torch.equal(found.views.probs, expected) and found.views.form is found.posterior.form is Form.SOFTMAX
    torch.testing.assert_close(found.posterior.probs, sum(expected) / number)
    assert torch.equal(found.labels, found.posterior.probs.argmax(1))
    assert torch.equal(found.scores, found.posterior.probs.amax(1))
    assert torch.equal(found.index, batch.index) and found.row.tolist() == list(range(6))
    assert torch.equal(found.image_features, ensemble.members[0].network(batch.images)[1])


def test_the_mean_outvotes_a_member():
    """Members say (0.9, 0.1), (0.4, 0.6), (0.4, 0.6): the majority is for class 1, the mean for class 0."""
    ensemble = _ensemble()
    for member, first in zip(ensemble.members, (0.9, 0.4, 0.4), strict=True):
        torch.nn.init.zeros_(member.network.head.weight)
        probs = torch.tensor([first, 1 - first, 0.0, 0.0, 0.0])
        member.network.head.bias.data = probs.clamp(min=1e-12).log()
    found = ensemble.predict_batch(_batch(2), Need.NOTHING)
    assert found.labels.tolist() == [0, 0]
    torch.testing.assert_close(found.scores, torch.full((2,), 1.7 / 3))


@pytest.mark.parametrize(
    ("needs", "given"),
    [
        (Need.NOTHING, []),
        (Need.POSTERIOR, ["posterior"]),
        (Need.VIEWS, ["views"]),
        (Need.IMAGE_FEATURES, ["image_features"]),
    ],
)
def test_nothing_is_given_that_was_not_asked_for(needs, given):
    found = _ensemble().predict_batch(_batch(), needs)
    assert [n for n in ("posterior", "image_features", "views") if getattr(found, n) is not None] == given


def test_the_views_are_the_members_even_where_they_have_dropout():
    ensemble, batch = _ensemble(dropout=0.5), _batch()
    assert torch.equal(ensemble.predict_batch(batch, EVERYTHING).views.probs, _member_probs(ensemble, batch.images))
    assert not any(part.training for part in ensemble.modules())


def test_members_are_asked_once():
    """Dropout passes of the members would be thrown away."""
    ensemble, calls = _ensemble(dropout=0.5), []
    for member in ensemble.members:
        member.network.head.register_forward_hook(lambda *args: calls.append(1))
    ensemble.predict_batch(_batch(), EVERYTHING)
    assert len(calls) == 3


def test_what_it_provides():
    assert _ensemble().provides == Need.POSTERIOR | Need.IMAGE_FEATURES | Need.VIEWS
    assert _member(0).provides == Need.POSTERIOR | Need.LOGITS | Need.IMAGE_FEATURES


def test_results_are_accuracies_over_all_batches_since_the_last():
    ensemble = _ensemble()
    batch = _batch(10)
    labels = _member_probs(ensemble, batch.images).mean(0).argmax(1)
    wrong = (labels + 1) % 5
    targets = torch.where(torch.arange(10) < 4, labels, wrong)
    for _ in range(2):  # the second time shows that the first was forgotten
        for part in (slice(0, 3), slice(3, 10)):
            size = len(batch.images[part])
            ensemble.test_step(_batch(size, targets[part])._replace(images=batch.images[part]), 0)
        results = ensemble.test_results()
        assert results["test/accuracy"] == pytest.approx(0.4)
        expected = [
            float((labels == targets)[targets == c].float().mean()) if (targets == c).any() else 0.0 for c in range(5)
        ]
        assert results["test/accuracy_per_class"] == pytest.approx(expected)
