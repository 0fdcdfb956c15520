r"""Which :math:`\lambda` class balance wants: a scan on what a run's model predicted (thesis sec. 4.4, Fig. 4.4).

Axes: U unlabeled images, K classes, b images of a query.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import final

from omegaconf import DictConfig
from torch import Tensor

from alpl.acquisition import AbstractRanking, BalancedKCenter, ClassBalanced, Context, KCenter, PseudoLabelBalanced
from alpl.acquisition.base import AbstractAcquisition, Query
from alpl.acquisition.class_balanced import class_shares, lacking
from alpl.data.base import AbstractPoolDataModule
from alpl.errors import ConfigError, DataError
from alpl.experiment import make_experiment
from alpl.labeling.oracle import AbstractOracle
from alpl.machine.files import whole_file, whole_folder
from alpl.machine.seeding import derive_seed
from alpl.pool import Pool
from alpl.predictions import FROM_MODULE, Need, Predictions
from alpl.preflight.checks import check_data
from alpl.report.read.tables import csv_text
from alpl.runs.run_folder import CycleFiles, RunFolder
from alpl.selection.balance_scan import Choice, Measured, centered, greedy, l1_norm, ranked, sufficient_weight
from alpl.selection.class_balance import l1_score
from alpl.selection.pseudo_label_balance import pseudo_label_choice
from alpl.studies.asking import FOLDER, run_config
from alpl.studies.balance_figure import plot_scan

NAME = "balance"


def scan_run(
    run: Path, weights: Sequence[float], cycle: int = 0, changes: DictConfig | None = None
) -> tuple[Path, str]:
    r"""Scan the weights of class balance on a cycle of a run, and write ``balance.csv`` and ``balance.png`` below it.

    The choice of each weight is made anew from the predictions that the run kept; nothing is trained or predicted. What
    is balanced is the run's own acquisition: a ranking, or k-center, with class balance or without. The true classes of
    the chosen images are for the L1 score alone.

    Args:
        run: folder of a run with ``keep_predictions=true`` that has made the query of that cycle.
        weights: ascending, >= 0; the text's (0, 3).
        cycle: the text's is the first, "a model trained on initial labeled samples".
        changes: of the run's config, for data that lie elsewhere now.

    Returns:
        The folder, and a line with :math:`\lambda^*`.

    Raises:
        ConfigError: the acquisition is neither, or ``weights`` are none.
        DataError: there is no such run, cycle or predictions, or its data are others now.
        RunLockedError: another process works in the folder.
    """
    config = run_config(run, changes)
    folder = RunFolder(run)
    files = folder.cycle(cycle)
    if not files.query.exists():
        raise DataError(f"--cycle must be one whose query {run} has made, got {cycle}")
    with folder.locked():
        experiment = make_experiment(config)
        acquisition, needs = _balanced(experiment.acquisition)
        data = experiment.data
        data.prepare_data()
        data.setup("fit")
        check_data(data.fingerprint(), run, may_write=False)
        oracle = experiment.make_oracle(data.take_targets()[1])
        if not oracle.knows_all:
            raise ConfigError("RUN must be simulated for a scan of lambda: a person has answered for the query alone")
        seed = derive_seed(experiment.seed, "select", cycle)
        scan = _Scan(_context(files, needs, data, oracle, seed), acquisition, data, oracle)
        return scan.write(run / FOLDER / NAME, weights)


@final
class _Scan:
    """The choices of one query, and what they are worth.

    Args:
        context: of the query.
        acquisition: a ranking, or k-center.
        data: counts classes.
        oracle: answers for what is chosen.
    """

    def __init__(
        self, context: Context, acquisition: AbstractAcquisition, data: AbstractPoolDataModule, oracle: AbstractOracle
    ) -> None:
        self.context, self.data, self.oracle = context, data, oracle
        self.probs, self.targets = class_shares(context), lacking(context)
        self.title = type(acquisition).__name__
        self.utility: Tensor | None = None
        self.choose: Callable[[float], Choice]
        if isinstance(acquisition, AbstractRanking):
            self.utility = acquisition.utility(context).detach().cpu().double()
            self.choose = ranked(self.utility, self.probs, self.targets, context.budget)
        elif isinstance(acquisition, KCenter) and acquisition.metric != "euclidean":
            self.choose = greedy(partial(acquisition.gain, context), self.probs, self.targets, context.budget)
        else:
            features, centers = _features(context)
            self.choose = centered(features, centers, self.probs, self.targets, context.budget)

    def measured(self, choice: Choice) -> Measured:
        """Measure a choice out of U."""
        counts = self.data.count_classes(self.oracle.annotate(self.context.pool.unlabeled[choice.index]))
        score = l1_score(counts) if int(counts.sum()) else 0.0  # images without an object favor no class
        return Measured(choice.value, l1_norm(self.probs, self.targets, choice.index), score)

    def levels(self) -> dict[str, Measured]:
        """What is chosen without a weight, by name: the lines across Fig. 4.4."""
        found = {self.title: self.measured(self.choose(0.0))}
        if self.utility is not None and self.context.predictions.num_images == len(self.context.predictions.row):
            labels = self.probs.argmax(1)
            index = pseudo_label_choice(self.utility, labels, self.targets, self.context.budget)
            found[f"{self.title}, pseudo-labels balanced"] = self.measured(
                Choice(index, float(self.utility[index].sum()))
            )
        return found

    def write(self, target: Path, weights: Sequence[float]) -> tuple[Path, str]:
        """Scan, and write the folder whole or not at all."""
        choices = [self.choose(weight) for weight in weights]
        found, levels = [self.measured(choice) for choice in choices], self.levels()
        chosen = sufficient_weight(weights, [one.l1 for one in found])
        lines: list[list[object]] = [
            [self.title, f"{weight:g}", one.value, one.l1, one.l1_score, "" if choice.gap is None else choice.gap]
            for weight, one, choice in zip(weights, found, choices, strict=True)
        ]
        lines += [[name, "", one.value, one.l1, one.l1_score, ""] for name, one in levels.items()]
        with whole_folder(target) as temporary:
            with whole_file(temporary / "balance.csv") as stream:
                stream.write(csv_text(["choice", "weight", "value", "l1", "l1_score", "gap"], lines))
            with whole_file(temporary / "balance.png", "wb") as stream:
                stream.write(
                    plot_scan(
                        weights,
                        found,
                        levels,
                        chosen,
                        "sum of distances" if self.utility is None else f"sum of {self.title}",
                    )
                )
        end = f"{len(weights)} weights from {weights[0]:g} to {weights[-1]:g}"
        return target, f"lambda* = {chosen:g}: the smallest of {end} beyond which the l1 norm falls no more (by 1 %)"


def _balanced(acquisition: AbstractAcquisition) -> tuple[AbstractAcquisition, Need]:
    """Give what is balanced in an acquisition, and what of the predictions it needs."""
    inner = acquisition.ranking if isinstance(acquisition, (ClassBalanced, PseudoLabelBalanced)) else acquisition
    if not isinstance(inner, (AbstractRanking, KCenter, BalancedKCenter)):
        raise ConfigError(f"RUN must be of a ranking or of k-center, got {type(acquisition).__name__}")
    needs = BalancedKCenter.needs if isinstance(inner, KCenter) else inner.needs
    if others := needs & ~(FROM_MODULE | Need.LABELED | Need.CLASS_COUNTS):
        raise ConfigError(
            f"RUN must be of a ranking of predictions alone, {type(inner).__name__} needs {others.names()}"
        )
    return inner, needs | Need.POSTERIOR


def _context(
    files: CycleFiles, needs: Need, data: AbstractPoolDataModule, oracle: AbstractOracle, seed: int
) -> Context:
    pool = Pool.load(files.pool)
    parts: dict[str, Predictions] = {}
    for name, index in {"unlabeled": pool.unlabeled, "labeled": pool.labeled}.items():
        if name == "labeled" and Need.LABELED not in needs:
            continue
        if not files.predictions(name).exists():
            raise DataError(f"{files.predictions(name)} is not there: keep_predictions=true keeps what a query saw")
        parts[name] = Predictions.load(files.predictions(name), memory_map=True).of(index)
    if parts["unlabeled"].posterior is None:
        raise DataError(f"{files.predictions('unlabeled')} holds no posterior: informativeness=true has it recorded")
    counts = data.count_classes(oracle.annotate(pool.labeled))
    budget = len(Query.load(files.query).index)
    return Context(pool, budget, seed, parts["unlabeled"], parts.get("labeled"), class_counts=counts)


def _features(context: Context) -> tuple[Tensor, Tensor]:
    assert context.labeled is not None, "Need.LABELED was declared"
    features, centers = context.predictions.image_features, context.labeled.image_features
    assert features is not None and centers is not None, "Need.IMAGE_FEATURES was declared"
    return features, centers
