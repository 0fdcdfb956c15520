"""Do the four uncertainties of a mixture head rank wrong detections above right ones? On digit scenes, small SSD.

    python tests/benchmarks/uncertainties.py [--heads gmm eff] [--seeds 0 1 2] [--budget 100] [--score-thresh 0.5]

For each head and seed one network is trained on the initial set of data=digit_scenes and looks at the unlabeled images.
A detection counts from a score of --score-thresh. It is right if an object of its class that no detection of higher
score has taken overlaps it by at least 0.5. Printed: the area under the ROC curve of each type (0.5 is chance), means
over the seeds; and the common images of the queries that the four types make, as AL-MDN's Table 3.
"""

from __future__ import annotations

import argparse
import logging
import warnings
from collections.abc import Sequence
from itertools import product

import torch
from lightning.pytorch import Trainer
from omegaconf import open_dict
from sklearn.metrics import roc_auc_score
from torch import Tensor
from torchvision.ops import box_iou

from alpl.acquisition import Context, MixtureUncertainty
from alpl.data.objects import Objects
from alpl.main import make_experiment
from alpl.pool import Pool
from alpl.predictions import UNCERTAINTIES, Need, Predictions
from alpl.seeding import seed_all
from alpl.sweep import compose_job

IOU_THRESH = 0.5


def trained(head: str, seed: int) -> tuple[Pool, Predictions, list[Objects]]:
    """Train on the initial set; give the predictions of the unlabeled images and what is on them."""
    config = compose_job(["data=digit_scenes", f"model/head@model.network={head}", f"seed={seed}"])
    with open_dict(config):
        del config["hydra"]
    experiment = make_experiment(config)
    data = experiment.data
    data.setup("fit")
    candidates, targets = data.take_targets()
    oracle = experiment.make_oracle(targets)
    pool = Pool.create(data.num_images, experiment.schedule.initial.draw(candidates))
    seed_all(seed)
    module = experiment.make_module(**data.module_arguments)
    trainer: Trainer = experiment.make_trainer(
        logger=False, enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False,
        limit_val_batches=0,
    )  # fmt: skip
    trainer.fit(module, datamodule=data.with_pool(pool, oracle.annotate(pool.labeled)))
    module.needs = Need.UNCERTAINTIES | Need.BOXES
    parts = trainer.predict(module, datamodule=data.observing(pool.unlabeled))
    assert parts is not None
    return pool, Predictions.concat(parts), oracle.annotate(pool.unlabeled)


def right(seen: Predictions, truth: Sequence[Objects]) -> Tensor:
    """``Bool[I]``: detections that find an object, by falling score."""
    assert seen.boxes is not None and seen.labels is not None and seen.scores is not None
    found = torch.zeros(len(seen.row), dtype=torch.bool)
    for image, objects in enumerate(truth):
        here = (seen.row == image).nonzero().flatten()
        free = torch.ones(len(objects), dtype=torch.bool)
        for one in here[seen.scores[here].argsort(descending=True)].tolist():
            overlaps = box_iou(seen.boxes[one : one + 1].double(), objects.boxes.double())[0]
            overlaps = overlaps.where(free & (objects.labels == seen.labels[one]), -1.0)
            if len(overlaps) and overlaps.max() >= IOU_THRESH:
                found[one], free[overlaps.argmax()] = True, False
    return found


def overlaps(pool: Pool, seen: Predictions, budget: int, score_thresh: float) -> Tensor:
    """``Float[4 4]``: share of common images of two types' queries."""
    context = Context(pool=pool, budget=budget, seed=0, unlabeled=seen)
    each = [MixtureUncertainty([name], score_thresh=score_thresh) for name in UNCERTAINTIES]
    queries = [set(one.select(context).index.tolist()) for one in each]
    return torch.tensor([[len(a & b) / budget for b in queries] for a in queries])


def main() -> None:
    """Train, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--heads", nargs="+", default=["gmm", "eff"])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--budget", type=int, default=100)
    parser.add_argument("--score-thresh", type=float, default=0.5)
    given = parser.parse_args()
    warnings.simplefilter("ignore")
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    for head in given.heads:
        areas, shares = [], []
        for seed in given.seeds:
            pool, seen, truth = trained(head, seed)
            assert seen.scores is not None and seen.uncertainties is not None
            counts = seen.scores >= given.score_thresh
            wrong = ~right(seen, truth)[counts]
            print(
                f"{head}, seed {seed}: {int(counts.sum())} detections count, {int(wrong.sum())} are wrong", flush=True
            )
            if not 0 < int(wrong.sum()) < len(wrong):
                continue  # no pair of a wrong and a right one
            ranked = (*seen.uncertainties[counts].T, 1 - seen.scores[counts])
            areas.append([float(roc_auc_score(wrong, column)) for column in ranked])
            shares.append(overlaps(pool, seen, given.budget, given.score_thresh))
        if areas:
            _print(head, torch.tensor(areas), torch.stack(shares), given.budget / len(pool.unlabeled))


def _print(head: str, areas: Tensor, shares: Tensor, chance: float) -> None:
    print(f"{head}: area under the ROC curve, mean and range over {len(areas)} seeds")
    for name, column in zip((*UNCERTAINTIES, "1 - score"), areas.T, strict=True):
        print(f"  {name:18s}{column.mean():.3f}  ({column.min():.3f} to {column.max():.3f})")
    print(f"{head}: common images (%), by chance {100 * chance:.0f}")
    for (line, name), (column, other) in product(enumerate(UNCERTAINTIES), repeat=2):
        if line < column:
            print(f"  {name:18s}{other:18s}{100 * shares[:, line, column].mean():4.0f}")


if __name__ == "__main__":
    main()
