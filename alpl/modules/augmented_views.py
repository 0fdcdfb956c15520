"""Other views of images whose objects a detector has found, and what it finds in them (CALD, Yu et al. 2021).

Where a box is in such a view is known, so the detection of the view that lies there is its partner.

Axes: B images of a batch, D detections of the batch, n of one image, K foreground classes, C outputs, V views.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, final

import torch
from torch import Generator, Tensor
from torchvision.ops import box_iou

from alpl.boxes.warped import warp_boxes
from alpl.data.batch import Batch
from alpl.data.pair import SecondView, about_center, warped
from alpl.errors import ConfigError
from alpl.machine.seeding import generator, uniform
from alpl.modules.padding import clip, input_boxes, input_sizes
from alpl.predictions import Need, Posterior, Predictions


class AbstractAugmentation(ABC):
    """Makes another view of an image; what it shows from beyond the image is 0, the mean pixel."""

    @abstractmethod
    def __call__(self, image: Tensor, size: tuple[int, int], boxes: Tensor, draws: Generator) -> SecondView:
        """Make it.

        Args:
            image: ``Float[3 H W]``, padded.
            size: height and width of the image within it; the view stays within them.
            boxes: ``Float[n 4]`` xyxy, the detections, in pixels.
            draws: decides what is random.

        Returns:
            The view, and the way from the image to it, in pixels.
        """


@final
@dataclass(frozen=True)
class Mirror(AbstractAugmentation):
    """The mirror image."""

    def __call__(self, image: Tensor, size: tuple[int, int], boxes: Tensor, draws: Generator) -> SecondView:
        """See the base class."""
        shown, width = image.clone(), size[1]
        shown[..., :width] = image[..., :width].flip(-1)
        return SecondView(shown, about_center(width, size[0], (-1.0, 1.0), (0.0, 0.0)))


@final
@dataclass(frozen=True)
class CutOut(AbstractAugmentation):
    """Rectangles of the mean pixel, each over a part of some object and no object's greater part.

    Sides and place of each are drawn until the greatest share of a box that it covers lies between ``least`` and
    ``most``; without boxes nothing is cut out. The released code paints them black.

    Args:
        number: of rectangles, fewer where ``tries`` draws do not give as many.
        shortest: side of a rectangle, a share of the image's.
        longest: likewise.
        least: share of a box.
        most: likewise.
        tries: draws, of all rectangles together.

    Raises:
        ConfigError: a value is out of range.
    """

    number: int = 2
    shortest: float = 0.05
    longest: float = 0.2
    least: float = 0.1
    most: float = 0.4
    tries: int = 50

    def __post_init__(self) -> None:
        for low, high in (("shortest", "longest"), ("least", "most")):
            given = getattr(self, low), getattr(self, high)
            if not 0 < given[0] <= given[1] <= 1:
                raise ConfigError(f"{low} and {high} must be 0 < {low} <= {high} <= 1, got {given[0]} and {given[1]}")
        for name in ("number", "tries"):
            if isinstance(getattr(self, name), bool) or not getattr(self, name) >= 1:
                raise ConfigError(f"{name} must be >= 1, got {getattr(self, name)!r}")

    def __call__(self, image: Tensor, size: tuple[int, int], boxes: Tensor, draws: Generator) -> SecondView:
        """See the base class."""
        shown, unmoved = image.clone(), torch.eye(3, dtype=torch.float64)
        corners = boxes.detach().cpu().double()
        left, cut = self.tries if len(boxes) else 0, 0
        while left and cut < self.number:
            left -= 1
            x1, y1, x2, y2 = self._rectangle(size, draws)
            if self.least <= _greatest_share(corners, (x1, y1, x2, y2)) <= self.most:
                shown[:, y1:y2, x1:x2] = 0
                cut += 1
        return SecondView(shown, unmoved)

    def _rectangle(self, size: tuple[int, int], draws: Generator) -> tuple[int, int, int, int]:
        """Give x1, y1, x2 and y2 in whole pixels."""
        high, wide = (uniform(draws, self.shortest * side, self.longest * side) for side in size)
        x1, y1 = uniform(draws, 0, size[1] - wide), uniform(draws, 0, size[0] - high)
        return int(x1), int(y1), int(x1 + wide), int(y1 + high)


@final
@dataclass(frozen=True)
class Shrink(AbstractAugmentation):
    """The image smaller, in its upper left.

    The released code makes the file smaller; its detector then enlarges it again, which leaves less detail alone.

    Args:
        factor: of both sides.

    Raises:
        ConfigError: it is outside (0, 1).
    """

    factor: float = 0.8

    def __post_init__(self) -> None:
        if not 0 < self.factor < 1:
            raise ConfigError(f"factor must be in (0, 1), got {self.factor}")

    def __call__(self, image: Tensor, size: tuple[int, int], boxes: Tensor, draws: Generator) -> SecondView:
        """See the base class."""
        warp = torch.tensor([self.factor, self.factor, 1], dtype=torch.float64).diag()
        return SecondView(warped(image, warp), warp)


@final
@dataclass(frozen=True)
class Rotate(AbstractAugmentation):
    """The image turned about its center, then pressed into its own size, so that all of it is seen (as released).

    Args:
        degrees: counter-clockwise, in (-90, 90).

    Raises:
        ConfigError: they are not.
    """

    degrees: float = 5.0

    def __post_init__(self) -> None:
        if not -90 < self.degrees < 90:
            raise ConfigError(f"degrees must be in (-90, 90), got {self.degrees}")

    def __call__(self, image: Tensor, size: tuple[int, int], boxes: Tensor, draws: Generator) -> SecondView:
        """See the base class."""
        height, width = size
        cos, sin = math.cos(math.radians(self.degrees)), math.sin(math.radians(self.degrees))
        turn = torch.tensor([[cos, sin, 0], [-sin, cos, 0], [0, 0, 1]], dtype=torch.float64)
        to_origin = torch.eye(3, dtype=torch.float64)
        to_origin[:2, 2] = torch.tensor([-width / 2, -height / 2])
        factors = width / (height * abs(sin) + width * cos), height / (height * cos + width * abs(sin))
        warp = about_center(width, height, factors, (0.0, 0.0)) @ to_origin.inverse() @ turn @ to_origin
        return SecondView(warped(image, warp), warp)


FCDR: tuple[AbstractAugmentation, ...] = (Mirror(), CutOut(), Shrink(), Rotate())
"""Flip, cutout, a smaller image and a rotation: the released code's default."""


