from typing import final

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from alpl.acquisition import AbstractAcquisition, AbstractRanking, Context, Query
from alpl.pool import Pool
from alpl.predictions import Need


@final
class Fixed(AbstractRanking):
    """The utilities that it is made with."""

    def __init__(self, values):
        self.values = torch.as_tensor(values)

    def utility(self, context):
        return self.values


UTILITIES = st.lists(st.sampled_from([-1.5, 0.0, 0.25, 7.0]) | st.floats(-1e6, 1e6, width=32), min_size=1, max_size=30)


@given(UTILITIES, st.data())
def test_the_highest_utilities_are_chosen_in_descending_order(context_of, values, data):
    budget, seed = data.draw(st.integers(0, len(values))), data.draw(st.integers(0, 10))
    context = context_of(number=len(values), budget=budget, seed=seed)
    query = Fixed(torch.tensor(values, dtype=torch.float64)).select(context)
    assert query.utility.tolist() == sorted(values, reverse=True)[:budget]
    assert len(set(query.index.tolist())) == budget and query.index.dtype == torch.long
    of_image = dict(zip(context.pool.unlabeled.tolist(), values, strict=True))
    assert [of_image[index] for index in query.index.tolist()] == query.utility.tolist()
    assert query.pool_utility.tolist() == values
    context.pool.reveal(query.index)  # dataset indices of unlabeled images, no repeats


def test_the_same_seed_breaks_ties_the_same_way_and_other_seeds_otherwise(context_of):
    def picks(seed):
        return tuple(Fixed([1.0] * 30).select(context_of(number=30, budget=5, seed=seed)).index.tolist())

    first = picks(3)
    torch.manual_seed(0)
    assert picks(3) == first
    assert len({picks(seed) for seed in range(20)}) == 20


def test_ties_are_broken_uniformly(context_of):
    counts = torch.zeros(13)
    for seed in range(1000):  # two sure picks, then 2 of 10 equal ones; the last is never chosen
        query = Fixed([9.0] + [1.0] * 10 + [8.0, 0.0]).select(context_of(number=13, budget=4, seed=seed))
        counts += ((query.index - 1) // 2).bincount(minlength=13)
    assert counts[[0, 11, 12]].tolist() == [1000, 1000, 0]
    assert (counts[1:11] - 200).abs().max() < 5 * (1000 * 0.2 * 0.8) ** 0.5


def test_a_larger_budget_goes_on_from_a_smaller_one(context_of):
    ranking = Fixed([1.0, 2.0, 1.0, 1.0, 2.0, 0.0])
    whole = ranking.select(context_of(number=6, budget=6)).index.tolist()
    for budget in range(6):
        assert ranking.select(context_of(number=6, budget=budget)).index.tolist() == whole[:budget]


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), float("-inf")])
def test_values_that_are_not_finite_are_errors(context_of, bad):
    message = r"Fixed\.utility must be finite, got 2 NaN or infinite values, images \[3, 7\]"
    with pytest.raises(ValueError, match=message):
        Fixed([0.0, bad, 1.0, bad]).select(context_of(number=4))


@pytest.mark.parametrize("shape", [(3,), (5,), (4, 1), ()])
def test_values_of_another_shape_are_errors(context_of, shape):
    with pytest.raises(ValueError, match=r"Fixed\.utility must be Float\[4\], got shape"):
        Fixed(torch.zeros(shape)).select(context_of(number=4))


@pytest.mark.parametrize("budget", [-1, 5])
def test_a_budget_outside_the_pool_is_an_error(context_of, budget):
    with pytest.raises(ValueError, match=rf"budget must be in \[0, 4\] images, got {budget}"):
        Fixed(torch.zeros(4)).select(context_of(number=4, budget=budget))


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.int64, torch.bool])
def test_every_number_type_is_ranked_in_float64_on_the_cpu(context_of, dtype):
    query = Fixed(torch.tensor([0, 1, 0]).to(dtype)).select(context_of(number=3))
    assert query.index.tolist() == [3]
    assert query.utility.dtype == query.pool_utility.dtype == torch.float64


def test_values_with_a_gradient_are_taken_without_it(context_of):
    query = Fixed(torch.tensor([1.0, 2.0], requires_grad=True)).select(context_of(number=2))
    assert query.index.tolist() == [3] and not query.utility.requires_grad


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_the_device_does_not_matter(context_of):
    values = torch.randint(0, 3, (200,), generator=torch.Generator().manual_seed(0)).float()
    context = context_of(number=200, budget=90)
    on_gpu, on_cpu = Fixed(values.cuda()).select(context), Fixed(values).select(context)
    assert torch.equal(on_gpu.index, on_cpu.index) and on_gpu.index.device.type == "cpu"


def test_an_acquisition_asks_for_nothing_unless_it_says_so():
    assert AbstractAcquisition.needs is Need.NOTHING and Fixed([0.0]).needs is Need.NOTHING


def test_what_was_not_asked_for_is_not_there():
    pool = Pool.create(3, torch.tensor([0]))
    context = Context(pool, budget=1, seed=0)
    with pytest.raises(AssertionError, match=r"must declare Need\.POSTERIOR or another model output"):
        context.predictions  # noqa: B018  (reading it is the test)


def test_a_posterior_that_was_not_asked_for_is_not_there(context_of):
    with pytest.raises(AssertionError, match=r"must declare Need\.POSTERIOR$"):
        context_of(number=2).posterior  # noqa: B018  (reading it is the test)


def test_draws_of_a_context_are_fresh_and_named(context_of):
    context = context_of(number=2, seed=4)
    first = torch.rand(5, generator=context.generator("a"))
    assert torch.equal(first, torch.rand(5, generator=context.generator("a")))
    assert not torch.equal(first, torch.rand(5, generator=context.generator("b")))
    assert not torch.equal(first, torch.rand(5, generator=context_of(number=2, seed=5).generator("a")))


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), max_size=8))
def test_a_saved_query_comes_back_to_the_last_bit(tmp_path_factory, values):
    path = tmp_path_factory.mktemp("query") / "query.csv"
    query = Query(torch.arange(len(values)).flip(0) * 3, torch.tensor(values, dtype=torch.float64))
    query.save(path)
    again = Query.load(path)
    assert torch.equal(again.index, query.index) and again.index.dtype == torch.long
    assert torch.equal(again.utility, query.utility) and again.utility.dtype == torch.float64


def test_the_file_of_a_query_is_what_a_person_reads(tmp_path):
    Query(torch.tensor([7, 2]), torch.tensor([0.1, -0.5], dtype=torch.float64)).save(tmp_path / "query.csv")
    assert (tmp_path / "query.csv").read_bytes() == b"rank,index,utility\n0,7,0.1\n1,2,-0.5\n"


def test_a_query_with_a_value_missing_is_not_written(tmp_path):
    with pytest.raises(ValueError, match="zip"):
        Query(torch.tensor([7, 2]), torch.tensor([0.1])).save(tmp_path / "query.csv")
    assert list(tmp_path.iterdir()) == []
