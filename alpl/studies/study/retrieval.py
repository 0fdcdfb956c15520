"""Do similar images show the same classes? Retrieval by CCMS and by global similarity (PPAL sec. 4.3, Fig. 8 and 9).

Axes: N test images, A anchors.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, final

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from alpl.acquisition.image_similarity import objects_of
from alpl.acquisition.object_ranking import check_score_thresh
from alpl.boxes.objects import NO_CLASS
from alpl.errors import ConfigError
from alpl.machine.files import whole_file
from alpl.machine.seeding import derive_seed
from alpl.predictions import Need
from alpl.selection.ccms import ccms
from alpl.selection.image_similarity import global_similarity
from alpl.selection.object_match import CosineMatch
from alpl.studies.base import AbstractStudy, Answers
from alpl.studies.pictures import Shown, plot_rows
from alpl.studies.retrieval_figures import plot_correspondence, rank_correlation
from alpl.studies.similar_images import Retrieved, common_classes, retrieve

_PIXELS = 240  # of a picture's longer side
_SHOWN = 3  # images of an anchor and a method in the gallery: the paper's


@final
@dataclass(frozen=True)
class Retrieval(AbstractStudy):
    """For each anchor the most similar other images, and how far they show the anchor's classes (Fig. 8, 9).

    Args:
        neighbors: images that an anchor retrieves.
        anchors: how many images are anchors, drawn with the run's seed; None for all.
        categories: whose classes an image shows, of the ``true`` objects (difficult ones too) or the ``predicted``
            ones; the text says "contained".
        score_thresh: only detections with a higher score count.
        pictures: anchors of the gallery, drawn with the run's seed from those with a detection.

    Raises:
        ConfigError: a value is out of range.
    """

    neighbors: int = 20
    anchors: int | None = None
    categories: Literal["true", "predicted"] = "true"
    score_thresh: float = 0.05
    pictures: int = 4

    needs = Need.BOXES | Need.FEATURES | Need.IMAGE_FEATURES

    def __post_init__(self) -> None:
        for name in ("neighbors", "anchors", "pictures"):
            value = getattr(self, name)
            if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < 1):
                raise ConfigError(f"{name} must be an int >= 1, got {value!r}")
        check_score_thresh(self.score_thresh)
        if self.categories not in ("true", "predicted"):
            raise ConfigError(f"categories must be true or predicted, got {self.categories!r}")

    def write(self, answers: Answers, folder: Path) -> str:
        """Write ``retrieval.csv``, ``correspondence.png`` and ``gallery.png``; see the base class."""
        labels = self.classes_of(answers)
        anchors = self._anchors(len(labels), answers.experiment.seed)
        similar = self.similarities(answers)
        found = {name: retrieve(matrix, anchors, self.neighbors) for name, matrix in similar.items()}
        means = {
            name: (one.similarity.mean(1), common_classes(labels, anchors, one.images)) for name, one in found.items()
        }
        _write_csv(folder / "retrieval.csv", anchors, means)
        points = {name: (one.numpy(), common.numpy()) for name, (one, common) in means.items()}
        number = next(iter(found.values())).images.shape[1]
        _write_png(folder / "correspondence.png", plot_correspondence(points, number))
        if rows := self._gallery(answers, labels, anchors, found):
            _write_png(folder / "gallery.png", plot_rows(rows))
        rhos = {name: rank_correlation(*both) for name, both in points.items()}
        told = (f"{name} {'undefined' if rho is None else f'{rho:.3f}'}" for name, rho in rhos.items())
        return f"Spearman's rho of similarity and classes over {len(anchors)} anchors: {', '.join(told)}"

    def similarities(self, answers: Answers) -> dict[str, Tensor]:
        """Name -> ``Float[N N]``."""
        objects, features = answers.predictions.features, answers.predictions.image_features
        assert objects is not None and features is not None, "FEATURES and IMAGE_FEATURES were declared"
        return {
            "CCMS": ccms(objects_of(answers.predictions, objects, self.score_thresh), CosineMatch()),
            "global": global_similarity(features, answers.module.image_layers),
        }

    def classes_of(self, answers: Answers) -> list[Tensor]:
        """N of ``Long[objects]``."""
        if self.categories == "true":
            return [objects.labels[objects.labels != NO_CLASS] for objects in answers.data.splits.test_objects]
        seen = answers.predictions
        assert seen.labels is not None and seen.scores is not None, "every model gives labels and scores"
        kept = seen.scores > self.score_thresh
        counts = seen.row[kept].bincount(minlength=seen.num_images)
        return list(seen.labels[kept].split(counts.tolist()))

    def _anchors(self, number: int, seed: int) -> Tensor:
        """``Long[A]``, ascending."""
        if number < 2:
            raise ConfigError(f"the test set must have at least two images to retrieve one of them, got {number}")
        if self.anchors is None:
            return torch.arange(number)
        if self.anchors > number:
            raise ConfigError(f"anchors must be <= {number} test images, got {self.anchors}")
        return _drawn(number, seed, "anchors")[: self.anchors].sort().values

    def _gallery(
        self, answers: Answers, labels: Sequence[Tensor], anchors: Tensor, found: Mapping[str, Retrieved]
    ) -> list[list[Shown]]:
        """Give a row an anchor: itself, then what each method retrieves."""
        seen = answers.predictions
        assert seen.scores is not None, "every model gives scores"
        counts = seen.row[seen.scores > self.score_thresh].bincount(minlength=seen.num_images)
        order = _drawn(len(anchors), answers.experiment.seed, "pictures")
        rows = []
        for place in order[counts[anchors[order]] > 0][: self.pictures].tolist():
            row = [_shown(answers, labels, int(anchors[place]), "anchor", 0)]
            for color, (name, one) in enumerate(found.items(), 1):
                pairs = zip(one.images[place, :_SHOWN].tolist(), one.similarity[place, :_SHOWN].tolist(), strict=True)
                row += [_shown(answers, labels, image, f"{name} {similar:.2f}", color) for image, similar in pairs]
            rows.append(row)
        return rows


def _shown(answers: Answers, labels: Sequence[Tensor], image: int, title: str, color: int) -> Shown:
    picture = Image.fromarray(answers.data.splits.test[image].permute(1, 2, 0).contiguous().numpy())
    picture.thumbnail((_PIXELS, _PIXELS), Image.Resampling.LANCZOS)
    names = [answers.data.classes[label] for label in labels[image].unique().tolist()]
    return Shown(np.asarray(picture), title, ", ".join(names) or "no object", color)


def _drawn(number: int, seed: int, what: str) -> Tensor:
    """``Long[number]``: a random order."""
    generator = torch.Generator().manual_seed(derive_seed(seed, "study", "retrieval", what))
    return torch.randperm(number, generator=generator)


def _write_csv(path: Path, anchors: Tensor, means: Mapping[str, tuple[Tensor, Tensor]]) -> None:
    with whole_file(path) as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(["anchor", "similarity", "jaccard", "method"])
        for name, (similarity, jaccard) in means.items():
            columns = zip(anchors.tolist(), similarity.tolist(), jaccard.tolist(), strict=True)
            writer.writerows([anchor, f"{one:.6f}", f"{other:.6f}", name] for anchor, one, other in columns)


def _write_png(path: Path, content: bytes) -> None:
    with whole_file(path, "wb") as stream:
        stream.write(content)
