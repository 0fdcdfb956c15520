"""The data module of detection."""

from __future__ import annotations

import copy
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal, final

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from alpl.boxes.footage import Footage
from alpl.boxes.objects import LEAST_EXTENT, AbstractDetectionImages, AbstractDetectionSource, DetectionSplits, Objects
from alpl.data.base import AbstractPoolDataModule, Picture
from alpl.data.batch import (
    NUM_AHEAD,
    AbstractBatchSampler,
    Batch,
    ShardSampler,
    batch_loader,
    check_labeled_fraction,
    no_room_for_batches,
    training_sampler,
)
from alpl.data.digests import objects_part, part_of, scenes_parts
from alpl.data.image_files import ImageFiles
from alpl.data.pair import PairTransform
from alpl.data.scene_batches import PartlyLabeledScenes, Scenes, SceneTransform, SeededBatches
from alpl.data.squares import MirroredSquares, Squares
from alpl.data.task import Task
from alpl.errors import ConfigError
from alpl.labeling.pseudo_labels import AbstractPseudoLabels, PseudoLabels
from alpl.labeling.schedule import Candidates
from alpl.machine.shared_memory import free_shared_memory
from alpl.pool import Index, Pool
from alpl.runs.fingerprint import FOOTAGE, LEFT_OUT, SPLITS, Fingerprint

log = logging.getLogger("alpl")

