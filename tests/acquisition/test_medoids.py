"""Medoids by each similarity of images: what each looks at, and that the whole is deterministic."""

import pytest
import torch
from rehearsals import rehearse

from alpl.acquisition import (
    AbstractImageSimilarity,
    Ccms,
    Context,
    Entropy,
    GlobalSimilarity,
    JaccardSimilarity,
    KlMatching,
    Medoids,
)
from alpl.errors import ConfigError
from alpl.pool import Pool
from alpl.predictions import Form, Need, Posterior, Predictions
from alpl.selection.ccms import ccms
from alpl.selection.object_match import KlMatch
from alpl.selection.objects import Objects

DETECTOR = Need.POSTERIOR | Need.IMAGE_FEATURES | Need.FEATURES | Need.BOXES


def context(number=40, budget=6, seed=0):
    generator = torch.Generator().manual_seed(5)
    pool = Pool.create(2 * number, torch.arange(0, 2 * number, 2))
    row = torch.arange(number).repeat_interleave(torch.arange(number) % 4)
    probs = (3 * torch.randn(len(row), 5, generator=generator)).softmax(-1)
    unlabeled = Predictions(
        index=pool.unlabeled,
        row=row,
        posterior=Posterior(probs, Form.BACKGROUND),
        labels=probs[:, 1:].argmax(1),
        scores=probs[:, 1:].amax(1),
        features=torch.randn(len(row), 3, generator=generator),
        image_features=torch.randn(number, 6, generator=generator),
    )
    return Context(pool, budget, seed, unlabeled=unlabeled)


class Line(AbstractImageSimilarity):
    """Images lie on a line, at their place in the pool."""

    needs = Need.IMAGE_FEATURES

    def __call__(self, predictions):
        place = torch.arange(predictions.num_images).float()
        return 2 - (place[:, None] - place).abs() / len(place)


def test_medoids_stand_for_parts_of_equal_length():
    query = Medoids(Line()).select(context(number=30, budget=3))
    places = query.index.sort().values // 2
    assert places.diff().min() >= 10 - 3 and places.diff().max() <= 10 + 3
    assert query.utility.dtype == torch.float64 and bool((query.utility > 9 * 1.8 - 4).all())


@pytest.mark.parametrize(
    "similarity",
    [Ccms(), KlMatching(), GlobalSimilarity(2), JaccardSimilarity(), Ccms(0.4, "similar", True, 1e-5)],
    ids=lambda each: type(each).__name__,
)
def test_each_similarity_chooses(similarity):
    acquisition = Medoids(similarity)
    query = acquisition.select(context())
    assert len(set(query.index.tolist())) == 6 and bool(query.utility.isfinite().all())
    again = acquisition.select(context())
    assert torch.equal(query.index, again.index) and torch.equal(query.utility, again.utility)
    others = [acquisition.select(context(seed=seed)).index.tolist() for seed in range(1, 6)]
    assert any(other != query.index.tolist() for other in others)  # the first center is drawn
    rehearse(acquisition, DETECTOR, 4)


def test_only_detections_above_the_threshold_count():
    seen = context().predictions
    kept = seen.scores > 0.7
    objects = (seen.features[kept], seen.labels[kept], seen.scores[kept], seen.row[kept], seen.num_images)
    assert 0 < int(kept.sum()) < len(kept)
    assert torch.equal(Ccms(0.7, "alike")(seen), ccms(Objects(*objects), empty="alike"))
    exactly = float(seen.scores.max())
    assert bool((Ccms(exactly, "alike")(seen) == 2).all())  # a score at the threshold does not count: all are empty


def test_the_posterior_is_matched_within_a_class_or_in_any():
    seen = context().predictions
    objects = (seen.posterior.probs, seen.labels, seen.scores, seen.row, seen.num_images)
    assert torch.equal(KlMatching()(seen), ccms(Objects(*objects), KlMatch()))
    one_class = (seen.posterior.probs, torch.zeros_like(seen.labels), *objects[2:])
    assert torch.equal(
        KlMatching(direction="as_released", any_class=True)(seen), ccms(Objects(*one_class), KlMatch("as_released"))
    )


def test_needs_are_those_of_the_similarity():
    assert Medoids(Ccms()).needs == Need.FEATURES and Medoids(KlMatching()).needs == Need.POSTERIOR


def test_wrong_settings():
    for make, message in [
        (lambda: Medoids(Entropy()), "acquisition.similarity must be a similarity of images, got Entropy"),
        (lambda: Medoids(Ccms(), iterations=-1), "acquisition.iterations must be >= 0, got -1"),
        (lambda: Medoids(Ccms(), ties="last"), "acquisition.ties must be own or as_released"),
        (lambda: Ccms(1.5), "score_thresh must be in"),
        (lambda: Ccms(empty="far"), "empty must be one of dissimilar, alike, similar, got 'far'"),
        (lambda: Ccms(epsilon=-1.0), "epsilon must be finite and >= 0"),
        (lambda: KlMatching(direction="both"), "direction must be symmetric or as_released"),
        (lambda: GlobalSimilarity(0), "num_layers must be >= 1"),
    ]:
        with pytest.raises(ConfigError, match=message):
            make()
