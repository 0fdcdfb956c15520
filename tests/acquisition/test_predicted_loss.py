import torch
from rehearsals import rehearse

from alpl.acquisition import Context, PredictedLoss
from alpl.pool import Pool
from alpl.predictions import Need, Predictions


def test_the_highest_predicted_losses_are_chosen():
    pool = Pool.create(6, torch.tensor([2]))
    none = torch.zeros(0, dtype=torch.long)  # no detection: the value is the image's
    predictions = Predictions(pool.unlabeled, none, predicted_loss=torch.tensor([0.5, -1.0, 3.0, 2.0, 0.0]))
    query = PredictedLoss().select(Context(pool, budget=2, seed=0, unlabeled=predictions))
    assert query.index.tolist() == [3, 4] and query.utility.tolist() == [3.0, 2.0]


def test_it_passes_the_rehearsal():
    rehearse(PredictedLoss(), Need.PREDICTED_LOSS | Need.BOXES, num_classes=3)