_LEAST_INPUT = 32  # pixels: no detector takes images whose longer side is shorter
_NUM_NAMED = 5  # images of a warning


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
        augment: transform of training images. A detector's config brings it, as what it expects is its own matter.
        resize: ``UInt8[3 H W]`` -> ``Float[3 h w]``: the network's input without augmentation, for all other images;
            padded with its ``fill``, see :class:`alpl.data.scene_batches.Scenes`.
        pair: makes a second view of each training image from the first, for ``Batch.second``; None for none.
        labeled_pair: makes that of images with targets instead; None for the same.
        batch_size: images per process and training step. The last batch of an epoch may be smaller; where it would
            give a process one image of a network with batch norm, it joins the batch before.
        labeled_fraction: as in :class:`alpl.data.datamodule.ImageDataModule`.
        eval_batch_size: images per process in evaluation and prediction.
        num_workers: processes that read and augment; 0 for none.
        pad_to: images of a batch are padded to a common size that is a multiple of this.
        fingerprint: whether a run knows image files again by their sizes and time stamps, or by what they hold, too
            ("content"), for which all of them are read; then copies may take their place.
        seed: of batches and augmentations.
        name: what runs on the data are called by; null for the name of its config.

    Raises:
        ConfigError: a value is out of range.
    """

    task = Task.DETECTION

    def __init__(
        self,
        source: AbstractDetectionSource,
        augment: SceneTransform | None = None,
        resize: Callable[[Tensor], Tensor] | None = None,
        *,
        pair: PairTransform | None = None,
        labeled_pair: PairTransform | None = None,
        batch_size: int,
        labeled_fraction: float | Literal["random"] = 1.0,
        eval_batch_size: int = 32,
        num_workers: int = 0,
        pad_to: int = 1,
        fingerprint: Literal["stamps", "content"] = "stamps",
        seed: int,
        name: str | None = None,
    ) -> None:
        super().__init__()
        if augment is None or resize is None:
            raise ConfigError(
                "data.augment and data.resize must be given; a detector's config brings them (model=ssd_tiny and the "
                "like), so the model here is none, or belongs to classification"
            )
        for setting, value, least in (
            ("batch_size", batch_size, 1),
            ("eval_batch_size", eval_batch_size, 1),
            ("num_workers", num_workers, 0),
            ("pad_to", pad_to, 1),
        ):
            if isinstance(value, bool) or not isinstance(value, int) or value < least:
                raise ConfigError(f"data.{setting} must be an int >= {least}, got {value!r}")
        check_labeled_fraction(labeled_fraction, batch_size)
        if labeled_pair is not None and pair is None:
            raise ConfigError("data.pair must be given beside data.labeled_pair, got null")
        if fingerprint not in ("stamps", "content"):
            raise ConfigError(f"data.fingerprint must be 'stamps' or 'content', got {fingerprint!r}")
        self.allow_zero_length_dataloader_with_multiple_devices = True  # a pool may have fewer images than processes
        self.source = source
        self.augment = augment
        self.resize = resize
        self.pair, self.labeled_pair = pair, labeled_pair
        self.batch_size = batch_size
        self.labeled_fraction = labeled_fraction
        self.eval_batch_size = eval_batch_size
        self.num_workers = num_workers
        self.pad_to = pad_to
        self.by_content = fingerprint == "content"
        self.seed = seed
        self.name = name
        self._splits: DetectionSplits | None = None
        self._targets_taken = False
        self._pool: Pool | None = None
        self._labeled_objects: Sequence[Objects] = ()
        self._pseudo: PseudoLabels | None = None
        self._pass_over: int | None = None  # labeled images of an epoch of half-labeled batches
        self._observed: Index | None = None
        self._observes_test = False

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
    def footage(self) -> Footage | None:
        """See the base class."""
        return self.splits.footage

    @property
    def num_validation(self) -> int:
        """None are held out."""
        return 0

    @property
    def module_arguments(self) -> dict[str, Any]:
        """``num_classes``."""
        return {"num_classes": len(self.classes)}

    @property
    def training_images(self) -> AbstractDetectionImages:
        """The images that dataset indices count."""
        return self.splits.train

    def picture(self, index: int) -> Picture:
        """See the base class."""
        images = self.splits.train
        file = images.paths[index] if isinstance(images, ImageFiles) else None
        return Picture(images.names[index], file, lambda: images[index])

    def count_classes(self, targets: Sequence[Objects]) -> Tensor:
        """See the base class; difficult objects, which training leaves out, do not count."""
        labels = [each.labels[~each.difficult] for each in targets] or [torch.zeros(0, dtype=torch.long)]
        return torch.cat(labels).bincount(minlength=len(self.classes))

    def image_sizes(self, index: Index) -> Tensor:
        """See the base class."""
        return self.splits.train.sizes[index]

    def check_workers(self, index: Index, num_processes: int) -> None:
        """See the base class."""
        free = free_shared_memory()
        if not self.num_workers or free is None or not len(index):
            return
        shown = self.resize(self.splits.train[int(index[0])])
        images = max(self.batch_size * (1 if self.pair is None else 2), self.eval_batch_size)
        needed = shown.nbytes * images * self.num_workers * NUM_AHEAD * num_processes
        if needed > free:
            raise ConfigError(no_room_for_batches(self.num_workers, needed))

    def fingerprint(self) -> Fingerprint:
        """Of all images and annotations, of the classes, and of who is left out."""
        splits = self.splits
        parts = {
            "classes": part_of(len(self.classes), self.classes),
            LEFT_OUT: part_of(len(self.excluded), self.excluded),
        }
        for split, images, objects in (
            (SPLITS[0], splits.train, splits.train_objects),
            (SPLITS[1], splits.test, splits.test_objects),
        ):
            parts |= scenes_parts(split, images, by_content=self.by_content)
            parts[f"{split} annotations"] = objects_part(objects)
        if (footage := splits.footage) is not None:
            parts[FOOTAGE] = part_of(len(footage.names), footage.names, footage.video, footage.frame)
        return Fingerprint(parts)

    def take_targets(self) -> tuple[Candidates, ObjectLookup]:
        """Hand the training objects over, once.

        Raises:
            RuntimeError: they were taken before.
        """
        if self._targets_taken:
            raise RuntimeError("the targets must be taken once, after setup()")
        splits = self.splits
        self._targets_taken = True
        self._splits = replace(splits, train_objects=())
        taking_part = torch.ones(len(splits.train), dtype=torch.bool)
        taking_part[self.excluded] = False
        annotated = splits.annotated
        candidates = Candidates(taking_part.nonzero().flatten(), reserved=annotated, annotated=annotated)
        return candidates, ObjectLookup(splits.train_objects)

    # --- views

    def with_pool(
        self, pool: Pool, targets: Sequence[Objects], pseudo: AbstractPseudoLabels | None = None
    ) -> SceneDataModule:
        """Give a copy for a pool, with the oracle's answers for ``pool.labeled``, and pseudo-labels of others."""
        if not isinstance(pseudo, PseudoLabels | None):
            raise ConfigError(f"pseudo_labels must be of objects for a detector, got labels of {pseudo.unit}")
        view = copy.copy(self)
        view._pool, view._labeled_objects, view._pseudo = pool, targets, pseudo
        return view

    def observing(self, index: Index, split: Literal["train", "test"] = "train") -> SceneDataModule:
        """Give a copy whose prediction loader gives the images ``index`` of a split, without augmentation."""
        view = copy.copy(self)
        view._observed, view._observes_test = index, split == "test"
        return view

    def squares(self, size: int, *, flip: float, batch_size: int, passes: int) -> SceneDataModule:
        """See the base class; its batches have no objects."""
        assert self._pool is not None, "with_pool() comes first"
        check_labeled_fraction(0.5, batch_size)
        view = copy.copy(self)
        view.resize, view.pad_to, view.pair, view.labeled_pair = Squares(size), 1, None, None
        view.augment = MirroredSquares(view.resize, flip)
        view.batch_size, view.labeled_fraction, view._pseudo = batch_size, 0.5, None
        view._labeled_objects = [Objects.none()] * self._pool.num_labeled
        view._pass_over = passes * (self._pool.num_labeled + len(self._pool.unlabeled))
        return view

    # --- loaders

    def train_dataloader(self) -> DataLoader[Batch]:
        """Shuffled, augmented training batches; difficult objects are left out."""
        assert self._pool is not None, "with_pool() comes first"
        labeled = {
            index: objects[~objects.difficult]
            for index, objects in zip(self._pool.labeled.tolist(), self._labeled_objects, strict=True)
        }
        self._tell_without_extent(labeled)
        pseudo = None if self._pseudo is None else self._pseudo.by_image
        sampler = training_sampler(
            self._pool,
            self.labeled_fraction,
            self.batch_size,
            pseudo=None if self._pseudo is None else self._pseudo.index,
            least=self.least_batch,
            pass_over=self._pass_over,
            seed=self.seed,
            rank=self.rank,
            world_size=self.world_size,
        )
        scenes = PartlyLabeledScenes(
            self.splits.train, labeled, pseudo, self.augment, self.pad_to, self.pair, self.labeled_pair
        )
        return self._loader(scenes, sampler)

    def _tell_without_extent(self, labeled: Mapping[int, Objects]) -> None:
        """Warn of objects that training will leave out, as they have no extent in the network's input."""
        lost: dict[str, int] = {}
        for index, objects in labeled.items():
            height, width = self.splits.train.sizes[index].tolist()
            sides = objects.boxes[:, 2:] - objects.boxes[:, :2]
            if not bool((sides < LEAST_EXTENT * max(height, width) / _LEAST_INPUT).any()):
                continue  # spares making an image of that size
            shown = self.resize(torch.zeros(3, height, width, dtype=torch.uint8)).shape[1:]
            scale = torch.tensor([shown[1] / width, shown[0] / height]).repeat(2)
            scaled = Objects(objects.boxes * scale, objects.labels, objects.difficult)
            if number := int((~scaled.extended).sum()):
                lost[self.splits.train.names[index]] = number
        if lost and self.rank == 0:
            log.warning(
                f"{sum(lost.values())} labeled objects are narrower or lower than {LEAST_EXTENT} pixels in the "
                f"network's input and not trained on: of {', '.join(list(lost)[:_NUM_NAMED])}"
                + (f" and {len(lost) - _NUM_NAMED} more images" if len(lost) > _NUM_NAMED else "")
            )

    def tracking_dataloader(self) -> DataLoader[Batch]:
        """The unlabeled images in order, without augmentation and objects."""
        assert self._pool is not None, "with_pool() comes first"
        return self._evaluation(self.splits.train, None, self._pool.unlabeled)

    def predict_dataloader(self) -> DataLoader[Batch]:
        """The observed images (see :meth:`observing`), without augmentation and objects."""
        assert self._observed is not None, "observing() comes first"
        images = self.splits.test if self._observes_test else self.splits.train
        return self._evaluation(images, None, self._observed)

    def test_dataloader(self) -> DataLoader[Batch]:
        """The test images; their objects, difficult ones too, in pixels of the original images."""
        return self._evaluation(self.splits.test, self.splits.test_objects, torch.arange(len(self.splits.test)))

    def _evaluation(
        self, images: AbstractDetectionImages, objects: Sequence[Objects] | None, index: Index
    ) -> DataLoader[Batch]:
        sampler = ShardSampler(index, self.eval_batch_size, rank=self.rank, world_size=self.world_size)
        return self._loader(Scenes(images, objects, self.resize, self.pad_to), sampler)

    def _loader(self, dataset: Dataset[Batch], sampler: AbstractBatchSampler) -> DataLoader[Batch]:
        return batch_loader(dataset, SeededBatches(sampler, self.seed), num_workers=self.num_workers)
