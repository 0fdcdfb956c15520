"""An acquisition in stages chooses what it chooses in one look; what each stage is asked for is its own."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from alpl.acquisition import Context, Entropy, KCenter, Margin, Query, RandomSampling, Then
from alpl.pool import Pool
from alpl.predictions import Need, Posterior, Predictions


def _context(seed: int, budget: int) -> Context:
    draw = torch.Generator().manual_seed(seed)
    pool = Pool.create(40, torch.randperm(40, generator=draw)[:8].sort().values)

    def of(index: torch.Tensor) -> Predictions:
        number = len(index)
        probs = torch.randn(number, 3, generator=draw).softmax(-1)
        features = torch.randn(number, 4, generator=draw)
        return Predictions(index, torch.arange(number), posterior=Posterior(probs), image_features=features)

    return Context(pool, budget, seed, unlabeled=of(pool.unlabeled), labeled=of(pool.labeled))


def _in_stages(acquisition, context: Context) -> Query:
    for stage in acquisition.stages[:-1]:
        context = context.among(stage.choose(context).index.sort().values)
    return acquisition.stages[-1].choose(context)


ACQUISITIONS = [
    Entropy(),
    Then(Entropy(), KCenter(), 2.5),
    Then(RandomSampling(), RandomSampling(), 3),  # two draws must differ
    Then(Then(Entropy(), RandomSampling(), 2), KCenter(), 1.5),
    Then(Margin(), Then(RandomSampling(), RandomSampling(), 1.5), 2),
    Then(Entropy(), Margin(), 2, rounding="as_released"),
]


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 1000), st.integers(0, 32), st.sampled_from(range(len(ACQUISITIONS))))
def test_stages_choose_as_one_look_does(seed: int, budget: int, which: int) -> None:
    acquisition, context = ACQUISITIONS[which], _context(seed, budget)
    whole, staged = acquisition.select(context), _in_stages(acquisition, context)
    assert whole.index.tolist() == staged.index.tolist() and torch.equal(whole.utility, staged.utility)


def test_sizes_and_needs_of_stages() -> None:
    nested = Then(Then(Entropy(), RandomSampling(), 2), KCenter(), 3)
    assert [stage.number(5) for stage in nested.stages] == [30, 15, 5]
    assert [stage.acquisition.needs for stage in nested.stages] == [
        Need.POSTERIOR,
        Need.NOTHING,
        Need.IMAGE_FEATURES | Need.LABELED,
    ]
    assert [stage.depth for stage in nested.stages] == [0, 1, 1]


def test_a_stage_takes_no_more_than_there_are() -> None:
    context = _context(0, 3)
    few = context.among(context.pool.unlabeled[:4])
    assert len(Then(Entropy(), Margin(), 10).stages[0].choose(few).index) == 4


def test_of_equal_seeds_later_stages_draw_other_numbers() -> None:
    context = _context(3, 5)
    one, other = Then(RandomSampling(), RandomSampling(), 8).stages
    assert one.choose(replace(context, budget=5)).index[:5].tolist() != other.choose(context).index.tolist()


@pytest.mark.parametrize("acquisition", [Entropy(), RandomSampling()])
def test_most_have_one_stage(acquisition) -> None:
    (stage,) = acquisition.stages
    assert stage.acquisition is acquisition and stage.number(7) == 7 and stage.depth == 0
