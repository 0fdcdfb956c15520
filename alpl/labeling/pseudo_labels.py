"""Pseudo-labels: what a trained model is sure of on unlabeled images, as targets of another one.

Elezi et al., sec. 3.2, "Pseudo-labeling to prevent distribution drift", and Table 5; thesis sec. 3.5. The true answers
for these images are seen nowhere here. :mod:`alpl.acquisition.pseudo_labelers` makes them.
"""

from __future__ import annotations

import csv
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, final

import torch
from torch import Tensor

from alpl.boxes.objects import Objects
from alpl.errors import DataError
from alpl.machine.files import reading, whole_file
from alpl.pool import Index


class AbstractPseudoLabels(ABC):
    """Hard labels on unlabeled images."""

    columns: ClassVar[tuple[str, ...]]
    """Of their CSV file; the header tells the forms apart."""

    unit: ClassVar[str]
    """What is labeled: "objects" or "images"."""

    @property
    @abstractmethod
    def index(self) -> Index:
        """``Long[n]`` dataset indices of the images that have any, ascending."""

    @property
    @abstractmethod
    def num_labels(self) -> int:
        """Objects, or images."""

    @abstractmethod
    def save(self, path: Path) -> None:
        """Write a CSV, one label a line; floats as the shortest text that gives the same number."""

    @classmethod
    @abstractmethod
    def of_lines(cls, lines: Sequence[Mapping[str, str]]) -> AbstractPseudoLabels:
        """Make them of what :meth:`save` wrote."""

    @staticmethod
    def load(path: Path) -> AbstractPseudoLabels:
        """Read what :meth:`save` wrote, in either form.

        Raises:
            DataError: the file is neither.
        """
        with reading(path, "pseudo-labels as CSV"), path.open(encoding="utf-8", newline="") as stream:
            reader = csv.DictReader(stream)
            header, lines = tuple(reader.fieldnames or ()), list(reader)
        for form in (PseudoLabels, ImagePseudoLabels):
            if header == form.columns:
                try:
                    return form.of_lines(lines)
                except (RuntimeError, TypeError, ValueError) as error:  # the first: a number that no tensor holds
                    raise DataError(f"{path} is no whole file of pseudo-labels: {error}") from error
        raise DataError(
            f"{path} must begin with {','.join(PseudoLabels.columns)} or {','.join(ImagePseudoLabels.columns)}"
        )


@final
@dataclass(frozen=True, eq=False)
class PseudoLabels(AbstractPseudoLabels):
    """T objects on unlabeled images.

    Args:
        image: ``Long[T]`` dataset index of each object's image, ascending.
        labels: ``Long[T]``, 0 is the first foreground class.
        scores: ``Float[T]`` confidence; for the record, training does not see it.
        boxes: ``Float[T 4]`` xyxy, pixels of the original image.
    """

    columns = ("index", "label", "score", "x1", "y1", "x2", "y2")
    unit = "objects"

    image: Index
    labels: Tensor
    scores: Tensor
    boxes: Tensor

    @cached_property
    def index(self) -> Index:
        """See the base class."""
        index: Tensor = self.image.unique()
        return index

    @property
    def num_labels(self) -> int:
        """T."""
        return len(self.image)

    @cached_property
    def by_image(self) -> dict[int, Objects]:
        """The objects of each image, by dataset index."""
        counts = torch.unique_consecutive(self.image, return_counts=True)[1].tolist()
        objects = zip(self.boxes.split(counts), self.labels.split(counts), strict=True) if counts else ()
        none_difficult = (Objects(b, l, torch.zeros(len(l), dtype=torch.bool)) for b, l in objects)  # noqa: E741
        return dict(zip(self.index.tolist(), none_difficult, strict=True))

    def save(self, path: Path) -> None:
        """See the base class."""
        rows = zip(
            self.image.tolist(),
            self.labels.tolist(),
            self.scores.double().tolist(),
            self.boxes.double().tolist(),
            strict=True,
        )
        _write(path, self.columns, ([image, label, repr(score), *map(repr, box)] for image, label, score, box in rows))

    @classmethod
    def of_lines(cls, lines: Sequence[Mapping[str, str]]) -> PseudoLabels:
        """See the base class."""
        boxes = torch.stack([_column(lines, name, torch.float32) for name in cls.columns[3:]], 1)
        return cls(
            _column(lines, "index", torch.long),
            _column(lines, "label", torch.long),
            _column(lines, "score", torch.float32),
            boxes,
        )


@final
@dataclass(frozen=True, eq=False)
class ImagePseudoLabels(AbstractPseudoLabels):
    """One class for each of n unlabeled images (thesis sec. 3.5).

    Args:
        image: ``Long[n]`` dataset indices, ascending.
        labels: ``Long[n]``.
        certainty: ``Float[n]``, higher = more certain; for the record, training does not see it.
    """

    columns = ("index", "label", "certainty")
    unit = "images"

    image: Index
    labels: Tensor
    certainty: Tensor

    @property
    def index(self) -> Index:
        """See the base class: the images themselves."""
        return self.image

    @property
    def num_labels(self) -> int:
        """N."""
        return len(self.image)

    def save(self, path: Path) -> None:
        """See the base class."""
        rows = zip(self.image.tolist(), self.labels.tolist(), self.certainty.double().tolist(), strict=True)
        _write(path, self.columns, ([index, label, repr(value)] for index, label, value in rows))

    @classmethod
    def of_lines(cls, lines: Sequence[Mapping[str, str]]) -> ImagePseudoLabels:
        """See the base class."""
        return cls(
            _column(lines, "index", torch.long),
            _column(lines, "label", torch.long),
            _column(lines, "certainty", torch.float64),
        )


def _write(path: Path, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    with whole_file(path) as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows(rows)


def _column(lines: Sequence[Mapping[str, str]], name: str, dtype: torch.dtype) -> Tensor:
    return torch.tensor([int(line[name]) if dtype is torch.long else float(line[name]) for line in lines], dtype=dtype)
