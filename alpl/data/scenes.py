"""The data module of detection: images that are read, and augmented with their boxes, one by one in workers."""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Literal, NamedTuple, Protocol, final

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from alpl.data.base import AbstractPoolDataModule
from alpl.data.batch import (
    AbstractBatchSampler,
    Batch,
    ShardSampler,
    batch_loader,
    check_labeled_fraction,
    training_sampler,
)
from alpl.data.objects import AbstractDetectionImages, AbstractDetectionSource, DetectionSplits, Objects
from alpl.errors import ConfigError
from alpl.pool import Index, Pool
from alpl.schedule import Candidates
from alpl.seeding import derive_seed


class SceneTransform(Protocol):
    """Image and objects -> the network's input and the objects in its pixels."""

    def __call__(self, image: Tensor, objects: Objects, generator: torch.Generator) -> tuple[Tensor, Objects]:
        """``UInt8[3 H W]`` and its boxes -> ``Float[3 S S]`` and the boxes in pixels of that."""
        ...


class FlatObjects(NamedTuple):
    """The objects of the labeled images of a batch, ragged: T objects.

    Args:
        row: ``Long[T]`` which of the batch's labeled images an object belongs to, ascending.
        boxes: ``Float[T 4]``.
        labels: ``Long[T]``.
        difficult: ``Bool[T]``.
    """

    row: Tensor
    boxes: Tensor
    labels: Tensor
    difficult: Tensor

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
        )

    def of(self, row: int) -> Objects:
        """Give the objects of one image."""
        chosen = self.row == row
        return Objects(self.boxes[chosen], self.labels[chosen], self.difficult[chosen])


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

    Args:
        images: the images.
        labeled: ``Long[L]`` dataset indices of the labeled images.
        objects: L, their objects.
        augment: see :class:`SceneTransform`.
    """

    def __init__(
        self, images: AbstractDetectionImages, labeled: Index, objects: Sequence[Objects], augment: SceneTransform
    ) -> None:
        if len(labeled) != len(objects):
            raise ValueError(f"objects must hold one entry per labeled image ({len(labeled)}), got {len(objects)}")
        self.images = images
        self.augment = augment
        self._objects = dict(zip(labeled.tolist(), objects, strict=True))

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, place: Place) -> Batch:
        scenes, targets = [], []
        labeled = torch.tensor([index in self._objects for index in place.index.tolist()], dtype=torch.bool)
        for number, index in enumerate(place.index.tolist()):
            objects = self._objects.get(index, Objects.none())
            generator = torch.Generator().manual_seed(derive_seed(place.seed, number))
            scene, moved = self.augment(self.images[index], objects, generator)
            scenes.append(scene)
            if index in self._objects:
                targets.append(moved)
        return Batch(torch.stack(scenes), place.index, labeled, FlatObjects.join(targets), augment=True)


@final
class Scenes(Dataset[Batch]):
    """Scenes to predict; their objects, where given, stay in pixels of the original images.

    Args:
        images: the images.
        objects: of each image, or None where they are not to be known.
        resize: ``UInt8[3 H W]`` -> ``Float[3 S S]``, the network's input.
    """

    def __init__(
        self, images: AbstractDetectionImages, objects: Sequence[Objects] | None, resize: Callable[[Tensor], Tensor]
    ) -> None:
        self.images = images
        self.objects = objects
        self.resize = resize

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, place: Place) -> Batch:
        indices = place.index.tolist()
        targets = [] if self.objects is None else [self.objects[index] for index in indices]
        return Batch(
            torch.stack([self.resize(self.images[index]) for index in indices]),
            place.index,
            torch.full((len(indices),), self.objects is not None),
            FlatObjects.join(targets),
            augment=False,
            sizes=self.images.sizes[place.index],
        )


@final
class ObjectLookup:
    """The objects of all training images, by dataset index; what an oracle answers from."""

    def __init__(self, objects: Sequence[Objects]) -> None:
        self._objects = objects

    def __len__(self) -> int:
        return len(self._objects)

    def __getitem__(self, index: Index) -> list[Objects]:
        return [self._objects[position] for position in index.tolist()]


@final
class SceneDataModule(AbstractPoolDataModule):
    """A detection data set; see :class:`AbstractPoolDataModule`.

    Args:
        source: reads the data set.
        augment: transform of training images.
        resize: ``UInt8[3 H W]`` -> ``Float[3 S S]``: the network's input without augmentation, for all other images.
        batch_size: images per process and training step.
        labeled_fraction: as in :class:`alpl.data.datamodule.ImageDataModule`.
        eval_batch_size: images per process in evaluation and prediction.
        num_workers: processes that read and augment; 0 for none.
        seed: of batches and augmentations.

    Raises:
        ConfigError: a value is out of range.
    """

    def __init__(
        self,
        source: AbstractDetectionSource,
        augment: SceneTransform,
        resize: Callable[[Tensor], Tensor],
        *,
        batch_size: int,
        labeled_fraction: float | Literal["random"] = 1.0,
        eval_batch_size: int = 32,
        num_workers: int = 0,
        seed: int,
    ) -> None:
        super().__init__()
        for name, value, least in (
            ("batch_size", batch_size, 1),
            ("eval_batch_size", eval_batch_size, 1),
            ("num_workers", num_workers, 0),
        ):
            if isinstance(value, bool) or not isinstance(value, int) or value < least:
                raise ConfigError(f"data.{name} must be an int >= {least}, got {value!r}")
        check_labeled_fraction(labeled_fraction, batch_size)
        self.allow_zero_length_dataloader_with_multiple_devices = True  # a pool may have fewer images than processes
        self.source = source
        self.augment = augment
        self.resize = resize
        self.batch_size = batch_size
        self.labeled_fraction = labeled_fraction
        self.eval_batch_size = eval_batch_size
        self.num_workers = num_workers
        self.seed = seed
        self._splits: DetectionSplits | None = None
        self._targets_taken = False
        self._pool: Pool | None = None
        self._labeled_objects: Sequence[Objects] = ()
        self._observed: Index | None = None

    # --- reading

    def prepare_data(self) -> None:
        """Download, where the source can and was asked to; on one process only."""
        self.source.prepare()

    def setup(self, stage: str | None = None) -> None:
        """Read and check the annotations, once."""
        if self._splits is None:
            self._splits = self.source.load()

    @property
    def splits(self) -> DetectionSplits:
        """The data set as read; without training objects once they are taken."""
        if self._splits is None:
            raise RuntimeError("the data module must be set up first: call setup()")
        return self._splits

    @property
    def num_images(self) -> int:
        """N, all images of the training set."""
        return len(self.splits.train)

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the K foreground classes."""
        return self.splits.classes

    @property
    def excluded(self) -> Index:
        """``Long[X]`` dataset indices outside the pool: images skipped for bad annotations."""
        return torch.zeros(0, dtype=torch.long) if self.splits.excluded is None else self.splits.excluded

    @property
    def num_validation(self) -> int:
        """None are held out."""
        return 0

    @property
    def module_arguments(self) -> dict[str, Any]:
        """``num_classes``."""
        return {"num_classes": len(self.classes)}

    def fingerprint(self) -> str:
        """SHA-256 of the names and sizes of all images; their pixels are not read for it."""
        digest = hashlib.sha256()
        for images in (self.splits.train, self.splits.test):
            digest.update("\n".join(images.names).encode())
            digest.update(images.sizes.contiguous().numpy().data)
        return digest.hexdigest()

    def take_targets(self) -> tuple[Candidates, ObjectLookup]:
        """Hand the training objects over, once.

        Raises:
            RuntimeError: they were taken before.
        """
        if self._targets_taken:
            raise RuntimeError("the targets must be taken once, after setup()")
        splits = self.splits
        self._targets_taken = True
        self._splits = DetectionSplits(
            splits.train, (), splits.test, splits.test_objects, splits.classes, splits.excluded
        )
        taking_part = torch.ones(len(splits.train), dtype=torch.bool)
        taking_part[self.excluded] = False
        return Candidates(taking_part.nonzero().flatten()), ObjectLookup(splits.train_objects)

    # --- views

    def with_pool(self, pool: Pool, targets: Sequence[Objects]) -> SceneDataModule:
        """Give a copy for a pool, with the oracle's answers for ``pool.labeled``."""
        view = copy.copy(self)
        view._pool, view._labeled_objects = pool, targets
        return view

    def observing(self, index: Index) -> SceneDataModule:
        """Give a copy whose prediction loader gives the training images ``index``, without augmentation."""
        view = copy.copy(self)
        view._observed = index
        return view

    # --- loaders

    def train_dataloader(self) -> DataLoader[Batch]:
        """Shuffled, augmented training batches; difficult objects are left out."""
        assert self._pool is not None, "with_pool() comes first"
        place: dict[str, Any] = {"seed": self.seed, "rank": self.rank, "world_size": self.world_size}
        sampler = training_sampler(self._pool, self.labeled_fraction, self.batch_size, **place)
        objects = [each[~each.difficult] for each in self._labeled_objects]
        dataset = PartlyLabeledScenes(self.splits.train, self._pool.labeled, objects, self.augment)
        return self._loader(dataset, sampler)

    def tracking_dataloader(self) -> DataLoader[Batch]:
        """The unlabeled images in order, without augmentation and objects."""
        assert self._pool is not None, "with_pool() comes first"
        return self._evaluation(self.splits.train, None, self._pool.unlabeled)

    def predict_dataloader(self) -> DataLoader[Batch]:
        """The observed images (see :meth:`observing`), without augmentation and objects."""
        assert self._observed is not None, "observing() comes first"
        return self._evaluation(self.splits.train, None, self._observed)

    def test_dataloader(self) -> DataLoader[Batch]:
        """The test images; their objects, difficult ones too, in pixels of the original images."""
        return self._evaluation(self.splits.test, self.splits.test_objects, torch.arange(len(self.splits.test)))

    def _evaluation(
        self, images: AbstractDetectionImages, objects: Sequence[Objects] | None, index: Index
    ) -> DataLoader[Batch]:
        sampler = ShardSampler(index, self.eval_batch_size, rank=self.rank, world_size=self.world_size)
        return self._loader(Scenes(images, objects, self.resize), sampler)

    def _loader(self, dataset: Dataset[Batch], sampler: AbstractBatchSampler) -> DataLoader[Batch]:
        return batch_loader(dataset, SeededBatches(sampler, self.seed), num_workers=self.num_workers)