def with_views(
    detect: Callable[[Batch, Need], Predictions],
    batch: Batch,
    needs: Need,
    augmentations: Sequence[AbstractAugmentation],
) -> Predictions:
    """Detect in images, and find the partners of the detections in other views.

    A detection's partner is the detection of the view, of any class, with which its moved box has the greatest IoU; the
    first of equal ones, so the one of the highest score. What is random follows from the dataset index and the seed of
    torch, not from what else is in the batch.

    Args:
        detect: gives what is asked for of a batch.
        batch: B images.
        needs: with ``Need.AUGMENTED``.
        augmentations: V of them.

    Returns:
        What is asked for; ``views`` are the detections' own posteriors, then V times their partners'.
    """
    asked = Need.POSTERIOR | Need.BOXES
    found = detect(batch, needs & ~Need.AUGMENTED | asked)
    assert found.boxes is not None and found.posterior is not None, "they were asked for"
    boxes = input_boxes(found.boxes, found.row, batch)
    seen = []
    for augmentation in augmentations:
        images, moved = _shown(augmentation, batch, boxes, found.row)
        view = batch._replace(images=images, second=None, warp=None, redraw=None)
        seen.append(_seen(moved, found, detect(view, asked), view))
    probs = torch.stack([found.posterior.probs, *(each.probs for each in seen)])
    given = {"view_ious": torch.stack([each.ious for each in seen], 1)}
    given["view_scores"] = torch.stack([each.scores for each in seen], 1)
    own = {name: getattr(found, name) for name in found.forms()}
    return Predictions(**own | given | {"views": Posterior(probs, found.posterior.form)}).only(needs)


class _Seen(NamedTuple):
    """What a view shows."""

    probs: Tensor
    """``Float[D C]`` of partners; NaN where the view of the image shows nothing."""
    ious: Tensor
    """``Float[D]`` with them; NaN likewise."""
    scores: Tensor
    """``Float[B K]`` the highest of each class, 0 for none."""


def _shown(augmentation: AbstractAugmentation, batch: Batch, boxes: Tensor, row: Tensor) -> tuple[Tensor, Tensor]:
    """``Float[B 3 H W]`` the view of each image, and ``Float[D 4]`` where the boxes are in it."""
    images, moved = torch.empty_like(batch.images), torch.empty_like(boxes)
    name = type(augmentation).__name__
    for place, (index, size) in enumerate(zip(batch.index.tolist(), input_sizes(batch).tolist(), strict=True)):
        own = row == place
        draws = generator(torch.initial_seed(), name, index)
        images[place], warp = augmentation(batch.images[place], (size[0], size[1]), boxes[own], draws)
        moved[own] = warp_boxes(boxes[own], warp.to(boxes))
    return images, clip(moved, row, batch)


def _seen(moved: Tensor, found: Predictions, view: Predictions, batch: Batch) -> _Seen:
    """Find the partners of D moved boxes among what was detected in a view."""
    assert view.boxes is not None and view.posterior is not None and view.labels is not None, "they were asked for"
    assert view.scores is not None, "every detector gives them"
    there, posterior = input_boxes(view.boxes, view.row, batch), view.posterior
    probs = moved.new_full((len(moved), posterior.probs.shape[-1]), torch.nan)
    ious = moved.new_full((len(moved),), torch.nan)
    for place in range(len(batch.images)):
        own, others = (found.row == place).nonzero().flatten(), (view.row == place).nonzero().flatten()
        if len(own) and len(others):
            best = box_iou(moved[own], there[others]).nan_to_num(0.0).max(1)  # two empty boxes have none
            ious[own] = best.values
            probs[own] = posterior.probs[others[best.indices]].to(probs)
    number = posterior.foreground.shape[-1]
    scores = moved.new_zeros(len(batch.images) * number)
    scores.scatter_reduce_(0, view.row * number + view.labels, view.scores.to(scores), "amax")
    return _Seen(probs, ious, scores.view(-1, number))


def _greatest_share(boxes: Tensor, rectangle: tuple[int, int, int, int]) -> float:
    """Of the boxes (``Double[n 4]``, n > 0), the greatest share that lies in the rectangle; 0 of those without area."""
    cut = boxes.new_tensor(rectangle)
    sides = (torch.minimum(boxes[:, 2:], cut[2:]) - torch.maximum(boxes[:, :2], cut[:2])).clamp(min=0)
    areas = (boxes[:, 2:] - boxes[:, :2]).clamp(min=0).prod(1)
    return float(torch.where(areas > 0, sides.prod(1) / areas, 0.0).max())
