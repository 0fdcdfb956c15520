"""Features of a folder's images, by a network of torchvision or timm that somebody else trained.

Axes: N images, F features.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import torch
import torchvision
from PIL import Image, ImageOps
from torch import Tensor, nn

from alpl.errors import ConfigError, DataError
from alpl.machine.files import reading
from alpl.networks.backbones import timm_backbone, torchvision_backbone

Preprocess: TypeAlias = Callable[[Image.Image], Tensor]

SUFFIXES = frozenset({".bmp", ".gif", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"})
_TIMM = "timm/"


def image_files(folder: Path) -> list[Path]:
    """Name the images below a folder, by their names, in alphabetical order.

    Not the ``._`` files that macOS puts beside them.

    Raises:
        DataError: there are none.
    """
    found = sorted(
        path
        for path in folder.rglob("*")
        if path.suffix.lower() in SUFFIXES and not path.name.startswith("._") and path.is_file()
    )
    if not found:
        raise DataError(f"{folder} must be a folder with images ({', '.join(sorted(SUFFIXES))}), there are none")
    return found


def make_backbone(name: str, weights: str | None = "DEFAULT") -> tuple[nn.Module, Preprocess]:
    """Make a network without its classifier, and what prepares an image for it.

    Args:
        name: of a classification network of torchvision (``resnet50``), or ``timm/<name>`` of timm's.
        weights: ``DEFAULT`` or another name of torchvision's, which fetches them where they are not cached, as timm
            does with ``DEFAULT``; a file with a state dict of the whole network or of its backbone; None for random
            ones.

    Raises:
        ConfigError: name or weights are unknown, or timm is not installed.
        DataError: the file holds no weights of this network.
    """
    file = None if weights is None or not Path(weights).is_file() else Path(weights)
    known = None if file is not None else weights
    if name.startswith(_TIMM):
        if known not in (None, "DEFAULT"):
            raise ConfigError(f"weights of timm's networks must be DEFAULT, none or a file, got {weights!r}")
        network = timm_backbone(3, name.removeprefix(_TIMM), pretrained=known is not None)
        preprocess = _timm_preprocess(network)
    else:
        network = torchvision_backbone(3, name, known)
        enum = torchvision.models.get_model_weights(name)
        preprocess = enum[known or "DEFAULT"].transforms()
    if file is not None:
        _load(network, file)
    return network.eval(), preprocess


def image_features(
    files: Sequence[Path], network: nn.Module, preprocess: Preprocess, *, batch_size: int = 64
) -> Tensor:
    """``Float[N F]``: what a network without classifier gives for each image, on a GPU where there is one.

    Args:
        files: of N images.
        network: see :func:`make_backbone`.
        preprocess: its.
        batch_size: images at a time.

    Raises:
        DataError: a file is no image that can be decoded; names it.
    """
    device = "cuda" if torch.cuda.is_available() else "cpu"
    network.to(device)
    parts = []
    with torch.inference_mode():
        for start in range(0, len(files), batch_size):
            batch = torch.stack([_prepared(path, preprocess) for path in files[start : start + batch_size]])
            parts.append(network(batch.to(device)).flatten(1).float().cpu())
    return torch.cat(parts).clone()


def _prepared(path: Path, preprocess: Preprocess) -> Tensor:
    with reading(path, "an image"), Image.open(path) as image:
        return preprocess(ImageOps.exif_transpose(image).convert("RGB"))  # as a viewer turns it


def _timm_preprocess(network: nn.Module) -> Preprocess:
    data: Any = importlib.import_module("timm.data")  # which names no types of its own
    made: Preprocess = data.create_transform(**data.resolve_data_config({}, model=network))
    return made


def _load(network: nn.Module, file: Path) -> None:
    """Load the weights of the backbone; what else the file holds is of a classifier."""
    with reading(file, "a state dict (weights only)"):
        state: dict[str, Any] = torch.load(file, map_location="cpu", weights_only=True)
        missing = network.load_state_dict(state, strict=False).missing_keys
    if missing:
        raise DataError(f"{file} must hold the weights of the network, there is no {missing[0]}")
