"""Two stages: who becomes a candidate, and what the second stage gets to see."""

import math

import numpy as np
import pytest
import torch

from alpl.acquisition import AbstractAcquisition, AbstractRanking, Context, KCenter, Query, RandomSampling, Then
from alpl.errors import ConfigError
from alpl.pool import Pool
from alpl.predictions import Form, Need, Posterior, Predictions


class ByFeature(AbstractRanking):
    needs = Need.IMAGE_FEATURES

    def utility(self, context):
        return context.predictions.image_features[:, 0]


class Remembers(AbstractAcquisition):
    needs = Need.FEATURES | Need.TARGETS | Need.HISTORY

    def select(self, context):
        self.seen = context
        index = context.pool.unlabeled.flip(0)[: context.budget]
        return Query(index, torch.zeros(len(index)))


def context(number, budget):
    """Image u of the unlabeled has dataset index 2 u + 1, feature u, u % 3 detections and target u."""
    pool = Pool.create(2 * number + 1, torch.arange(0, 2 * number + 1, 2))
    counts = torch.arange(number) % 3
    row = torch.arange(number).repeat_interleave(counts)
    unlabeled = Predictions(
        index=pool.unlabeled,
        row=row,
        posterior=Posterior(torch.rand(len(row), 4), Form.BACKGROUND),
        features=row[:, None].float() + torch.tensor([0.0, 100.0]),
        image_features=torch.arange(number)[:, None].float(),
    )
    return Context(
        pool,
        budget,
        seed=3,
        unlabeled=unlabeled,
        labeled=unlabeled,
        history=np.arange(5 * number).reshape(5, number),
        targets=torch.arange(number),
    )


@pytest.mark.parametrize(
    ("budget", "ratio", "expected"), [(3, 2.0, 6), (3, 1.5, 5), (3, 1.0, 3), (3, 50.0, 20), (0, 4.0, 0)]
)
def test_the_second_stage_sees_only_the_candidates(budget, ratio, expected):
    second = Remembers()
    whole = context(20, budget)
    query = Then(ByFeature(), second, ratio).select(whole)
    seen, best = second.seen, torch.arange(20 - expected, 20)  # the highest features, ascending
    assert seen.budget == budget and torch.equal(seen.pool.unlabeled, 2 * best + 1)
    assert torch.equal(seen.pool.labeled, whole.pool.labeled) and seen.labeled is whole.labeled
    assert torch.equal(seen.predictions.index, 2 * best + 1)
    assert torch.equal(seen.predictions.features[:, 0], best.repeat_interleave(best % 3).float())
    assert torch.equal(seen.targets, best) and np.array_equal(seen.history[1], 20 + best.numpy())
    assert torch.equal(query.index, (2 * best + 1).flip(0)[:budget])
    assert torch.equal(query.pool_utility, torch.arange(20).double())  # of all images, for the report


@pytest.mark.parametrize(("budget", "candidates"), [(414, 1664), (2365, 9464), (2, 16), (1, 8)])
def test_released_rounding(budget, candidates):
    # facts 3.3: VOC 414 -> 1664, COCO 2365 -> 9464, and 8 more where 4 b is a multiple of 8 already
    second = Remembers()
    number = candidates + 5
    Then(ByFeature(), second, 4.0, "as_released").select(context(number, budget))
    assert len(second.seen.pool.unlabeled) == candidates


def test_the_query_is_one_of_the_pool():
    whole = context(30, 5)
    query = Then(RandomSampling(), KCenter(), 2.0).select(whole)
    assert len(whole.pool.reveal(query.index).unlabeled) == 25


def test_two_random_stages_do_not_draw_the_same():
    first, second = RandomSampling(), Remembers()
    Then(first, second).select(context(40, 5))
    whole = context(40, 5)
    assert not torch.equal(first.utility(second.seen)[:20], first.utility(whole)[:20])


def test_needs_are_those_of_both():
    assert Then(ByFeature(), Remembers()).needs == Need.IMAGE_FEATURES | Need.FEATURES | Need.TARGETS | Need.HISTORY


def test_wrong_settings():
    for ratio in (0.5, math.nan, math.inf):
        with pytest.raises(ConfigError, match=r"acquisition\.ratio must be finite and >= 1"):
            Then(ByFeature(), KCenter(), ratio)
    with pytest.raises(ConfigError, match=r"acquisition\.rounding must be up or as_released"):
        Then(ByFeature(), KCenter(), rounding="down")
    with pytest.raises(ConfigError, match=r"acquisition\.second must be an acquisition, got str"):
        Then(ByFeature(), "kcenter")
    with pytest.raises(ValueError, match=r"budget must be in \[0, 4\] images, got 5"):
        Then(ByFeature(), KCenter()).select(context(4, 5))
