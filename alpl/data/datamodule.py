"""The data module: one data set, split into labeled, unlabeled, validation and test images by a pool."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal, TypeAlias, final, get_args

import torch
from torch import Tensor
from torch.utils.data import DataLoader

from alpl.data.augment import HorizontalFlip
from alpl.data.base import AbstractPoolDataModule, Picture, StaticSizes
from alpl.data.batch import (
    Batch,
    PartlyLabeledImages,
    ShardSampler,
    batch_loader,
    check_labeled_fraction,
    num_labeled_of,
    training_sampler,
)
from alpl.data.device_pool import DevicePool
from alpl.data.digests import part_of
from alpl.data.image_repeats import Action, tell_repeats
from alpl.data.sets import Splits
from alpl.data.source import AbstractSource
from alpl.data.squares import Squares
from alpl.data.task import Task
from alpl.data.views import TwoViews
from alpl.errors import ConfigError
from alpl.labeling.pseudo_labels import AbstractPseudoLabels, ImagePseudoLabels
from alpl.labeling.schedule import Amount, Candidates, balanced_draw, num_images_of
from alpl.pool import Index, Pool
from alpl.runs.fingerprint import SPLITS, Fingerprint

Transform: TypeAlias = Callable[[Tensor], Tensor]


@final
class ImageDataModule(AbstractPoolDataModule):
    """Small images in memory as uint8, augmented in whole batches on the module's device.

    After :meth:`setup` it knows the images; :meth:`with_pool` gives a copy that also knows who is labeled and hands
    out their targets. The targets of the training set leave through :meth:`take_targets`, to the oracle, and from
    then on this module holds none but those that the oracle gave back.

    Args:
        source: makes what reads the data set, from ``root`` and ``download`` where these are given.
        normalize: raw batch -> the network's input, for every loader.
        augment: transforms of training batches, applied before ``normalize``, in order.
        batch_size: images per process and training step. The last batch of an epoch may be smaller; where it would
            give a process one image of a network with batch norm, it joins the batch before.
        labeled_fraction: 1.0 trains on labeled images only; a fraction in (0, 1) gives every batch that share of
            labeled images (Elezi et al., Table 6); "random" draws from all images alike.
        eval_batch_size: images per process in evaluation and tracking.
        pool_transform: how the images of the pool are shown when they are predicted for an acquisition: "evaluation",
            or "training", drawn at random (the released code of the thesis' ch. 4 does so).
        evaluation_transform: transforms of all batches that are not augmented, applied before ``normalize``.
        validation: images held out of the pool, the same for every class, see ``num_images_of``; 0 for none.
        seed: of the validation split and the order of the batches.
        root: the folder that holds the data set; null for one that lies in no folder.
        download: fetch what is missing from ``root``.
        long_tail: makes a long-tailed variant of the source, or null.
        name: what runs on the data are called by; null for the name of its config.
        repeats: what is done about images with the same bytes, in a split or in both: told (warn), or an error.
        device_pool_bytes: where the network is on a GPU, images lie there whole, up to so many bytes; 0 for never.

    Raises:
        ConfigError: a value is out of range, or the source knows no ``root`` or ``download``.
    """

    task = Task.CLASSIFICATION

    def __init__(
        self,
        source: Callable[..., AbstractSource],
        normalize: Transform,
        augment: Sequence[Transform] = (),
        *,
        batch_size: int,
        labeled_fraction: float | Literal["random"] = 1.0,
        eval_batch_size: int = 1000,
        pool_transform: Literal["evaluation", "training"] = "evaluation",
        evaluation_transform: Sequence[Transform] = (),
        validation: Amount = 0,
        seed: int,
        root: str | None = None,
        download: bool = False,
        long_tail: Callable[[AbstractSource], AbstractSource] | None = None,
        name: str | None = None,
        repeats: Action = "warn",
        device_pool_bytes: int = 8 * 2**30,
    ) -> None:
        super().__init__()
        if repeats not in get_args(Action):
            raise ConfigError(f"data.repeats must be one of {', '.join(get_args(Action))}, got {repeats!r}")
        if not isinstance(download, bool):
            raise ConfigError(f"data.download must be true or false, got {download!r}")
        if pool_transform not in ("evaluation", "training"):
            raise ConfigError(f"data.pool_transform must be 'evaluation' or 'training', got {pool_transform!r}")
        self.allow_zero_length_dataloader_with_multiple_devices = True  # a pool may have fewer images than processes
        self.source = _make_source(source, root, download)
        if long_tail is not None:
            self.source = long_tail(self.source)
        self.normalize = normalize
        self.augment = tuple(augment)
        self.batch_size = batch_size
        self.labeled_fraction = labeled_fraction
        self.eval_batch_size = eval_batch_size
        self.pool_transform = pool_transform
        self.evaluation_transform = tuple(evaluation_transform)
        self._check()
        self.validation = validation
        self.seed = seed
        self.name = name
        self.repeats = repeats
        self._device_pool = DevicePool(device_pool_bytes)
        self._splits: Splits | None = None
        self._candidates: Candidates | None = None
        self._validation_index = torch.zeros(0, dtype=torch.long)
        self._validation_targets = torch.zeros(0, dtype=torch.long)
        self._pool: Pool | None = None
        self._targets: Tensor | None = None  # of the pool's labeled images
        self._pseudo: ImagePseudoLabels | None = None  # of others
        self._pass_over: int | None = None  # labeled images of an epoch of half-labeled batches
        self._observed: Index | None = None
        self._observes_test = False

    def _check(self) -> None:
        """Refuse settings that no loader could follow."""
        for name, value in (("batch_size", self.batch_size), ("eval_batch_size", self.eval_batch_size)):
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise ConfigError(f"data.{name} must be an int >= 1, got {value!r}")
        check_labeled_fraction(self.labeled_fraction, self.batch_size)
        if any(isinstance(transform, TwoViews) for transform in self.augment[:-1]):
            raise ConfigError("data.augment must have TwoViews as its last transform, got others behind it")
        if self.pool_transform == "training" and any(isinstance(transform, TwoViews) for transform in self.augment):
            raise ConfigError("data.pool_transform must be 'evaluation' where data.augment gives two views of an image")

    # --- reading

    def prepare_data(self) -> None:
        """Download, where the source can and was asked to; on one process only."""
        self.source.prepare()

    def setup(self, stage: str | None = None) -> None:
        """Read and check the data set, once."""
        if self._splits is not None:
            return
        splits = self.source.load()
        tell_repeats(self.name or type(self.source).__name__, splits, self.repeats)
        taking_part = torch.ones(len(splits.train), dtype=torch.bool)
        if splits.excluded is not None:
            taking_part[splits.excluded] = False
        if self.validation:
            number = num_images_of(self.validation, int(taking_part.sum()), "data.validation")
            free = taking_part.clone()
            if splits.annotated is not None:
                free &= torch.isin(torch.arange(len(free)), splits.annotated)
            elif splits.reserved is not None:
                free[splits.reserved] = False
            index = free.nonzero().flatten()
            self._validation_index = index[balanced_draw(splits.train.targets[index], number, self.seed)].sort().values
            self._validation_targets = splits.train.targets[self._validation_index]
            taking_part[self._validation_index] = False
        index = taking_part.nonzero().flatten()
        self._splits = splits
        annotated = None if splits.annotated is None else splits.annotated[torch.isin(splits.annotated, index)]
        reserved = splits.reserved if annotated is None else annotated
        self._candidates = Candidates(index, splits.train.targets[index], reserved, annotated)

    @property
    def splits(self) -> Splits:
        """The data set as read; without training targets once they are taken."""
        if self._splits is None:
            raise RuntimeError("the data module must be set up first: call setup()")
        return self._splits

    @property
    def num_images(self) -> int:
        """N, all images of the training set."""
        return len(self.splits.train.images)

    @property
    def num_validation(self) -> int:
        """Validation images, held out of the pool."""
        return len(self._validation_index)

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the K classes."""
        return self.splits.classes

    @property
    def module_arguments(self) -> dict[str, Any]:
        """``num_classes`` and ``in_channels``."""
        return {"num_classes": len(self.classes), "in_channels": self.splits.train.images.shape[1]}

    @property
    def static_sizes(self) -> StaticSizes:
        """See the base class; only images with targets reach the network of a supervised classifier."""
        share, is_partly = self.labeled_fraction, self.labeled_fraction != 1
        if share == "random" or (is_partly and self._pseudo is not None):
            return StaticSizes(None, self.eval_batch_size)
        training = num_labeled_of(self.batch_size, float(share)) if is_partly else self.batch_size
        return StaticSizes(training, self.eval_batch_size)

    @property
    def excluded(self) -> Index:
        """``Long[X]`` dataset indices outside the pool."""
        taking_part = torch.zeros(self.num_images, dtype=torch.bool)
        taking_part[self._index] = True
        return (~taking_part).nonzero().flatten()

    @property
    def _index(self) -> Index:
        assert self._candidates is not None, "setup() has set it"
        return self._candidates.index

    def count_classes(self, targets: Tensor) -> Tensor:
        """See the base class."""
        return targets.bincount(minlength=len(self.classes))

    def picture(self, index: int) -> Picture:
        """See the base class."""
        files, images = self.splits.files, self.splits.train.images
        name = Path(files[index]).name if files else f"{index:06d}.png"
        return Picture(name, files[index] if files else None, lambda: images[index])

    def image_sizes(self, index: Index) -> Tensor:
        """See the base class."""
        return torch.tensor(self.splits.train.images.shape[2:]).expand(len(index), 2)

    def check_workers(self, index: Index, num_processes: int) -> None:
        """There are none: the images are in memory."""

    def fingerprint(self) -> Fingerprint:
        """Of all images and labels, by content, and of the classes; what takes part of them, the config says."""
        parts = {"classes": part_of(len(self.classes), self.classes)}
        for split, images in zip(SPLITS, (self.splits.train, self.splits.test), strict=True):
            parts[f"{split} images"] = part_of(len(images), images.images)
            parts[f"{split} labels"] = part_of(len(images), images.targets)
        return Fingerprint(parts)

    def take_targets(self) -> tuple[Candidates, Tensor]:
        """Hand the training targets over, once: to the initial draw (some are class-balanced) and to the oracle.

        Raises:
            RuntimeError: they were taken before.
        """
        if self._candidates is None or self._candidates.targets is None:
            raise RuntimeError("the targets must be taken once, after setup()")
        candidates, targets = self._candidates, self.splits.train.targets
        self._candidates = Candidates(candidates.index, None, candidates.reserved, candidates.annotated)
        blank = torch.full_like(targets, -1)
        self._splits = Splits(
            type(self.splits.train)(self.splits.train.images, blank),
            self.splits.test,
            self.splits.classes,
            self.splits.excluded,
            self.splits.reserved,
            self.splits.annotated,
            self.splits.files,
        )
        return candidates, targets

    # --- views

    def with_pool(self, pool: Pool, targets: Tensor, pseudo: AbstractPseudoLabels | None = None) -> ImageDataModule:
        """Give a copy for a pool, with the oracle's answers for ``pool.labeled`` (``Long[L]``), and pseudo-labels.

        Raises:
            ConfigError: the pseudo-labels are of objects.
        """
        if not isinstance(pseudo, ImagePseudoLabels | None):
            raise ConfigError(f"pseudo_labels must be of images for a classifier, got labels of {pseudo.unit}")
        view = copy.copy(self)
        view._pool, view._targets, view._pseudo = pool, targets, pseudo
        return view

    def observing(self, index: Index, split: Literal["train", "test"] = "train") -> ImageDataModule:
        """Give a copy whose prediction loader gives the images ``index`` of a split, see ``pool_transform``."""
        view = copy.copy(self)
        view._observed, view._observes_test = index, split == "test"
        return view

    def viewed(
        self,
        *,
        augment: Sequence[Transform] | None = None,
        normalize: Transform | None = None,
        batch_size: int | None = None,
        labeled_fraction: float | Literal["random"] | None = None,
    ) -> ImageDataModule:
        """Give a copy that shows the same images, with the same labels, otherwise; what is None stays.

        Raises:
            ConfigError: a value is out of range.
        """
        view = copy.copy(self)
        view.augment = self.augment if augment is None else tuple(augment)
        view.normalize = self.normalize if normalize is None else normalize
        view.batch_size = self.batch_size if batch_size is None else batch_size
        view.labeled_fraction = self.labeled_fraction if labeled_fraction is None else labeled_fraction
        view._check()
        return view

    def squares(self, size: int, *, flip: float, batch_size: int, passes: int) -> ImageDataModule:
        """See the base class."""
        augment, normalize = [HorizontalFlip(flip)], Squares(size)
        view = self.viewed(augment=augment, normalize=normalize, batch_size=batch_size, labeled_fraction=0.5)
        view.evaluation_transform, view._pseudo = (), None
        view._pass_over = passes * (self.pool.num_labeled + len(self.pool.unlabeled))
        return view

    @property
    def pool(self) -> Pool:
        """The pool of this view."""
        if self._pool is None:
            raise RuntimeError("the data module has no pool yet: use with_pool()")
        return self._pool

    # --- loaders

    def train_dataloader(self) -> DataLoader[Batch]:
        """Shuffled training batches, see ``labeled_fraction``; pseudo-labeled images have the targets that they got.

        Raises:
            ConfigError: the labeled share of a batch is one image, and the network has batch norm.
        """
        pseudo, share, least = self._pseudo, self.labeled_fraction, self.least_batch
        if isinstance(share, float) and share < 1 and num_labeled_of(self.batch_size, share) < least:
            raise ConfigError(
                f"data.labeled_fraction must give each batch {least} labeled images, as the network has batch norm, "
                f"got {share} of {self.batch_size}"
            )
        sampler = training_sampler(
            self.pool,
            self.labeled_fraction,
            self.batch_size,
            pseudo=None if pseudo is None else pseudo.index,
            least=least,
            pass_over=self._pass_over,
            seed=self.seed,
            rank=self.rank,
            world_size=self.world_size,
        )
        labels = None if pseudo is None else (pseudo.index, pseudo.labels)
        dataset = PartlyLabeledImages(
            self._where("train", self.splits.train.images),
            self.pool.labeled,
            self._labels(),
            augment=True,
            pseudo=labels,
        )
        return batch_loader(dataset, sampler, pin=dataset.images.device.type == "cpu")

    def labeled_dataloader(self) -> DataLoader[Batch]:
        """The labeled images in order, evaluation transform."""
        return self._evaluation("train", self.pool.labeled, self._labels(), self.pool.labeled)

    def tracking_dataloader(self) -> DataLoader[Batch]:
        """The unlabeled images in order, evaluation transform, without targets."""
        return self._evaluation("train", *_nothing(), self.pool.unlabeled)

    def predict_dataloader(self) -> DataLoader[Batch]:
        """The observed images (see :meth:`observing`) in order, see ``pool_transform``, without targets."""
        if self._observed is None:
            raise RuntimeError("the data module observes no images: use observing()")
        if self._observes_test:
            return self._evaluation("test", *_nothing(), self._observed)
        augment = self.pool_transform == "training"
        return self._evaluation("train", *_nothing(), self._observed, augment=augment)

    def val_dataloader(self) -> DataLoader[Batch] | list[Any]:
        """The validation images with their targets; an empty list where there are none."""
        if not len(self._validation_index):
            return []
        index = self._validation_index
        return self._evaluation("train", index, self._validation_targets, index)

    def test_dataloader(self) -> DataLoader[Batch]:
        """The test images with their targets."""
        index = torch.arange(len(self.splits.test))
        return self._evaluation("test", index, self.splits.test.targets, index)

    def on_after_batch_transfer(self, batch: Batch, dataloader_idx: int) -> Batch:
        """Transform and normalize on the device that the batch is on; ``[B 2 C H W]`` where there are two views."""
        if not batch.augment:
            return batch._replace(images=self.prepared(batch.images))
        redraw = partial(self._shown, batch.images, self.augment)
        return batch._replace(images=redraw(), redraw=redraw)

    def _shown(self, images: Tensor, transforms: Iterable[Transform]) -> Tensor:
        for transform in transforms:
            images = transform(images)
        if images.ndim == 5:
            both: Tensor = self.normalize(images.flatten(0, 1)).unflatten(0, images.shape[:2])
            return both
        return self.normalize(images)

    def prepared(self, images: Tensor) -> Tensor:
        """``UInt8[B C H W]`` -> the network's input in evaluation."""
        return self._shown(images, self.evaluation_transform)

    def _labels(self) -> Tensor:
        assert self._targets is not None, "with_pool() sets both"
        return self._targets

    def _evaluation(
        self, split: str, labeled: Index, targets: Tensor, index: Index, *, augment: bool = False
    ) -> DataLoader[Batch]:
        sampler = ShardSampler(index, self.eval_batch_size, rank=self.rank, world_size=self.world_size)
        images = self._where(split, self.splits.test.images if split == "test" else self.splits.train.images)
        dataset = PartlyLabeledImages(images, labeled, targets, augment=augment)
        return batch_loader(dataset, sampler, pin=images.device.type == "cpu")

    def _where(self, split: str, images: Tensor) -> Tensor:
        """Give a split's images on the device of the network, if they have room there."""
        device = self.trainer.strategy.root_device if self.trainer is not None else images.device
        return self._device_pool.of(split, images, device)


def _make_source(source: Callable[..., AbstractSource], root: str | None, download: bool) -> AbstractSource:
    given = ({} if root is None else {"root": root}) | ({"download": True} if download else {})
    try:
        return source(**given)
    except TypeError as error:
        raise ConfigError(f"data.root and data.download must fit the source: {error}") from error


def _nothing() -> tuple[Tensor, Tensor]:
    return torch.zeros(0, dtype=torch.long), torch.zeros(0, dtype=torch.long)
