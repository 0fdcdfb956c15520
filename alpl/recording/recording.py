"""What a cycle leaves for the report alone: counts, class balance, informativeness, galleries and embeddings.

The loop goes on without any of it.
"""

from __future__ import annotations

from pathlib import Path
from typing import final

import torch
from torch import Tensor

from alpl.acquisition.base import Query
from alpl.data.scenes import SceneDataModule
from alpl.errors import ConfigError
from alpl.experiment import Experiment
from alpl.labeling.oracle import AbstractOracle
from alpl.labeling.pseudo_labels import AbstractPseudoLabels, ImagePseudoLabels
from alpl.machine.files import whole_folder, write_array
from alpl.machine.seeding import derive_seed
from alpl.metrics.class_balance import balance_metrics
from alpl.modules.base import AbstractModule
from alpl.pool import Pool
from alpl.predictions import FROM_MODULE, Need, Predictions
from alpl.recording.embedding import record_embedding
from alpl.recording.gallery import record_gallery
from alpl.runs.run_folder import CycleFiles


@final
class Recording:
    """Records what an experiment asks for.

    Args:
        experiment: its options ``informativeness``, ``gallery`` and ``embedding`` say what.
        oracle: answers for the images that are counted, and says whether the model was right.
    """

    def __init__(self, experiment: Experiment, oracle: AbstractOracle) -> None:
        self.experiment = experiment
        self.oracle = oracle

    def needs(self, others: Need, module: AbstractModule) -> Need:
        """Give what the predictions must hold for it.

        Args:
            others: what they hold anyway.
            module: makes them.

        Raises:
            ConfigError: it cannot make what an embedding is made of.
        """
        needs = Need.NOTHING
        if self.experiment.informativeness:
            needs |= Need.POSTERIOR
        if not self.oracle.knows_all:  # a person sees what the model says
            needs |= Need.POSTERIOR | (Need.BOXES & module.provides)
        if self.experiment.gallery and (others | needs) & FROM_MODULE:  # no inference pass for pictures alone
            needs |= Need.BOXES & module.provides
        if self.experiment.embedding:
            if Need.IMAGE_FEATURES not in module.provides:
                raise ConfigError(f"embedding must be 0: {type(module).__name__} provides no image features")
            needs |= Need.IMAGE_FEATURES
        return needs

    # --- of a test

    def class_counts(self, pool: Pool) -> Tensor:
        """``Long[K]``: what is labeled, by class."""
        return self.experiment.data.count_classes(self.oracle.annotate(pool.labeled))

    def counts(self, pool: Pool, pseudo: AbstractPseudoLabels | None) -> dict[str, int | float]:
        """Count the images and objects that the training saw: labeled ones, and pseudo-labels where they are on."""
        counts: dict[str, int | float] = {"num_labeled": pool.num_labeled}
        is_detection = isinstance(self.experiment.data, SceneDataModule)  # elsewhere an image is one label
        if is_detection:
            counts["num_labeled_objects"] = int(self.class_counts(pool).sum())
        if self.experiment.pseudo_labels is None and self.experiment.learner.labeler is None:
            return counts
        counts["num_pseudo_images"] = 0 if pseudo is None else len(pseudo.index)
        if is_detection:  # Elezi et al., Fig. 5b
            counts["num_pseudo_objects"] = 0 if pseudo is None else pseudo.num_labels
        if isinstance(pseudo, ImagePseudoLabels) and len(pseudo.index) and self.oracle.knows_all:
            right = pseudo.labels == self.oracle.annotate(pseudo.index)  # for the report alone
            counts["share_pseudo_right"] = float(right.double().mean())
        return counts

    def balance(self, pool: Pool, cycle: int) -> dict[str, float | list[int]]:
        """Measure how unevenly the classes were chosen: what this cycle added, and all that is labeled.

        The counts behind the scores stand beside them, as lists of K: they stay in ``metrics.json``, as
        ``metrics.csv`` takes numbers alone.
        """
        query = self.oracle.annotate((pool.cycle == cycle).nonzero().flatten())
        added, labeled = self.experiment.data.count_classes(query), self.class_counts(pool)
        counts = {"class_counts_added": added.tolist(), "class_counts": labeled.tolist()}
        return counts | balance_metrics(added, labeled)

    # --- of a query

    def write(self, cycle: int, files: CycleFiles, pool: Pool, query: Query, seen: Path, needs: Need) -> None:
        """Write all that is asked for.

        Args:
            cycle: of the query.
            files: of the cycle.
            pool: out of whose unlabeled images the query chose.
            query: as the acquisition gave it.
            seen: where predictions of unlabeled images lie, the queried ones among them.
            needs: what they hold.
        """
        if self.experiment.informativeness and self.oracle.knows_all:
            self._write_informativeness(files, pool, query, seen)
        if Need.BOXES in needs and self.experiment.gallery:
            self._write_gallery(files, query, seen)
        if self.experiment.embedding:
            self._write_embedding(cycle, files, query, seen)

    def _write_informativeness(self, files: CycleFiles, pool: Pool, query: Query, seen: Path) -> None:
        """Write what thesis Fig. 3.3 to 3.5 are made of."""
        predicted = Predictions.load(seen, memory_map=True).of(pool.unlabeled).labels
        assert predicted is not None, "every module gives labels"
        correct = predicted == self.oracle.annotate(pool.unlabeled)
        with whole_folder(files.informativeness) as folder:
            write_array(folder / "correct.npy", correct.numpy())
            write_array(folder / "chosen.npy", torch.searchsorted(pool.unlabeled, query.index).numpy())
            if query.pool_utility is not None:
                write_array(folder / "utility.npy", query.pool_utility.numpy())

    def _write_gallery(self, files: CycleFiles, query: Query, seen: Path) -> None:
        """Keep pictures of the first queried images, with what the acquisition saw on them."""
        data = self.experiment.data
        assert isinstance(data, SceneDataModule), "only detectors provide boxes"
        predictions = Predictions.load(seen, memory_map=True)
        limit = self.experiment.gallery
        record_gallery(files.gallery, query, predictions, data.training_images, data.classes, limit=limit)

    def _write_embedding(self, cycle: int, files: CycleFiles, query: Query, seen: Path) -> None:
        """Keep what a t-SNE of the selection is made of."""
        predictions = Predictions.load(seen, memory_map=True)
        if predictions.image_features is None:
            return  # it was turned on when this cycle's predictions were there already
        seed = derive_seed(self.experiment.seed, "embedding", cycle)
        record_embedding(files.embedding, query, predictions, limit=self.experiment.embedding, seed=seed)
