"""What a trained model says about images, in one form for classification and detection.

Axes: N images, I instances (detections over all N images; I = N in classification), C outputs of the head as
trained, F features, V views (dropout passes, ensemble members).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, TypeAlias, final

import numpy as np
import torch
from torch import Tensor

from alpl.machine.files import read_array, read_object, reading, whole_folder, write_array, write_json
from alpl.predictions.fields import FIELDS
from alpl.predictions.needs import Need
from alpl.predictions.posterior import Form, Posterior

Device: TypeAlias = "torch.device | str"

_BY_IMAGE = frozenset({"index", *(row.name for row in FIELDS if row.in_predictions and row.per == "image")})
_BY_VIEW = frozenset(row.name for row in FIELDS if row.in_predictions and row.per == "view")


@final
@dataclass(frozen=True, eq=False)
class Predictions:
    """Predictions for N images, ragged over I instances. Absent fields were not needed.

    Args:
        index: ``Long[N]`` dataset indices.
        row: ``Long[I]`` which of the N images an instance belongs to, ascending.
        posterior: ``[I C]``.
        labels: ``Long[I]`` predicted classes (foreground numbering: 0 is the first class).
        scores: ``Float[I]`` detection confidence.
        boxes: ``Float[I 4]`` xyxy, absolute pixels of the original image.
        features: ``Float[I F]`` one vector an instance.
        image_features: ``Float[N F]`` one vector an image.
        views: ``[V I C]`` posteriors of several forward passes, aligned by instance: for ``Need.VIEWS`` dropout
            passes or members, for ``Need.FLIP`` the image and its mirror image, for ``Need.AUGMENTED`` the image and
            V - 1 other views of it: there the partner's, NaN where such a view shows nothing.
        predicted_loss: ``Float[N]`` one value an image; only their order has a meaning.
        logits: ``Float[I C]`` before the softmax.
        labeledness: ``Float[N]`` in [0, 1], of a partner: 1 looks labeled.
        uncertainties: ``Float[I 4]``, the columns :data:`~alpl.predictions.UNCERTAINTIES`; a column is NaN where
            the head gives none.
        view_ious: ``Float[I V-1]`` IoU with the partner in each of the other views, NaN where a view shows nothing.
        view_scores: ``Float[N V-1 K]`` the highest score of each class in each of the other views, 0 for none.
    """

    index: Tensor
    row: Tensor
    posterior: Posterior | None = None
    labels: Tensor | None = None
    scores: Tensor | None = None
    boxes: Tensor | None = None
    features: Tensor | None = None
    image_features: Tensor | None = None
    views: Posterior | None = None
    predicted_loss: Tensor | None = None
    uncertainties: Tensor | None = None
    logits: Tensor | None = None
    labeledness: Tensor | None = None
    view_ious: Tensor | None = None
    view_scores: Tensor | None = None

    @property
    def num_images(self) -> int:
        """N."""
        return self.index.numel()

    def to(self, device: Device) -> Predictions:
        """Move every field."""

        def move(value: Tensor | Posterior | None) -> Tensor | Posterior | None:
            return (
                Posterior(value.probs.to(device), value.form)
                if isinstance(value, Posterior)
                else (None if value is None else value.to(device))
            )

        return Predictions(**{f.name: move(getattr(self, f.name)) for f in fields(self)})  # type: ignore[arg-type]

    @staticmethod
    def concat(parts: Sequence[Predictions]) -> Predictions:
        """Join the predictions of several batches; every part must have the same fields.

        Raises:
            ValueError: there is no part, or two parts differ in their fields or in the form of a posterior.
        """
        if not parts:
            raise ValueError("parts must hold at least one Predictions, got none")
        first = parts[0].forms()
        for part in parts[1:]:
            if (forms := part.forms()) != first:
                raise ValueError(f"parts must have the same fields, got {first} and {forms}")
        offsets = np.cumsum([0] + [part.num_images for part in parts])[:-1]
        joined: dict[str, Tensor | Posterior | None] = {
            "row": torch.cat([part.row + int(offset) for part, offset in zip(parts, offsets, strict=True)])
        }
        for field in fields(Predictions):
            values = [getattr(part, field.name) for part in parts]
            if field.name == "row":
                continue
            if values[0] is None:
                joined[field.name] = None
            elif isinstance(values[0], Posterior):
                axis = 1 if field.name in _BY_VIEW else 0
                joined[field.name] = Posterior(torch.cat([v.probs for v in values], axis), values[0].form)
            else:
                joined[field.name] = torch.cat(values)
        return Predictions(**joined)  # type: ignore[arg-type]

    def only(self, needs: Need) -> Predictions:
        """Give the fields that are needed; index, row, labels and scores always."""
        kept = {row.name for row in FIELDS if row.need & needs}
        dropped: dict[str, Any] = {row.name: None for row in FIELDS if row.in_predictions and row.name not in kept}
        return replace(self, **dropped)

    def of(self, images: Tensor) -> Predictions:
        """Give the predictions of some images, none of which may be missing.

        Args:
            images: ``Long[n]`` dataset indices, ascending.

        Raises:
            ValueError: one is missing, or the images of these predictions do not ascend.
        """
        index, images = self.index, images.to(self.index.device)
        if torch.equal(index, images):
            return self
        if not bool((index[1:] > index[:-1]).all()):
            raise ValueError("predictions must be of images by ascending dataset index, each of them once")
        missing = images[~torch.isin(images, index)]
        if len(missing):
            raise ValueError(
                f"predictions must be of all {len(images)} images that were asked about, but those of {len(missing)} "
                f"are missing, images {missing[:5].tolist()}"
            )
        return self.take(torch.searchsorted(index, images))

    def take(self, images: Tensor) -> Predictions:
        """Give the predictions of some images, in the order of ``images`` (``Long[n]``, positions in N).

        Raises:
            ValueError: an image is named more than once.
        """
        if len(set(images.tolist())) != images.numel():
            raise ValueError(f"images must be different positions, got repeats among {images.numel()}")
        position = torch.full_like(self.index, -1)
        position[images] = torch.arange(images.numel(), device=self.index.device)
        kept = (position[self.row] >= 0).nonzero().flatten()
        kept = kept[torch.argsort(position[self.row[kept]], stable=True)]
        chosen: dict[str, Tensor | Posterior | None] = {"index": self.index[images], "row": position[self.row[kept]]}
        for field in fields(self):
            value = getattr(self, field.name)
            if field.name in chosen:
                continue
            if value is None:
                chosen[field.name] = None
            elif field.name in _BY_VIEW:
                chosen[field.name] = Posterior(value.probs[:, kept], value.form)
            else:
                chosen[field.name] = value[images] if field.name in _BY_IMAGE else value[kept]
        return Predictions(**chosen)  # type: ignore[arg-type]

    def slice(self, start: int, stop: int) -> Predictions:
        """Give the predictions of the images at positions ``start`` to ``stop`` of N; views, no copies."""
        first, last = torch.searchsorted(self.row, torch.tensor([start, stop], device=self.row.device)).tolist()
        chosen: dict[str, Tensor | Posterior | None] = {}
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, Posterior):
                chosen[field.name] = Posterior(value.probs[..., first:last, :], value.form)
            elif value is not None:
                chosen[field.name] = value[start:stop] if field.name in _BY_IMAGE else value[first:last]
        return Predictions(**chosen | {"row": self.row[first:last] - start})  # type: ignore[arg-type]

    def save(self, folder: Path) -> None:
        """Write one ``.npy`` a field and a small JSON, the folder whole or not at all."""
        with whole_folder(folder) as temporary:
            for name, array in self.arrays().items():
                write_array(temporary / f"{name}.npy", array)
            write_json(temporary / "fields.json", self.forms())

    @classmethod
    def load(cls, folder: Path, *, memory_map: bool = False) -> Predictions:
        """Read what :meth:`save` wrote, on the CPU; memory-mapped on request, for what is larger than the memory.

        Raises:
            DataError: a file is missing or broken, or does not fit the others.
        """
        loaded: dict[str, Tensor | Posterior] = {}
        with reading(folder, "predictions"):
            for name, form in read_object(folder / "fields.json").items():
                tensor = torch.from_numpy(read_array(folder / f"{name}.npy", memory_map=memory_map))
                if name in _BY_VIEW:
                    tensor = tensor.transpose(0, 1)
                loaded[name] = Posterior(tensor, Form(form)) if form else tensor
            return cls(**loaded)  # type: ignore[arg-type]

    def arrays(self) -> dict[str, np.ndarray]:
        """Give the fields as they are stored: views as ``[I V C]``, so that every file grows along its first axis."""
        stored = {}
        for name in self.forms():
            value = getattr(self, name)
            tensor = value.probs if isinstance(value, Posterior) else value
            stored[name] = (tensor.transpose(0, 1) if name in _BY_VIEW else tensor).cpu().contiguous().numpy()
        return stored

    def forms(self) -> dict[str, str | None]:
        """Name the fields that are there, and the form of those that are posteriors."""
        present = {field.name: getattr(self, field.name) for field in fields(self)}
        return {
            name: value.form.value if isinstance(value, Posterior) else None
            for name, value in present.items()
            if value is not None
        }
