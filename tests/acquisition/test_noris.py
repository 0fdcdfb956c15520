"""NORIS as an acquisition: what it takes from the context."""

import pytest
import torch
from rehearsals import rehearse

from alpl.acquisition import Context, DetectionUncertainty, KCenter, LeastConfidence, Noris, ObjectNoris
from alpl.errors import ConfigError
from alpl.pool import Pool
from alpl.predictions import Form, Need, Posterior, Predictions
from alpl.selection.image_distance import FeatureDistance
from alpl.selection.noris import Kernel, noris
from alpl.selection.object_distance import ObjectDistance

CLASSIFIER = Need.POSTERIOR | Need.IMAGE_FEATURES
DETECTOR = CLASSIFIER | Need.FEATURES | Need.BOXES


def context(counts, budget=5):
    generator = torch.Generator().manual_seed(2)
    number = len(counts)
    pool = Pool.create(2 * number, torch.arange(0, 2 * number, 2))
    row = torch.arange(number).repeat_interleave(torch.tensor(counts))
    probs = (2 * torch.randn(len(row), 4, generator=generator)).softmax(-1)
    unlabeled = Predictions(
        index=pool.unlabeled,
        row=row,
        posterior=Posterior(probs, Form.SOFTMAX if set(counts) == {1} else Form.BACKGROUND),
        labels=probs.argmax(1),
        scores=probs.amax(1),
        features=torch.randn(len(row), 3, generator=generator),
        image_features=torch.randn(number, 6, generator=generator),
    )
    return Context(pool, budget, seed=0, unlabeled=unlabeled)


@pytest.mark.parametrize("variant", ["sum", "max", "sum_equation_7", "max_equation_8"])
def test_classification(variant):
    whole = context([1] * 20)
    query = Noris(LeastConfidence(), variant, "linear", 0.3).select(whole)
    information = 1 - whole.predictions.posterior.probs.amax(1)
    distance = FeatureDistance(whole.predictions.image_features)
    picks, values = noris(information, distance, 5, variant=variant, kernel=Kernel("linear", 0.3))
    assert torch.equal(query.index, 2 * picks + 1) and torch.equal(query.utility, values)
    torch.testing.assert_close(query.pool_utility, information.double())
    rehearse(Noris(LeastConfidence(), variant), CLASSIFIER, 4)


@pytest.mark.parametrize("metric", ["squared_euclidean", "cosine"])
@pytest.mark.parametrize("aggregation", ["maximum", "average"])
@pytest.mark.parametrize(("image_features", "empty"), [(True, "image"), (False, "typical")])
def test_detection(metric, aggregation, image_features, empty):
    whole = context([0, 1, 2, 5, 3] * 5, budget=7)
    ranking = DetectionUncertainty("least_confidence", "sum")
    options = {"metric": metric, "aggregation": aggregation, "empty": empty}
    acquisition = ObjectNoris(ranking, score_thresh=0.6, image_features=image_features, **options)
    query = acquisition.select(whole)
    seen = whole.predictions
    kept = seen.scores >= 0.6
    assert 0 < int(kept.sum()) < len(kept)
    of_images = (
        {"image_features": seen.image_features} if image_features else {"image_features": None, "num_images": 25}
    )
    distance = ObjectDistance(seen.features[kept], seen.row[kept], **of_images, **options)
    picks, values = noris(ranking.utility(whole), distance, 7)
    assert torch.equal(query.index, 2 * picks + 1) and torch.equal(query.utility, values)
    rehearse(acquisition, DETECTOR if image_features else DETECTOR & ~Need.IMAGE_FEATURES, 4)


def test_needs():
    assert Noris(LeastConfidence()).needs == Need.POSTERIOR | Need.IMAGE_FEATURES
    assert ObjectNoris(DetectionUncertainty()).needs == Need.POSTERIOR | Need.IMAGE_FEATURES | Need.FEATURES
    without = ObjectNoris(DetectionUncertainty(), image_features=False, empty="typical")
    assert without.needs == Need.POSTERIOR | Need.FEATURES


def test_wrong_settings():
    for make, message in [
        (lambda: Noris(KCenter()), "acquisition.information must give each image a utility, got KCenter"),
        (lambda: Noris(LeastConfidence(), "mean"), "acquisition.variant must be one of sum, max"),
        (lambda: Noris(LeastConfidence(), "sum", "cosine"), "similarity must be gaussian or linear"),
        (lambda: Noris(LeastConfidence(), alpha=2.0), "alpha must be in"),
        (lambda: ObjectNoris(LeastConfidence(), empty="far"), "acquisition.empty must be one of image, typical"),
        (lambda: ObjectNoris(LeastConfidence(), score_thresh=2.0), "score_thresh must be in"),
        (lambda: ObjectNoris(LeastConfidence(), metric="city"), "acquisition.metric must be one of squared_euclidean"),
        (lambda: ObjectNoris(LeastConfidence(), aggregation="sum"), "acquisition.aggregation must be one of maximum"),
        (lambda: ObjectNoris(LeastConfidence(), image_features=False), "acquisition.empty must be typical where"),
    ]:
        with pytest.raises(ConfigError, match=message):
            make()


def test_negative_information_is_refused():
    with pytest.raises(ValueError, match="information must be finite and >= 0"):
        Noris(DetectionUncertainty(empty=-1.0)).select(context([0, 1, 1]))
