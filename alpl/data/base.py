"""What the loop asks of a data module, whatever the task."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, ClassVar, Literal, NamedTuple, final

from lightning.pytorch import LightningDataModule
from torch import Tensor
from torch.utils.data import DataLoader
from typing_extensions import Self

from alpl.boxes.footage import Footage
from alpl.data.batch import Batch
from alpl.data.batch_norm import least_batch
from alpl.data.task import Task
from alpl.errors import ConfigError
from alpl.labeling.pseudo_labels import AbstractPseudoLabels
from alpl.labeling.schedule import Candidates
from alpl.pool import Index, Pool
from alpl.runs.fingerprint import Fingerprint


class StaticSizes(NamedTuple):
    """Images of a full batch.

    Args:
        training: those that the network sees in a training step; None where they differ from step to step.
        evaluation: in evaluation.
    """

    training: int | None
    evaluation: int


class Picture(NamedTuple):
    """A training image as a person knows it.

    Args:
        name: what it is called.
        file: where it lies; None where it has no file of its own.
        pixels: gives ``UInt8[C H W]``, gray or RGB.
    """

    name: str
    file: str | None
    pixels: Callable[[], Tensor]


class AbstractPoolDataModule(LightningDataModule, ABC):
    """A data set that a pool splits into labeled, unlabeled, validation and test images.

    The order of calls: ``prepare_data``, ``setup``, :meth:`take_targets` once, then :meth:`with_pool` for each cycle,
    whose views give the loaders. A module that has given its training targets away holds none but those of a pool's
    labeled images.
    """

    task: ClassVar[Task]
    """What the data is labeled for."""

    @final
    @property
    def rank(self) -> int:
        """This process's number in its group."""
        return self.trainer.global_rank if self.trainer is not None else 0

    @final
    @property
    def world_size(self) -> int:
        """Processes of the group."""
        return self.trainer.world_size if self.trainer is not None else 1

    @final
    @property
    def least_batch(self) -> int:
        """See :func:`alpl.data.batch_norm.least_batch`; of the network that is trained."""
        return least_batch(self.trainer.lightning_module if self.trainer is not None else None)

    @property
    def static_sizes(self) -> StaticSizes | None:
        """How many images full batches of one shape hold; None where batches are of any shape."""
        return None

    @property
    @abstractmethod
    def num_images(self) -> int:
        """N, all images of the training set."""

    @property
    @abstractmethod
    def classes(self) -> tuple[str, ...]:
        """Names of the K classes."""

    @property
    @abstractmethod
    def excluded(self) -> Index:
        """``Long[X]`` dataset indices outside the pool."""

    @property
    def footage(self) -> Footage | None:
        """Which training image is which frame of which video; None where they are no videos."""
        return None

    @property
    @abstractmethod
    def num_validation(self) -> int:
        """Validation images, held out of the pool."""

    @property
    @abstractmethod
    def module_arguments(self) -> dict[str, Any]:
        """What a module must know of the data to be made, e.g. ``num_classes``."""

    @abstractmethod
    def count_classes(self, targets: Any) -> Tensor:
        """``Long[K]``: how many of the oracle's answers are of each class: images, or objects in detection."""

    @abstractmethod
    def image_sizes(self, index: Index) -> Tensor:
        """``Long[n 2]``: height and width of the training images ``index``."""

    def picture(self, index: int) -> Picture:
        """Show a training image to a person.

        Raises:
            ConfigError: the data module does not say how; one of one's own need not.
        """
        raise ConfigError(f"oracle must be benchmark: {type(self).__name__} shows no images to a person")

    @abstractmethod
    def check_workers(self, index: Index, num_processes: int) -> None:
        """Make sure that worker processes, where there are any, have room to hand batches over.

        Args:
            index: ``Long[n]`` training images, the first of which shows how large they are.
            num_processes: of this machine that train together.

        Raises:
            ConfigError: they have not.
            DataError: the image cannot be read.
        """

    @abstractmethod
    def fingerprint(self) -> Fingerprint:
        """Tell this data set from any other in the same layout; asked after ``setup``, before the targets are taken."""

    @abstractmethod
    def take_targets(self) -> tuple[Candidates, Any]:
        """Hand the training targets over, once: to the initial draw (some are class-balanced) and to the oracle."""

    @abstractmethod
    def with_pool(self, pool: Pool, targets: Any, pseudo: AbstractPseudoLabels | None = None) -> Self:
        """Give a view for a pool, with the oracle's answers for ``pool.labeled`` and pseudo-labels of other images."""

    @abstractmethod
    def observing(self, index: Index, split: Literal["train", "test"] = "train") -> Self:
        """Give a view whose prediction loader gives the images ``index`` of a split, by default not augmented.

        Test images never are, and their targets stay away: they are predicted in studies of finished runs alone.
        """

    @abstractmethod
    def squares(self, size: int, *, flip: float, batch_size: int, passes: int) -> Self:
        """Give a view for a model that looks at pixels and knows no task: squares with values in [-1, 1].

        Batches are labeled to one half. Pseudo-labels, and what else is done to images for the task, are left out.

        Args:
            size: side of the squares in pixels.
            flip: probability of the mirror image in training.
            batch_size: images per process and training step.
            passes: an epoch has as many labeled images as the pool has images, so many times.

        Raises:
            ConfigError: a value is out of range.
        """

    @abstractmethod
    def tracking_dataloader(self) -> DataLoader[Batch]:
        """The unlabeled images in order, evaluation transform, without targets."""
