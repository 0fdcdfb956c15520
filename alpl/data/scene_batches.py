"""Batches of partly labeled scenes: images that are read, and augmented with their boxes, one by one in workers.

Axes: B images of a batch, T objects on them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple, Protocol, final

import torch
from torch import Tensor
from torch.utils.data import Dataset, Sampler

from alpl.boxes.objects import AbstractDetectionImages, Objects
from alpl.data.batch import AbstractBatchSampler, Batch
from alpl.data.pair import PairTransform, SecondView
from alpl.machine.seeding import derive_seed


class SceneTransform(Protocol):
    """Image and objects -> the network's input and the objects in its pixels."""

    def __call__(self, image: Tensor, objects: Objects, generator: torch.Generator) -> tuple[Tensor, Objects]:
        """``UInt8[3 H W]`` and its boxes -> ``Float[3 h w]`` and the boxes in pixels of that."""
        ...


class FlatObjects(NamedTuple):
    """The objects of those images of a batch that have targets, ragged: T objects.

    Args:
        row: ``Long[T]`` which of these images an object belongs to, ascending.
        boxes: ``Float[T 4]``.
        labels: ``Long[T]``.
        difficult: ``Bool[T]``.
        level: ``UInt8[T]``, None where all are of level 0; see :class:`alpl.boxes.objects.Objects`.
    """

    row: Tensor
    boxes: Tensor
    labels: Tensor
    difficult: Tensor
    level: Tensor | None = None

    @classmethod
    def join(cls, objects: Sequence[Objects]) -> FlatObjects:
        """Flatten the objects of several images."""
        filled = objects or [Objects.none()]
        counts = torch.tensor([len(each) for each in filled])
        return cls(
            torch.arange(len(filled)).repeat_interleave(counts),
            torch.cat([each.boxes for each in filled]),
            torch.cat([each.labels for each in filled]),
            torch.cat([each.difficult for each in filled]),
            None if all(each.level is None for each in filled) else torch.cat([each.levels for each in filled]),
        )

    def of(self, row: int) -> Objects:
        """Give the objects of one image."""
        chosen = self.row == row
        level = None if self.level is None else self.level[chosen]
        return Objects(self.boxes[chosen], self.labels[chosen], self.difficult[chosen], level)


class Place(NamedTuple):
    """A batch of an epoch: its images, and the seed of its augmentations."""

    index: Tensor  # type: ignore[assignment]  # hides tuple.index, which nobody asks of a place
    seed: int


