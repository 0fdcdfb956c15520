"""AL-MDN's scoring function (sec. 3.3) beside the text spelled out in loops, by hand, and at its edges."""

import math

import pytest
import torch
from torch import Tensor

from alpl.acquisition import MixtureUncertainty
from alpl.acquisition.base import Context
from alpl.acquisition.mixture_uncertainty import last_if_empty, z_scores
from alpl.errors import ConfigError
from alpl.pool import Pool
from alpl.predictions import UNCERTAINTIES, Need, Predictions

CLASS, BOX = ["class_aleatoric", "class_epistemic"], ["box_aleatoric", "box_epistemic"]
ALEATORIC, EPISTEMIC = ["class_aleatoric", "box_aleatoric"], ["class_epistemic", "box_epistemic"]
TABLE_2 = [([name], "max") for name in UNCERTAINTIES] + [
    (types, join) for join in ("sum", "max") for types in (BOX, CLASS, ALEATORIC, EPISTEMIC, list(UNCERTAINTIES))
]


def context(row: Tensor, scores: Tensor, uncertainties: Tensor, num_unlabeled: int, budget: int) -> Context:
    """A pool of which image 0 is labeled; the unlabeled images are 1 to U."""
    pool = Pool.create(num_unlabeled + 1, initial=torch.tensor([0]))
    seen = Predictions(pool.unlabeled, row, scores=scores, uncertainties=uncertainties)
    return Context(pool=pool, budget=budget, seed=3, unlabeled=seen)


def slow(context: Context, types: list[str], join: str, reduction: str, score_thresh: float) -> list[float]:
    """Sec. 3.3 in plain numbers; images without an object come last, which the text leaves open."""
    seen = context.predictions
    assert seen.scores is not None and seen.uncertainties is not None
    kept = [i for i in range(len(seen.row)) if float(seen.scores[i]) >= score_thresh]
    utility = []
    normalized: dict[str, dict[int, float]] = {}
    for name in types:
        values = {i: float(seen.uncertainties[i, UNCERTAINTIES.index(name)]) for i in kept}
        mean = math.fsum(values.values()) / len(values)
        std = math.sqrt(math.fsum((value - mean) ** 2 for value in values.values()) / len(values))
        normalized[name] = {i: (value - mean) / std for i, value in values.items()}
    for image in range(seen.num_images):
        own = [i for i in kept if int(seen.row[i]) == image]
        if not own:
            utility.append(math.nan)
            continue
        of_types = []
        for name in types:
            found = [normalized[name][i] for i in own]
            of_types.append({"max": max(found), "sum": sum(found), "mean": sum(found) / len(found)}[reduction])
        utility.append(max(of_types) if join == "max" else sum(of_types))
    lowest = min(value for value in utility if not math.isnan(value))
    return [lowest - 1 if math.isnan(value) else value for value in utility]


@pytest.fixture
def made_up() -> Context:
    random = torch.Generator().manual_seed(7)
    counts = torch.randint(0, 6, (60,), generator=random)
    row = torch.arange(60).repeat_interleave(counts)
    scores = torch.rand(len(row), generator=random)
    scores[5] = 0.5  # reaches the threshold
    scales = torch.tensor([0.1, 1e-3, 30.0, 1.0])  # the four have different ranges
    return context(row, scores, torch.rand(len(row), 4, generator=random) ** 3 * scales, 60, 20)


@pytest.mark.parametrize("reduction", ["max", "mean", "sum"])
@pytest.mark.parametrize(("types", "join"), TABLE_2)
def test_all_14_aggregations_are_the_text_s(made_up: Context, types: list[str], join: str, reduction: str) -> None:
    acquisition = MixtureUncertainty(types, join, reduction)  # type: ignore[arg-type]
    query = acquisition.select(made_up)
    expected = slow(made_up, types, join, reduction, 0.5)
    assert query.pool_utility is not None and query.object_utility is not None
    torch.testing.assert_close(query.pool_utility, torch.tensor(expected, dtype=torch.float64))
    best = sorted(range(60), key=lambda image: -expected[image])[:20]
    assert query.index.tolist() == [image + 1 for image in best]
    counts = ~query.object_utility.isnan()
    assert made_up.predictions.scores is not None
    assert torch.equal(counts, made_up.predictions.scores >= 0.5)


def test_without_a_threshold_every_object_counts(made_up: Context) -> None:
    query = MixtureUncertainty(score_thresh=0.0).select(made_up)
    expected = slow(made_up, list(UNCERTAINTIES), "max", "max", 0.0)
    torch.testing.assert_close(query.pool_utility, torch.tensor(expected, dtype=torch.float64))


HAND = torch.tensor(
    [  # class aleatoric, class epistemic, box aleatoric, box epistemic
        [1.0, 0.0, 5.0, 2.0],
        [3.0, 0.0, 5.0, 4.0],
        [9.0, 9.0, 9.0, 9.0],  # below the threshold
        [2.0, 6.0, 5.0, 6.0],
    ]
)


def by_hand(**settings: object) -> list[float]:
    """Images 0 and 2 have two objects and one that count, image 1 only one of score 0.4, image 3 none."""
    seen = context(torch.tensor([0, 0, 1, 2]), torch.tensor([0.9, 0.6, 0.4, 0.5]), HAND, 4, 2)
    query = MixtureUncertainty(**settings).select(seen)  # type: ignore[arg-type]
    assert query.pool_utility is not None
    return query.pool_utility.tolist()


