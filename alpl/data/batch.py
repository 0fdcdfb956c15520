"""Batches of a partly labeled data set, and the samplers that decide what is in them.

A sampler's element is a whole batch of dataset indices (``Long[B]``), and the data set gives the whole batch: small
images are gathered by one index operation. Samplers keep no state between epochs: what epoch e holds follows from
the seed and e alone, so a resumed run meets the batches that it would have met.
"""

from __future__ import annotations

import time
from abc import abstractmethod
from collections.abc import Callable, Iterator
from typing import Any, Literal, NamedTuple, final

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler, get_worker_info

from alpl.errors import ConfigError
from alpl.machine.seeding import generator
from alpl.machine.shared_memory import SHARED_MEMORY, free_shared_memory
from alpl.pool import Index, Pool

NUM_AHEAD = 2  # batches that each worker makes ahead, torch's default
WORKER_TIMEOUT_S = 600  # for one batch; reading it takes seconds


class Batch(NamedTuple):
    """B images, some labeled.

    Args:
        images: ``[B C H W]``; ``[B 2 C H W]`` behind :class:`alpl.data.views.TwoViews`.
        index: ``Long[B]`` dataset indices.
        labeled: ``Bool[B]``, by the oracle.
        targets: the targets of the labeled and pseudo-labeled images only, in their order in the batch: ``Long[n]`` in
            classification, flat objects in detection. The targets of the others do not exist here.
        augment: whether the images are to be augmented (training) or not (evaluation, tracking).
        sizes: ``Long[B 2]`` height and width of the original images, where boxes are to be told in their pixels.
        pseudo: ``Bool[B]``: whose targets are an earlier model's; None where nobody's are.
        shapes: ``Long[B 2]`` height and width of each image within ``images``, where they were padded to a common size;
            None where they fill it.
        second: another view of each image, shaped and padded as ``images``; None where nobody asked for it.
        complete: whether all images have targets, which is known without asking the device; False where nobody looked.
        warp: ``Float[B 3 3]``: from pixels of ``images`` to those of ``second``, see :mod:`alpl.boxes.warped`.
        redraw: gives the images, augmented anew and normalized; None where they are not augmented on the device.
    """

    images: Tensor
    index: Tensor  # type: ignore[assignment]  # hides tuple.index, which nobody asks of a batch
    labeled: Tensor
    targets: Any
    augment: bool
    sizes: Tensor | None = None
    pseudo: Tensor | None = None
    shapes: Tensor | None = None
    second: Tensor | None = None
    warp: Tensor | None = None
    complete: bool = False
    redraw: Callable[[], Tensor] | None = None

    @property
    def has_targets(self) -> Tensor:
        """``Bool[B]``: labeled or pseudo-labeled."""
        return self.labeled if self.pseudo is None else self.labeled | self.pseudo


@final
class PartlyLabeledImages(Dataset[Batch]):
    """Images of which some have a target; holds no target of any other image.

    Args:
        images: ``UInt8[N C H W]``, on any device; a batch of them is gathered there.
        labeled: ``Long[L]`` dataset indices of the labeled images.
        targets: ``Long[L]`` their targets.
        augment: see :class:`Batch`.
        pseudo: ``Long[n]`` dataset indices of others, and the targets that a model gave them; None where none did.

    Raises:
        ValueError: there are more or fewer targets than images, or an image is labeled and pseudo-labeled.
    """

    def __init__(
        self,
        images: Tensor,
        labeled: Index,
        targets: Tensor,
        *,
        augment: bool,
        pseudo: tuple[Index, Tensor] | None = None,
    ) -> None:
        if len(labeled) != len(targets):
            raise ValueError(f"targets must hold one per labeled image ({len(labeled)}), got {len(targets)}")
        self.images = images
        self.augment = augment
        self._num_labeled = len(labeled)
        self._row = torch.full((len(images),), -1, dtype=torch.long)  # dataset index -> row of targets
        self._row[labeled] = torch.arange(len(labeled))
        self._has_pseudo = pseudo is not None
        self._targets = targets if pseudo is None else torch.cat([targets, pseudo[1].to(targets)])
        if pseudo is not None:
            if (both := pseudo[0][self._row[pseudo[0]] >= 0]).numel():
                raise ValueError(f"pseudo must not hold labeled images, got {both[:5].tolist()}")
            self._row[pseudo[0]] = torch.arange(len(labeled), len(self._targets))

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: Index) -> Batch:
        row = self._row[index]
        known = row >= 0
        labeled = known & (row < self._num_labeled)
        pseudo = known & ~labeled if self._has_pseudo else None
        images = self.images[index.to(self.images.device, non_blocking=True)]
        targets, complete = self._targets[row[known]], bool(known.all())
        return Batch(images, index, labeled, targets, self.augment, pseudo=pseudo, complete=complete)


