"""Acquisitions with class balance: that they hand the right things to the right functions."""

import pytest
import torch
from command import TINY, alpl

from alpl.acquisition import BalancedKCenter, ClassBalanced, Context, Entropy, KCenter, PseudoLabelBalanced
from alpl.errors import ConfigError
from alpl.pool import Pool
from alpl.predictions import Need, Posterior, Predictions
from alpl.selection.class_balance import balanced_choice, class_targets, l1_score
from alpl.selection.pseudo_label_balance import pseudo_label_choice

COUNTS = torch.tensor([6, 3, 1])


def context(budget=8, number=60, seed=0):
    random = torch.Generator().manual_seed(seed)
    pool = Pool.create(number + 10, torch.arange(0, number + 10, 7)[:10])
    logits = torch.randn(number, 3, generator=random).double() * 2 + torch.tensor([2.0, 0, 0])

    def seen(index, probs):
        features = torch.randn(len(index), 4, generator=random)
        return Predictions(index, torch.arange(len(index)), posterior=probs, image_features=features)

    unlabeled = seen(pool.unlabeled, Posterior(logits.softmax(-1)))
    return Context(pool, budget, 0, unlabeled, seen(pool.labeled, None), class_counts=COUNTS)


def test_a_ranking_is_balanced_by_eq_4_8():
    given = context()
    query = ClassBalanced(Entropy(), weight=2.0).select(given)
    entropy = given.posterior.entropy()
    found = balanced_choice(-entropy, given.posterior.probs, class_targets(COUNTS, 8), 2.0, 8)
    assert sorted(query.index.tolist()) == sorted(given.pool.unlabeled[found.index].tolist())
    assert query.utility.tolist() == sorted(query.utility.tolist(), reverse=True)
    torch.testing.assert_close(query.pool_utility, entropy)
    # the plain ranking takes more of what is there already
    plain = given.posterior.probs[entropy.argsort(descending=True)[:8]].sum(0)
    balanced = given.posterior.probs[found.index].sum(0)
    lack = class_targets(COUNTS, 8)
    assert (lack - balanced).abs().sum() < (lack - plain).abs().sum()


def test_without_weight_it_is_the_ranking():
    given = context()
    assert set(ClassBalanced(Entropy(), weight=0.0).select(given).index.tolist()) == set(
        Entropy().select(given).index.tolist()
    )
    assert BalancedKCenter(0.0).select(given).index.tolist() == KCenter().select(given).index.tolist()


def test_the_comparison_takes_hard_labels():
    given = context()
    query = PseudoLabelBalanced(Entropy()).select(given)
    labels = given.posterior.probs.argmax(-1)
    chosen = pseudo_label_choice(given.posterior.entropy(), labels, class_targets(COUNTS, 8), 8)
    assert query.index.tolist() == given.pool.unlabeled[chosen].tolist()


def test_they_need_the_classes_of_what_is_labeled():
    for acquisition in (ClassBalanced(Entropy()), PseudoLabelBalanced(Entropy()), BalancedKCenter()):
        assert Need.CLASS_COUNTS | Need.POSTERIOR in acquisition.needs


@pytest.mark.parametrize("weight", [-1.0, float("inf"), float("nan")])
def test_bad_weights_are_named(weight):
    for make in (lambda: ClassBalanced(Entropy(), weight), lambda: BalancedKCenter(weight)):
        with pytest.raises(ConfigError, match=r"acquisition\.weight must be finite"):
            make()


@pytest.mark.parametrize("gap", [-1e-4, float("inf"), float("nan")])
def test_bad_gaps_are_named(gap):
    with pytest.raises(ConfigError, match=r"acquisition\.gap must be finite and >= 0, got"):
        ClassBalanced(Entropy(), gap=gap)


def test_a_set_method_has_no_utilities():
    with pytest.raises(ConfigError, match=r"acquisition\.ranking must give each image a utility, got KCenter"):
        ClassBalanced(KCenter())


@pytest.mark.sample(1)
@pytest.mark.parametrize(
    "name",
    [pytest.param("entropy_balanced", marks=pytest.mark.slow), "entropy_pseudo_label_balanced", "kcenter_balanced"],
)
def test_they_run(tmp_path, name):
    run = alpl(tmp_path, *TINY, f"acquisition={name}")
    assert run.status == 0, run.err
    assert Pool.load(run.run_folder() / "cycle_01" / "pool.csv").num_labeled == 50


@pytest.mark.slow
def test_bald_runs_balanced(tmp_path):
    assert alpl(tmp_path, *TINY, "acquisition=bald_balanced", "model.network.dropout=0.5").status == 0


@pytest.mark.slow
def test_balance_is_what_it_brings():
    """Half of the classes are rare in the pool, and the predictions are right."""
    random = torch.Generator().manual_seed(3)
    classes = torch.multinomial(torch.tensor([1.0] * 5 + [0.1] * 5), 3000, True, generator=random)
    logits = torch.randn(3000, 10, generator=random)
    logits[torch.arange(3000), classes] += 6 + 3 * torch.rand(3000, generator=random)
    probs = logits.double().softmax(-1)
    pool = Pool.create(3100, torch.arange(100))
    seen = Predictions(pool.unlabeled, torch.arange(3000), posterior=Posterior(probs))
    given = Context(pool, 150, 0, seen, class_counts=torch.full((10,), 10))
    scores = [
        l1_score(classes[acquisition.select(given).index - 100].bincount(minlength=10))
        for acquisition in (Entropy(), ClassBalanced(Entropy(), 3.0))
    ]
    assert scores[1] < 0.5 * scores[0]
