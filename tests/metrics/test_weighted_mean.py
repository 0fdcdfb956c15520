import pytest
import torch
from torchmetrics import MeanMetric

from alpl.metrics.weighted_mean import WeightedMean


def test_it_is_the_mean_over_all_images():
    ours, theirs = WeightedMean(), MeanMetric()
    for value, weight in ((0.1, 3), (2.7, 16), (1.3, 1)):
        ours.update(torch.tensor(value), weight)
        theirs.update(torch.tensor(value), weight)
    assert float(ours.compute()) == float(theirs.compute()) == pytest.approx((0.3 + 43.2 + 1.3) / 20)


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_of_nothing_and_of_nan_it_is_nan():
    mean = WeightedMean()
    assert mean.compute().isnan()
    mean.reset()
    mean.update(torch.tensor(float("nan")), 2)
    assert mean.compute().isnan()
