"""Do the four uncertainties of a mixture head rank wrong detections above right ones? On digit scenes, small SSD.

    python tests/benchmarks/uncertainties.py [--heads gmm eff] [--seeds 0 1] [--labels 3000] [--steps 3600]
        [--unlabeled 300] [--score-thresh 0.5] [--budget 100]

For each head and seed one network is trained on --labels scenes for --steps steps and looks at --unlabeled other ones.
A detection counts from a score of --score-thresh. Printed, for each type and for 1 - score, as means (and ranges) over
the seeds: areas under the ROC curve (0.5 is chance) of all wrong detections, and of those of each cause (causes.py),
against the right ones (nan where a seed has none); Spearman's correlation with 1 - IoU over the detections that touch
an object; medians of right and wrong detections. And the common images of the queries that the four types make, as
AL-MDN's Table 3.
"""

from __future__ import annotations

import argparse
import logging
import warnings
from itertools import product

import torch
from causes import BACKGROUND, BOX, CAUSES, CLASS, RIGHT, TOUCHED, Judgment, judge
from lightning.pytorch import Trainer
from omegaconf import open_dict
from scipy.stats import spearmanr
from sklearn.metrics import roc_auc_score
from torch import Tensor

from alpl.acquisition import Context, MixtureUncertainty
from alpl.commands.sweep import compose_job
from alpl.experiment import make_experiment
from alpl.machine.seeding import seed_all
from alpl.pool import Pool
from alpl.predictions import UNCERTAINTIES, Need, Predictions

AREAS = {"wrong": (), "class": (CLASS,), "box": (BOX,), "background": (BACKGROUND,)}
ROWS = (*UNCERTAINTIES, "1 - score")


def trained(head: str, seed: int, labels: int, steps: int, unlabeled: int) -> tuple[Pool, Predictions, Judgment]:
    """Train on the initial set; give the detections in the unlabeled images, and what they are."""
    config = compose_job(
        [
            "data=digit_scenes",
            f"model/head@model.network={head}",
            f"seed={seed}",
            f"trainer.max_steps={steps}",
            f"schedule.initial.size={labels}",
            f"+data.source.num_train={labels + unlabeled}",
        ]
    )
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
    seen = Predictions.concat(parts)
    return pool, seen, judge(seen, oracle.annotate(pool.unlabeled))


def measured(values: Tensor, judgment: Judgment) -> list[float]:
    """Areas by :data:`AREAS`, correlation, and two medians; NaN where there is nothing to compare.

    Args:
        values: ``Float[J]`` of the detections that count.
        judgment: of the same ones.
    """
    cause, overlap = judgment
    right, touching = cause == RIGHT, overlap >= TOUCHED
    areas = []
    for causes in AREAS.values():
        wrong = torch.isin(cause, torch.tensor(causes)) if causes else ~right
        both = right | wrong
        comparable = bool(wrong.any()) and bool(right.any())
        areas.append(float(roc_auc_score(wrong[both], values[both])) if comparable else torch.nan)
    spearman = float(spearmanr(values[touching], 1 - overlap[touching]).statistic)
    return [*areas, spearman, float(values[right].median()), float(values[~right].median())]


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
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1])
    for name, default in (("labels", 3000), ("steps", 3600), ("unlabeled", 300), ("budget", 100)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--score-thresh", type=float, nargs="+", default=[0.5])
    given = parser.parse_args()
    warnings.simplefilter("ignore")
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    for head in given.heads:
        tables: dict[float, list[list[list[float]]]] = {thresh: [] for thresh in given.score_thresh}
        shares: dict[float, list[Tensor]] = {thresh: [] for thresh in given.score_thresh}
        for seed in given.seeds:
            pool, seen, judgment = trained(head, seed, given.labels, given.steps, given.unlabeled)
            assert seen.scores is not None and seen.uncertainties is not None
            for thresh in given.score_thresh:
                counts = seen.scores >= thresh
                counted = Judgment(judgment.cause[counts], judgment.overlap[counts])
                numbers = zip(CAUSES, counted.cause.bincount(minlength=len(CAUSES)).tolist(), strict=True)
                text = ", ".join(f"{number} {name}" for name, number in numbers)
                print(f"{head}, seed {seed}, score >= {thresh}: {text}", flush=True)
                columns = (*seen.uncertainties[counts].T, 1 - seen.scores[counts])
                tables[thresh].append([measured(column, counted) for column in columns])
                shares[thresh].append(overlaps(pool, seen, given.budget, thresh))
        for thresh in given.score_thresh:
            print(f"{head}, score >= {thresh}: mean (and range) over {len(given.seeds)} seeds")
            _print_table(torch.tensor(tables[thresh]))
            _print_shares(torch.stack(shares[thresh]).mean(0), given.budget / given.unlabeled)


def _print_table(values: Tensor) -> None:
    """``Float[S R 7]``."""
    print(f"  {'':18s}" + "".join(f"{name:24s}" for name in (*AREAS, "Spearman, 1 - IoU")) + "median right, wrong")
    for row, name in enumerate(ROWS):
        columns = values[:, row].T
        cells = [f"{one.mean():.2f} ({one.min():.2f} to {one.max():.2f})" for one in columns[:-2]]
        medians = " ".join(f"{one.mean():.2g}" for one in columns[-2:])
        print(f"  {name:18s}" + "".join(f"{cell:24s}" for cell in cells) + medians, flush=True)


def _print_shares(shares: Tensor, chance: float) -> None:
    print(f"  common images (%), by chance {100 * chance:.0f}")
    for (line, name), (column, other) in product(enumerate(UNCERTAINTIES), repeat=2):
        if line < column:
            print(f"  {name:18s}{other:18s}{100 * shares[line, column]:4.0f}", flush=True)


if __name__ == "__main__":
    main()
