"""What synthetic scenes are drawn with: textures, strokes, blobs and ink, all from a seed.

Axes: H and W pixels of a canvas, h and w of a patch.
"""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

TILT, SHEAR, STRETCH = 0.3, 0.3, 0.2  # radians; share of the height; log of the aspect ratio: each at most
VISIBLE = 0.25  # opacity from which ink belongs to the box
CONTRASTS = 0.18, 0.7  # of ink against what is below it
NOISE_CELLS = 2, 8, 28  # pixels of the textures' grains


def texture(size: tuple[int, int], random: Generator) -> Tensor:
    """``Float[3 H W]``: a color, a gradient, and noise of several scales."""
    height, width = size
    angle = uniform(random, 0, 2 * math.pi)
    y, x = torch.meshgrid(torch.linspace(-1, 1, height), torch.linspace(-1, 1, width), indexing="ij")
    ramp = math.cos(angle) * x + math.sin(angle) * y
    base = torch.rand(3, generator=random) * 0.7 + 0.15
    canvas = base.view(3, 1, 1) + ramp * (torch.rand(3, 1, 1, generator=random) - 0.5) * 0.5
    for cell in NOISE_CELLS:
        grid = normal(random, 1, 3, height // cell + 2, width // cell + 2)
        gray = uniform(random, 0, 1)  # how far the three channels agree
        grid = gray * grid.mean(1, keepdim=True) * math.sqrt(3) + (1 - gray) * grid
        noise = F.interpolate(grid, size=size, mode="bicubic", align_corners=False)[0]
        canvas = canvas + noise * uniform(random, 0.01, 0.1)
    return canvas.clamp(0, 1)


def stroke(canvas: Tensor, random: Generator) -> None:
    """Draw a bent line of one color."""
    _, height, width = canvas.shape
    ends = torch.rand(3, 2, generator=random)  # start, control and end of a quadratic Bezier curve
    t = torch.linspace(0, 1, 64).view(-1, 1)
    curve = (1 - t) ** 2 * ends[0] + 2 * t * (1 - t) * ends[1] + t**2 * ends[2]
    curve = ends[0] + (curve - ends[0]) * uniform(random, 0.2, 1)
    y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    points = torch.stack([y, x], -1).view(-1, 2).float()
    distance = torch.cdist(points, curve * torch.tensor([height, width])).min(1).values.view(height, width)
    thickness = uniform(random, 0.008, 0.025) * min(height, width)
    mix(canvas, (thickness + 1 - distance).clamp(0, 1) * uniform(random, 0.4, 1), torch.rand(3, generator=random))


def blob(canvas: Tensor, random: Generator) -> None:
    """Draw a soft ellipse of one color."""
    _, height, width = canvas.shape
    radii = [uniform(random, 0.04, 0.2) * min(height, width) for _ in range(2)]
    y = (torch.arange(height) - uniform(random, 0, height)) / radii[0]
    x = (torch.arange(width) - uniform(random, 0, width)) / radii[1]
    opacity = torch.sigmoid(8 * (1 - (y.view(-1, 1) ** 2 + x**2).sqrt()))
    mix(canvas, opacity * uniform(random, 0.3, 0.9), torch.rand(3, generator=random))


def warp(patch: Tensor, height: float, random: Generator) -> Tensor:
    """Enlarge ``Float[a b]`` to about ``height`` pixels, tilted, sheared and stretched; with room around."""
    side = math.ceil(1.8 * height)
    tilt, shear = uniform(random, -TILT, TILT), uniform(random, -SHEAR, SHEAR)
    stretch = math.exp(uniform(random, -STRETCH, STRETCH))
    cos, sin = math.cos(tilt) * 1.8, math.sin(tilt) * 1.8
    turn = torch.tensor([[cos / stretch, sin / stretch], [-sin, cos]]) @ torch.tensor([[1.0, shear], [0.0, 1.0]])
    grid = F.affine_grid(torch.cat([turn, torch.zeros(2, 1)], 1)[None], [1, 1, side, side], align_corners=False)
    padded = F.pad(patch, (1, 1, 1, 1))[None, None]  # so that ink at the border fades out
    grid = grid * torch.tensor([patch.shape[1], patch.shape[0]]) / (torch.tensor(padded.shape[:1:-1]))
    sharp = F.grid_sample(padded, grid, mode="bicubic", padding_mode="zeros", align_corners=False)[0, 0]
    return ((sharp - 0.15) * 1.6).clamp(0, 1)


def cut(opacity: Tensor) -> Tensor:
    """Cut off all that is not visible around the ink, so that a box is tight."""
    rows = (opacity >= VISIBLE).any(1).nonzero().flatten().tolist()
    columns = (opacity >= VISIBLE).any(0).nonzero().flatten().tolist()
    return opacity[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]


def paint(canvas: Tensor, opacity: Tensor, box: tuple[int, int, int, int], random: Generator) -> None:
    """Paint ink on the canvas, in a color that stands out from what is below it."""
    below = canvas[:, box[1] : box[3], box[0] : box[2]]
    mean = below.mean((1, 2))
    lighter = bool(mean.mean() < uniform(random, 0.3, 0.7))
    contrast = uniform(random, *CONTRASTS)
    tint = (torch.rand(3, generator=random) - 0.5) * 0.3
    color = (mean + tint + (contrast if lighter else -contrast)).clamp(0, 1)
    mix(below, opacity * uniform(random, 0.8, 1), color)


def mix(canvas: Tensor, opacity: Tensor, color: Tensor) -> None:
    """Lay a color over ``Float[3 h w]``, in place."""
    canvas += opacity * (color.view(3, 1, 1) - canvas)


def uniform(random: Generator, low: float, high: float) -> float:
    """Draw one of [low, high)."""
    return low + (high - low) * float(torch.rand((), generator=random))


def integer(random: Generator, low: int, high: int) -> int:
    """Draw one of low to high, both included."""
    return int(torch.randint(low, high + 1, (), generator=random))


def normal(random: Generator, *shape: Any) -> Tensor:
    """Draw normal numbers."""
    return torch.randn(*shape, generator=random)
