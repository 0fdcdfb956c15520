import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from alpl.acquisition import AbstractObjectRanking, Context, DetectionUncertainty, FlipInconsistency
from alpl.acquisition import object_ranking as module
from alpl.acquisition.object_ranking import ObjectValues, value_of
from alpl.pool import Pool
from alpl.predictions import Form, Posterior, Predictions


class Fixed(AbstractObjectRanking):
    """The instances and values that it is made with; counts how often it is asked."""

    def __init__(self, chosen, values, *options):
        super().__init__(*options)
        self.found, self.asked = ObjectValues(torch.tensor(chosen, dtype=torch.long), torch.tensor(values)), 0

    def object_values(self, context):
        self.asked += 1
        return self.found


def _context(row, number, budget=1, **fields):
    pool = Pool.create(2 * number + 1, torch.arange(0, 2 * number + 1, 2))
    unlabeled = Predictions(pool.unlabeled, torch.tensor(row, dtype=torch.long), **fields)
    return Context(pool, budget, seed=0, unlabeled=unlabeled)


def _same(found, expected):
    torch.testing.assert_close(found.double(), torch.tensor(expected, dtype=torch.float64), equal_nan=True)


def test_the_query_carries_the_value_of_each_instance_that_counted():
    ranking = Fixed([3, 0, 1], [5.0, 2.0, 3.0])
    query = ranking.select(_context([0, 0, 1, 2], 4, budget=2))
    _same(query.object_utility, [2.0, 3.0, math.nan, 5.0])
    assert query.pool_utility.tolist() == [3.0, 0.0, 5.0, 0.0] and query.index.tolist() == [5, 1]
    assert ranking.asked == 1  # images and objects are valued together


def test_the_reduction_and_the_empty_value_are_its_own():
    context = _context([0, 0, 2], 3, budget=3)
    query = Fixed([0, 1, 2], [1.0, 3.0, 0.5], "mean", -1.0).select(context)
    assert query.pool_utility.tolist() == [2.0, -1.0, 0.5]
    assert torch.equal(Fixed([0, 1, 2], [1.0, 3.0, 0.5], "mean", -1.0).utility(context).double(), query.pool_utility)


def test_nothing_counts():
    query = Fixed([], []).select(_context([0, 1], 3))
    assert query.object_utility.isnan().tolist() == [True, True] and query.utility.tolist() == [0.0]
    assert Fixed([], []).select(_context([], 3)).object_utility.shape == (0,)


def test_a_value_that_is_not_finite_is_an_error():
    with pytest.raises(ValueError, match=r"Fixed.utility must be finite, got 1 NaN or infinite values, images \[3\]"):
        Fixed([0, 1], [1.0, math.nan]).select(_context([0, 1], 2))


@st.composite
def views(draw):
    number, draws = draw(st.integers(1, 30)), torch.Generator().manual_seed(draw(st.integers(0, 2**32 - 1)))
    logits = 2 * torch.randn(number, 2, draw(st.integers(2, 5)), generator=draws)
    scores = torch.rand(number, generator=draws)
    row = torch.randint(4, (number,), generator=draws).sort().values.tolist()
    return logits.softmax(-1), scores, row


@given(views(), st.sampled_from(["product", "two_stage", "inconsistency", "entropy", "of_views"]), st.booleans())
def test_the_utility_of_an_image_is_the_largest_of_its_objects(given, kind, half):
    stored, scores, row = given
    acquisition = {
        "entropy": DetectionUncertainty(score_thresh=0.5),
        "of_views": DetectionUncertainty(score_thresh=0.5, of="mean_of_views"),
    }.get(kind) or FlipInconsistency(kind, candidates=2)
    stored = stored.half() if half else stored
    fields = {"posterior": Posterior(stored[:, 0], Form.BACKGROUND), "scores": scores}
    both = Posterior(stored.transpose(0, 1), Form.BACKGROUND)
    query = acquisition.select(_context(row, 4, **fields, views=both))
    for image in range(4):
        of_image = [v for v, r in zip(query.object_utility.tolist(), row, strict=True) if r == image and v == v]
        assert query.pool_utility[image] == max(of_image, default=0.0)
    assert not (query.object_utility[scores < 0.5] >= 0).any()  # NaN: they did not count
    # rows are gathered the same from the layout of a stack of views, and from that of a stack of instances
    contiguous = Posterior(both.probs.contiguous(), Form.BACKGROUND)
    again = acquisition.select(_context(row, 4, **fields, views=contiguous))
    assert torch.equal(again.pool_utility, query.pool_utility)


@pytest.mark.parametrize("shape", [(9, 4), (3, 9, 4)])
def test_the_chosen_rows_are_measured_in_chunks(monkeypatch, shape):
    probs, sizes = torch.rand(shape, generator=torch.Generator().manual_seed(0)), []

    def measure(posterior):
        sizes.append(tuple(posterior.probs.shape))
        return posterior.probs.flatten(0, -3).sum(0)[:, 0] if len(shape) == 3 else posterior.probs[:, 0]

    monkeypatch.setattr(module, "CHUNK", 2)
    chosen = torch.tensor([7, 0, 3, 8, 1])
    found = value_of(measure, Posterior(probs), chosen)
    expected = (probs[:, chosen, 0].sum(0)) if len(shape) == 3 else probs[chosen, 0]
    torch.testing.assert_close(found, expected)
    assert [size[-2] for size in sizes] == [2, 2, 1]


def test_no_more_than_a_chunk_of_memory_mapped_views_is_in_memory(tmp_path):
    stored = torch.rand(20_000, 2, 8, generator=torch.Generator().manual_seed(0)).softmax(-1)
    scores = torch.zeros(20_000)
    scores[::100] = 0.9
    given = _context(range(20_000), 20_000, views=Posterior(stored.transpose(0, 1), Form.BACKGROUND), scores=scores)
    given.unlabeled.save(tmp_path / "p")
    loaded = Predictions.load(tmp_path / "p", memory_map=True)
    read = []
    gather = torch.Tensor.index_select

    def counted(tensor, axis, index):
        read.append(len(index))
        assert tensor.untyped_storage().data_ptr() == loaded.views.probs.untyped_storage().data_ptr()  # no copy of all
        return gather(tensor, axis, index)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.Tensor, "index_select", counted)
        found = FlipInconsistency().object_values(Context(given.pool, 1, seed=0, unlabeled=loaded))
    assert sum(read) == 200 == len(found.chosen)
    expected = FlipInconsistency().object_values(given)
    assert torch.equal(found.values, expected.values)