def test_a_case_by_hand() -> None:
    # class aleatoric 1, 3, 2: mean 2, std sqrt(2/3); box epistemic 2, 4, 6: mean 4, std sqrt(8/3)
    # class epistemic 0, 0, 6: mean 2, std sqrt(8); box aleatoric: all equal, so 0
    root = math.sqrt(1.5)
    assert by_hand(types=["class_aleatoric"]) == pytest.approx([root, -1, 0, -1])
    assert by_hand(types=["box_epistemic"]) == pytest.approx([0, -1, root, -1])
    assert by_hand(types=["box_aleatoric"]) == [0, -1, 0, -1]
    assert by_hand(types=EPISTEMIC) == pytest.approx([0, -1, math.sqrt(2), -1])
    # images' maxima are summed: 1.22, -0.71 and 0 for image 0, 0, 1.41 and 1.22 for image 2
    both = by_hand(types=["class_aleatoric", "class_epistemic", "box_epistemic"], join="sum")
    assert both == pytest.approx(
        [root - 1 / math.sqrt(2), root - 1 / math.sqrt(2) - 1, math.sqrt(2) + root, root - 1 / math.sqrt(2) - 1]
    )
    assert by_hand(types=["class_aleatoric"], reduction="mean") == pytest.approx([0, -1, 0, -1], abs=1e-12)


def test_images_without_an_object_come_last_by_a_seeded_draw() -> None:
    seen = context(torch.tensor([2, 2]), torch.tensor([0.9, 0.1]), torch.rand(2, 4), 12, 12)
    first, again = MixtureUncertainty().select(seen), MixtureUncertainty().select(seen)
    assert first.index[0] == 3 and torch.equal(first.index, again.index)
    assert first.index[1:].tolist() != sorted(first.index[1:].tolist())  # not by their place in the data set
    assert first.utility.tolist() == [0.0] + [-1.0] * 11


def test_a_pool_without_any_object() -> None:
    for scores in (torch.tensor([0.1, 0.4]), torch.tensor([])):
        seen = context(torch.zeros(len(scores), dtype=torch.long), scores, torch.rand(len(scores), 4), 5, 3)
        query = MixtureUncertainty().select(seen)
        assert len(query.index.unique()) == 3 and query.utility.tolist() == [0.0, 0.0, 0.0]


def test_equal_values_are_no_noise_of_rounding() -> None:
    """0.1 summed and divided is not 0.1: without the rule one would get values of any size."""
    assert torch.equal(z_scores(torch.full((7, 2), 0.1)), torch.zeros(7, 2))
    assert torch.equal(z_scores(torch.rand(1, 4)), torch.zeros(1, 4))
    assert z_scores(torch.zeros(0, 4)).shape == (0, 4)


def test_half_precision_is_normalized_in_double() -> None:
    seen = context(torch.arange(4), torch.ones(4), (HAND + 100).half(), 4, 4)
    exact = context(torch.arange(4), torch.ones(4), HAND.double() + 100, 4, 4)
    torch.testing.assert_close(
        MixtureUncertainty().select(seen).pool_utility, MixtureUncertainty().select(exact).pool_utility
    )


def test_a_head_that_gives_no_such_uncertainty_is_named() -> None:
    values = torch.rand(3, 4)
    values[:, :2] = torch.nan  # a head with a mixture for boxes alone
    seen = context(torch.arange(3), torch.ones(3), values, 3, 1)
    assert len(MixtureUncertainty(BOX).select(seen).index) == 1
    with pytest.raises(ValueError, match="predictions must have class_aleatoric, got NaN: the model's head does not"):
        MixtureUncertainty().select(seen)
    values = torch.rand(3, 4)
    values[1, 3] = torch.inf
    with pytest.raises(ValueError, match="box_epistemic must be finite, got 1 infinite"):
        MixtureUncertainty().select(context(torch.arange(3), torch.ones(3), values, 3, 1))
    values[1, 3] = 1.0
    values[2, 3] = torch.nan  # does not count
    seen = context(torch.arange(3), torch.tensor([1.0, 1.0, 0.0]), values, 3, 1)
    assert len(MixtureUncertainty().select(seen).index) == 1


def test_last_if_empty() -> None:
    assert last_if_empty(torch.zeros(2), torch.tensor([], dtype=torch.long)).tolist() == [0.0, 0.0]
    assert last_if_empty(torch.tensor([4.0, 0.0, 7.0]), torch.tensor([0, 2])).tolist() == [4.0, 3.0, 7.0]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"types": []}, "types must be different ones of class_aleatoric, .*, got \\[\\]"),
        ({"types": ["box_aleatoric", "box_aleatoric"]}, "types must be different ones"),
        ({"types": ["aleatoric"]}, "got \\['aleatoric'\\]"),
        ({"join": "mean"}, "join must be max or sum, got 'mean'"),
        ({"reduction": "median"}, "reduction must be one of max, mean, sum, got 'median'"),
        ({"score_thresh": 1.5}, "score_thresh must be in \\[0, 1\\], got 1.5"),
    ],
)
def test_settings_that_mean_nothing(settings: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        MixtureUncertainty(**settings)  # type: ignore[arg-type]


def test_what_it_needs() -> None:
    assert MixtureUncertainty().needs == Need.UNCERTAINTIES
