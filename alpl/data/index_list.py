"""Lists of images as others publish them: a text file with a dataset index a line."""

from __future__ import annotations

from pathlib import Path

import torch

from alpl.errors import ConfigError
from alpl.pool import Index


def read_index_list(path: Path, among: Index, name: str) -> Index:
    """``Long[n]``: the indices in the order of the lines.

    Args:
        path: the file; empty lines count for nothing.
        among: ``Long[P]`` the images that it may name.
        name: what the error message calls the path.

    Raises:
        ConfigError: the file cannot be read, names no image, has a line that is no index, or names an image twice or
            one that is not among these.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").split()
        index = torch.tensor([int(line) for line in lines], dtype=torch.long)
    except (OSError, ValueError, RuntimeError) as error:  # the last: a number that no tensor holds
        raise ConfigError(f"{name} must be a text file with one index a line, got {path}: {error}") from error
    if not len(index):
        raise ConfigError(f"{name} must name an image, {path} names none")
    if len(wrong := index[~torch.isin(index, among)]):
        raise ConfigError(f"{name} must name images that take part, {path} has {wrong[:5].tolist()}")
    ordered = index.sort().values
    if len(twice := ordered[1:][ordered.diff() == 0]):
        raise ConfigError(f"{name} must name each image once, {path} has {twice[:5].tolist()} more than once")
    return index