@final
class SeededBatches(Sampler[Place]):
    """Adds to each batch of a sampler the seed of its augmentations, which follows from epoch and number.

    Worker processes then draw the same whoever of them gets a batch, and whether or not the fit was resumed.

    Args:
        sampler: the batches.
        seed: of the data module.
    """

    def __init__(self, sampler: AbstractBatchSampler, seed: int) -> None:
        self.sampler = sampler
        self.seed = seed

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch that the next iteration gives; Lightning calls this."""
        self.sampler.set_epoch(epoch)

    def __len__(self) -> int:
        return len(self.sampler)

    def __iter__(self) -> Iterator[Place]:
        for number, index in enumerate(self.sampler):
            yield Place(index, derive_seed(self.seed, "augment", self.sampler.epoch, number, self.sampler.rank))


@final
class PartlyLabeledScenes(Dataset[Batch]):
    """Training scenes of which some have objects; holds no objects of any other image.

    Objects that the augmentation leaves without extent in the network's input are left out of its targets: here, for
    all detectors and all augmentations. An image that loses all of them is one without objects.

    Args:
        images: the images.
        labeled: the oracle's objects, by dataset index.
        pseudo: objects that an earlier model found, by dataset index; None where there are no pseudo-labels.
        augment: see :class:`SceneTransform`.
        pad_to: see :func:`pad_images`.
        pair: makes a second view of each augmented image; None for none.
        labeled_pair: makes that of images with objects, labeled or pseudo-labeled, instead; None for the same.

    Raises:
        ValueError: an image has both.
    """

    def __init__(
        self,
        images: AbstractDetectionImages,
        labeled: Mapping[int, Objects],
        pseudo: Mapping[int, Objects] | None,
        augment: SceneTransform,
        pad_to: int = 1,
        pair: PairTransform | None = None,
        labeled_pair: PairTransform | None = None,
    ) -> None:
        if both := labeled.keys() & (pseudo or {}).keys():
            raise ValueError(f"pseudo must not hold labeled images, got {sorted(both)[:5]}")
        self.images = images
        self.augment = augment
        self.pad_to = pad_to
        self.pair, self.labeled_pair = pair, labeled_pair or pair
        self._labeled, self._pseudo = labeled, pseudo
        self._objects = {**labeled, **(pseudo or {})}

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, place: Place) -> Batch:
        scenes, targets, seconds, indices = [], [], [], place.index.tolist()
        for number, index in enumerate(indices):
            objects = self._objects.get(index, Objects.none())
            generator = torch.Generator().manual_seed(derive_seed(place.seed, number))
            scene, moved = self.augment(self.images[index], objects, generator)
            scenes.append(scene)
            if index in self._objects:
                targets.append(moved[moved.extended])
            pair = self.labeled_pair if index in self._objects else self.pair
            if pair is not None:
                # a generator of its own: how many numbers the first view drew depends on the objects
                other = torch.Generator().manual_seed(derive_seed(place.seed, number, "second"))
                seconds.append(pair(scene, other))
        images, shapes = pad_images(scenes, self.pad_to)
        batch = Batch(
            images,
            place.index,
            torch.tensor([index in self._labeled for index in indices], dtype=torch.bool),
            FlatObjects.join(targets),
            augment=True,
            pseudo=None if self._pseudo is None else torch.tensor([index in self._pseudo for index in indices]),
            shapes=shapes,
        )
        return with_second(batch, seconds, self.pad_to) if seconds else batch


@final
class Scenes(Dataset[Batch]):
    """Scenes to predict; their objects, where given, stay in pixels of the original images.

    Args:
        images: the images.
        objects: of each image, or None where they are not to be known.
        resize: ``UInt8[3 H W]`` -> ``Float[3 h w]``, the network's input; what it pads with is its ``fill``
            (``Float[3 1 1]`` or None), where it has one.
        pad_to: see :func:`pad_images`.
    """

    def __init__(
        self,
        images: AbstractDetectionImages,
        objects: Sequence[Objects] | None,
        resize: Callable[[Tensor], Tensor],
        pad_to: int = 1,
    ) -> None:
        self.images = images
        self.objects = objects
        self.resize = resize
        self.pad_to = pad_to

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, place: Place) -> Batch:
        indices = place.index.tolist()
        targets = [] if self.objects is None else [self.objects[index] for index in indices]
        resized = [self.resize(self.images[index]) for index in indices]
        images, shapes = pad_images(resized, self.pad_to, getattr(self.resize, "fill", None))
        return Batch(
            images,
            place.index,
            torch.full((len(indices),), self.objects is not None),
            FlatObjects.join(targets),
            augment=False,
            sizes=self.images.sizes[place.index],
            shapes=shapes,
        )


def with_second(batch: Batch, seconds: Sequence[SecondView], multiple: int) -> Batch:
    """Add a second view of each image.

    Args:
        batch: B images.
        seconds: B, each of the size of its image before padding.
        multiple: see :func:`pad_images`.

    Raises:
        ValueError: a second view has another size than its image.
    """
    second, shapes = pad_images([view.image for view in seconds], multiple)
    own = None if batch.shapes is None else batch.shapes.tolist()
    if second.shape != batch.images.shape or (None if shapes is None else shapes.tolist()) != own:
        raise ValueError(f"second views must be as large as the first, {own}, got {shapes}")
    return batch._replace(second=second, warp=torch.stack([view.warp for view in seconds]))


def pad_images(images: Sequence[Tensor], multiple: int = 1, fill: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
    """Pad images, at the right and bottom, to a common size.

    Args:
        images: B of ``Float[3 h w]``.
        multiple: of it the common height and width are the least multiples that hold every image.
        fill: ``Float[3 1 1]``, what with; zeros where absent.

    Returns:
        ``Float[B 3 H W]``, and ``Long[B 2]`` height and width of each image, or None where nothing was padded.

    >>> padded, shapes = pad_images([torch.ones(3, 2, 5), torch.ones(3, 4, 3)], multiple=4)
    >>> list(padded.shape), shapes.tolist()
    ([2, 3, 4, 8], [[2, 5], [4, 3]])
    """
    shapes = torch.tensor([image.shape[1:] for image in images])
    height, width = (-(-int(side) // multiple) * multiple for side in shapes.amax(0))
    if bool((shapes == torch.tensor([height, width])).all()):
        return torch.stack(list(images)), None
    padded = images[0].new_zeros(len(images), 3, height, width)
    if fill is not None:
        padded += fill
    for row, image in enumerate(images):
        padded[row, :, : image.shape[1], : image.shape[2]] = image
    return padded, shapes
