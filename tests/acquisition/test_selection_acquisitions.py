import re

import pytest
import torch
from selection_references import badge, kcenter, symmetric_kl

from alpl.acquisition import Badge, Cdal, Context, CoreSet, Dbal, Entropy, KCenter, Margin
from alpl.errors import ConfigError
from alpl.pool import Pool
from alpl.predictions import Form, Need, Posterior, Predictions


def _context(number=40, num_labeled=6, budget=8, form=Form.SOFTMAX, seed=0):
    """Unlabeled images have odd places, so that positions and dataset indices differ."""
    random = torch.Generator().manual_seed(seed)
    pool = Pool.create(number, torch.arange(0, 2 * num_labeled, 2))

    def observed(index):
        features = torch.randn(len(index), 3, generator=random)
        probs = (2 * torch.randn(len(index), 4, generator=random)).softmax(1)
        return Predictions(index, torch.arange(len(index)), Posterior(probs, form), image_features=features)

    return Context(pool, budget, seed=seed, unlabeled=observed(pool.unlabeled), labeled=observed(pool.labeled))


def _features(context):
    return context.unlabeled.image_features, context.labeled.image_features


@pytest.mark.parametrize(
    "acquisition",
    [KCenter(), KCenter("cosine"), CoreSet(), CoreSet(exact_up_to=0), Dbal(Margin()), Badge(), Cdal(), Cdal("class")],
)
@pytest.mark.parametrize("budget", [0, 1, 34])
def test_a_query_holds_different_unlabeled_images_and_is_repeated_exactly(acquisition, budget):
    context = _context(budget=budget)
    query, again = acquisition.select(context), acquisition.select(context)
    assert len(set(query.index.tolist())) == budget and set(query.index.tolist()) <= set(
        context.pool.unlabeled.tolist()
    )
    assert query.utility.shape == (budget,) and query.utility.isfinite().all() and query.utility.dtype == torch.float64
    assert torch.equal(query.index, again.index) and torch.equal(query.utility, again.utility)


def test_kcenter_by_cosine_does_not_see_lengths():
    context = _context()
    features, _ = _features(context)
    longer = Predictions(context.unlabeled.index, context.unlabeled.row, image_features=4 * features)
    moved = Context(context.pool, context.budget, 0, unlabeled=longer, labeled=context.labeled)
    assert torch.equal(KCenter("cosine").select(context).index, KCenter("cosine").select(moved).index)
    assert not torch.equal(KCenter().select(context).index, KCenter().select(moved).index)


def test_core_set_covers_better_than_k_center():
    context = _context(budget=5)
    features, centers = _features(context)

    def radius(query):
        picks = torch.searchsorted(context.pool.unlabeled, query.index)
        return float(torch.cdist(features, torch.cat([centers, features[picks]])).amin(1).max())

    exact, greedy = CoreSet(0.0).select(context), CoreSet(0.0, exact_up_to=0).select(context)
    assert greedy.index.tolist() == KCenter().select(context).index.tolist()
    assert radius(exact) < radius(greedy)


def test_the_outliers_are_a_share_of_all_images(monkeypatch):
    from alpl.acquisition import core_set as module

    asked = []
    monkeypatch.setattr(module, "core_set", lambda *_, num_outliers, **__: asked.append(num_outliers) or 1 / 0)
    with pytest.raises(ZeroDivisionError):
        CoreSet(0.1).select(_context(number=40))
    assert asked == [4]


def test_dbal_takes_informative_images():
    context = _context(budget=4)
    assert Dbal(Margin()).needs == Need.POSTERIOR | Need.IMAGE_FEATURES
    query = Dbal(Margin(), prefilter=2).select(context)
    best = Margin().utility(context).argsort(descending=True)[:8]
    assert set(query.index.tolist()) <= set(context.pool.unlabeled[best].tolist())
    assert query.utility.tolist() == sorted(query.utility.tolist(), reverse=True)
    assert torch.equal(query.pool_utility, Margin().utility(context).double())


def test_dbal_with_a_prefilter_of_one_is_the_ranking():
    context = _context(budget=4)
    assert set(Dbal(Entropy(), prefilter=1).select(context).index.tolist()) == set(
        Entropy().select(context).index.tolist()
    )


@pytest.mark.parametrize("first", ["as_written", "as_released"])
def test_badge_draws_with_the_seed_of_the_context(first):
    context = _context()
    query = Badge(first).select(context)
    probs = context.unlabeled.posterior.probs
    expected = badge(context.unlabeled.image_features, probs, 8, context.generator("badge"), first)
    assert query.index.tolist() == context.pool.unlabeled[expected].tolist()
    other = Context(context.pool, 8, seed=1, unlabeled=context.unlabeled)
    assert Badge(first).select(other).index.tolist() != query.index.tolist()


@pytest.mark.parametrize("form", [Form.BACKGROUND, Form.SIGMOID])
def test_badge_wants_a_softmax(form):
    with pytest.raises(ValueError, match=f"must be a softmax over classes for BADGE, got {form.value}"):
        Badge().select(_context(form=form))


def test_cdal_is_k_center_on_divergences():
    context = _context()
    query = Cdal().select(context)
    probs, centers = context.unlabeled.posterior.probs, context.labeled.posterior.probs
    scaled = [side.double() / side.double().sum(1, keepdim=True) for side in (probs, centers)]
    picks, distances = kcenter(scaled[0], scaled[1], 8, symmetric_kl)
    assert query.index.tolist() == context.pool.unlabeled[picks].tolist()
    assert query.utility.tolist() == pytest.approx(distances)


def test_cdal_by_class_keeps_to_common_classes():
    # labeled: surely class 0; unlabeled: class 0 unlike it, and class 1, which shares nothing and so is near
    pool = Pool.create(3, torch.tensor([0]))
    labeled = Predictions(torch.tensor([0]), torch.tensor([0]), Posterior(torch.tensor([[0.9, 0.1]])))
    unlabeled = Predictions(torch.tensor([1, 2]), torch.arange(2), Posterior(torch.tensor([[0.1, 0.9], [0.6, 0.4]])))
    context = Context(pool, 1, seed=0, unlabeled=unlabeled, labeled=labeled)
    assert Cdal("class").select(context).index.tolist() == [2]
    assert Cdal("image").select(context).index.tolist() == [1]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: KCenter("manhattan"), "acquisition.metric must be one of euclidean, cosine, got manhattan"),
        (lambda: CoreSet(outlier_share=1.0), "acquisition.outlier_share must be in [0, 1), got 1.0"),
        (lambda: CoreSet(seconds_a_step=0.0), "acquisition.seconds_a_step must be positive"),
        (lambda: Dbal(KCenter()), "acquisition.ranking must give each image a utility, got KCenter"),
        (lambda: Dbal(Margin(), prefilter=0.5), "acquisition.prefilter and iterations must be at least 1"),
        (lambda: Badge("largest"), "acquisition.first must be one of as_written, as_released, got largest"),
        (lambda: Cdal("pixel"), "acquisition.contexts must be one of image, class, got pixel"),
    ],
)
def test_settings_that_cannot_work(make, message):
    with pytest.raises(ConfigError, match=re.escape(message)):
        make()