class AbstractBatchSampler(Sampler[Tensor]):
    """Yields the batches of an epoch for one process of a group.

    Args:
        seed: of all shuffles.
        rank: this process.
        world_size: processes.
    """

    def __init__(self, *, seed: int, rank: int = 0, world_size: int = 1) -> None:
        self.seed = seed
        self.rank = rank
        self.world_size = world_size
        self.epoch = 0

    @final
    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch that the next iteration gives; Lightning calls this."""
        self.epoch = epoch

    @abstractmethod
    def __len__(self) -> int:
        """Batches of an epoch; the same on every process where a backward pass follows them (not for shards)."""

    @abstractmethod
    def __iter__(self) -> Iterator[Tensor]:
        """Batches of dataset indices, ``Long[B]``."""


@final
class PassSampler(AbstractBatchSampler):
    """Every image once an epoch, shuffled; the last batch may be smaller.

    Over labeled images this is plain supervised training; over labeled and unlabeled images together it is the
    unbalanced ("random") sampling of Elezi et al., Table 6. With several processes each batch of
    ``world_size * batch_size`` images is divided evenly; no image is dropped or repeated, and all processes have the
    same number of batches (a last handful that could not give each process ``least`` images joins the batch before).

    Args:
        index: ``Long[n]`` dataset indices.
        batch_size: images per process and batch.
        least: images per process of the last batch where there is one before, see
            :func:`alpl.data.batch_norm.least_batch`.

    Raises:
        ConfigError: there are fewer images than processes.
    """

    def __init__(
        self, index: Index, batch_size: int, *, least: int = 1, seed: int, rank: int = 0, world_size: int = 1
    ) -> None:
        super().__init__(seed=seed, rank=rank, world_size=world_size)
        if len(index) < world_size:
            raise ConfigError(f"trainer.devices must be <= the images to train on ({len(index)}), got {world_size}")
        self.index = index
        full, rest = divmod(len(index), batch_size * world_size)
        self.sizes = [batch_size * world_size] * full
        if rest >= least * world_size or (rest and not full):
            self.sizes.append(rest)
        elif rest:
            self.sizes[-1] += rest

    def __len__(self) -> int:
        return len(self.sizes)

    def __iter__(self) -> Iterator[Tensor]:
        order = torch.randperm(len(self.index), generator=generator(self.seed, "pass", self.epoch))
        for chunk in self.index[order].split(self.sizes):
            yield chunk.tensor_split(self.world_size)[self.rank]


@final
class BalancedSampler(AbstractBatchSampler):
    """Batches with a fixed share of labeled images (Elezi et al., sec. 4 and Table 6: a half, or a quarter).

    Labeled images are drawn from an endless row of shuffled passes, so none comes twice in a pass, and a batch that
    reaches past the end of a pass (always, where fewer labeled images exist than it needs) goes on with the next
    one. Unlabeled images likewise. An epoch is as many batches as a pass over the labeled images needs; the row goes
    on where the last epoch stopped. Processes take consecutive slices of the row. Where no unlabeled image is left,
    the whole batch is labeled.

    Args:
        labeled: ``Long[L]`` dataset indices, at least one.
        unlabeled: ``Long[U]`` dataset indices.
        batch_size: images per process and batch.
        labeled_fraction: share of labeled images in (0, 1).
        pass_over: labeled images that an epoch has, one counted as often as it comes; None for one pass over them.

    Raises:
        ConfigError: nothing is labeled, or the share leaves no room for labeled or for unlabeled images.
    """

    def __init__(
        self,
        labeled: Index,
        unlabeled: Index,
        batch_size: int,
        labeled_fraction: float,
        *,
        pass_over: int | None = None,
        seed: int,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        super().__init__(seed=seed, rank=rank, world_size=world_size)
        if not len(labeled):
            raise ConfigError("balanced batches need at least one labeled image, got none")
        num_labeled = num_labeled_of(batch_size, labeled_fraction)
        self.labeled, self.unlabeled = labeled, unlabeled
        self.num_labeled = num_labeled if len(unlabeled) else batch_size
        self.num_unlabeled = batch_size - self.num_labeled
        self.pass_over = len(labeled) if pass_over is None else pass_over
        self._kept: dict[str, tuple[int, Tensor]] = {}  # the last pass of each row, shuffled

    def __len__(self) -> int:
        return -(-self.pass_over // (self.num_labeled * self.world_size))

    def __iter__(self) -> Iterator[Tensor]:
        for batch in range(self.epoch * len(self), (self.epoch + 1) * len(self)):
            place = batch * self.world_size + self.rank
            yield torch.cat(
                [
                    self._take(self.labeled, "labeled", place * self.num_labeled, self.num_labeled),
                    self._take(self.unlabeled, "unlabeled", place * self.num_unlabeled, self.num_unlabeled),
                ]
            )

    def _take(self, index: Index, name: str, start: int, count: int) -> Tensor:
        """Give ``count`` entries from position ``start`` of the endless row of shuffled passes."""
        if not count:
            return index[:0]
        first, last = start // len(index), (start + count - 1) // len(index)
        row = torch.cat([self._pass(index, name, number) for number in range(first, last + 1)])
        return row[start - first * len(index) :][:count]

    def _pass(self, index: Index, name: str, number: int) -> Tensor:
        if name not in self._kept or self._kept[name][0] != number:  # shuffled once a pass, not once a batch
            order = torch.randperm(len(index), generator=generator(self.seed, name, number))
            self._kept[name] = (number, index[order])
        return self._kept[name][1]


@final
class ShardSampler(AbstractBatchSampler):
    """Every image once, in order; process r has every ``world_size``-th of them, none twice.

    Args:
        index: ``Long[n]`` dataset indices.
        batch_size: images per batch.
    """

    def __init__(self, index: Index, batch_size: int, *, rank: int = 0, world_size: int = 1) -> None:
        super().__init__(seed=0, rank=rank, world_size=world_size)
        self.batches = [part for part in index[rank::world_size].split(batch_size) if len(part)]

    def __len__(self) -> int:
        return len(self.batches)

    def __iter__(self) -> Iterator[Tensor]:
        return iter(self.batches)


def training_sampler(
    pool: Pool,
    labeled_fraction: float | Literal["random"],
    batch_size: int,
    *,
    pseudo: Index | None = None,
    least: int = 1,
    pass_over: int | None = None,
    seed: int,
    rank: int = 0,
    world_size: int = 1,
) -> AbstractBatchSampler:
    """Make the sampler of training batches.

    Args:
        pool: who is labeled.
        labeled_fraction: 1.0 for labeled images (and pseudo-labeled ones, as they come) only, a fraction in (0, 1) for
            that share of labeled images in every batch, "random" to draw from all images alike (Elezi et al., Table 6).
        batch_size: images per process and batch.
        pseudo: ``Long[n]`` unlabeled images that have pseudo-labels; in partly labeled batches they count as unlabeled.
        least: see :class:`PassSampler`.
        pass_over: see :class:`BalancedSampler`.
        seed: of all shuffles.
        rank: this process.
        world_size: processes.

    Raises:
        ConfigError: the fraction is none of these, or does not fit the batch size or the pool.
    """
    check_labeled_fraction(labeled_fraction, batch_size)
    place: dict[str, Any] = {"seed": seed, "rank": rank, "world_size": world_size}
    if labeled_fraction == "random":
        return PassSampler(torch.cat([pool.labeled, pool.unlabeled]), batch_size, least=least, **place)
    if labeled_fraction == 1:
        index = pool.labeled if pseudo is None else torch.cat([pool.labeled, pseudo])
        return PassSampler(index, batch_size, least=least, **place)
    fraction = float(labeled_fraction)
    return BalancedSampler(pool.labeled, pool.unlabeled, batch_size, fraction, pass_over=pass_over, **place)


def check_labeled_fraction(labeled_fraction: Any, batch_size: int) -> None:
    """Refuse what :func:`training_sampler` cannot do."""
    is_share = isinstance(labeled_fraction, (int, float)) and 0 < labeled_fraction <= 1
    if labeled_fraction != "random" and not is_share:
        raise ConfigError(f"data.labeled_fraction must be in (0, 1] or 'random', got {labeled_fraction!r}")
    if is_share and labeled_fraction < 1:
        num_labeled_of(batch_size, labeled_fraction)


def num_labeled_of(batch_size: int, labeled_fraction: float) -> int:
    """Give the labeled images of a balanced batch; halves are rounded up.

    Raises:
        ConfigError: no room is left for labeled or for unlabeled images.
    """
    num_labeled = int(batch_size * labeled_fraction + 0.5)
    if not 0 < num_labeled < batch_size:
        raise ConfigError(
            f"data.labeled_fraction must leave room for labeled and unlabeled images in a batch of {batch_size}, "
            f"got {labeled_fraction} = {num_labeled} labeled images"
        )
    return num_labeled


@final
class BatchLoader(DataLoader[Batch]):
    """Gives batches, or says in one line why its workers cannot: made by :func:`batch_loader`."""

    _waited = 0.0

    def take_waited(self) -> float:
        """Give the seconds that batches were waited for since the last call."""
        waited, self._waited = self._waited, 0.0
        return waited

    def __iter__(self) -> Iterator[Batch]:  # type: ignore[override]  # torch names its own class of iterators
        try:
            batches = super().__iter__()
            while True:
                start = time.perf_counter()
                batch = next(batches, None)
                self._waited += time.perf_counter() - start
                if batch is None:
                    return
                yield batch
        except RuntimeError as error:
            text = str(error)
            if "shared memory" in text:  # torch's words, also where a worker died of writing beyond it
                raise ConfigError(no_room_for_batches(self.num_workers)) from error
            if "DataLoader timed out" in text:
                raise ConfigError(
                    f"data.num_workers={self.num_workers} gave no batch in {WORKER_TIMEOUT_S} s: reading images hangs "
                    "(on a remote disk?), or the workers do; data.num_workers=0 reads without them"
                ) from error
            raise


def no_room_for_batches(num_workers: int, needed: int | None = None) -> str:
    """Say that workers have too little shared memory.

    Args:
        num_workers: as configured.
        needed: bytes of a few batches, where they are known.
    """
    wanted = "more" if needed is None else f"about {needed / 2**20:.1f} MiB"
    return (
        f"data.num_workers must be 0, or {SHARED_MEMORY} larger (docker run --shm-size), got {num_workers}: they hand "
        f"their batches over in it, need {wanted}, and {(free_shared_memory() or 0) / 2**20:.1f} MiB are free"
    )


def batch_loader(
    dataset: Dataset[Batch], sampler: Sampler[Any], *, num_workers: int = 0, pin: bool = True
) -> BatchLoader:
    """Make the loader of a data set that answers a sampler's element with a whole batch.

    Its generator is its own: iterating over the pool must not draw from the global one, or tracking would change
    training. Batches are pinned for a GPU, unless they lie there.
    """
    return BatchLoader(
        dataset,
        batch_size=None,
        sampler=sampler,
        collate_fn=_handed_over,
        num_workers=num_workers,
        prefetch_factor=NUM_AHEAD if num_workers else None,
        timeout=WORKER_TIMEOUT_S if num_workers else 0,
        generator=torch.Generator().manual_seed(0),
        pin_memory=pin and torch.cuda.is_available(),
    )


def _handed_over(batch: Any) -> Any:
    """Give a batch as it is; in a worker, in the shared memory that torch would put it into behind our back.

    There, in a thread that sends, an error would only be printed, and the batch be waited for.
    """
    if get_worker_info() is not None:
        _share(batch)
    return batch


def _share(value: Any) -> None:
    if isinstance(value, Tensor) and value.numel():
        value.share_memory_()
    elif isinstance(value, tuple):
        for part in value:
            _share(part)
