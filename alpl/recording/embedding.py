"""Features of unlabeled images, the queried ones among them: what a t-SNE of the selection is made of.

Axes: U unlabeled images, n images that are kept, b images of the query, F features.
"""

from __future__ import annotations

from pathlib import Path

import torch

from alpl.acquisition.base import Query
from alpl.errors import ConfigError
from alpl.machine.files import whole_folder, write_array
from alpl.machine.seeding import generator
from alpl.predictions import Predictions


def record_embedding(folder: Path, query: Query, predictions: Predictions, *, limit: int, seed: int) -> None:
    """Write the image features of a sample of the unlabeled images and of all queried ones.

    The sample depends on ``seed`` alone, so that rows of a table that begin with the same model and pool keep the same
    images. Only the rows that are kept are read, so predictions may be memory-mapped.

    The folder holds ``index.npy`` ``Long[n]`` (dataset indices, ascending), ``features.npy`` ``Float32[n F]``,
    ``chosen.npy`` ``Long[b]`` (places in n of the queried images, in order of choice), and ``utility.npy``
    ``Float64[n]`` where the acquisition values every image.

    Args:
        folder: to make, or to replace; whole or not at all.
        query: as the acquisition gave it.
        predictions: of the unlabeled images, in ascending order, with image features.
        limit: images of the sample; n is at most ``limit + b``.
        seed: of the sample.

    Raises:
        ConfigError: ``limit`` is below 1.
        ValueError: predictions lack the image features or a queried image.
    """
    if limit < 1:
        raise ConfigError(f"limit must be >= 1, got {limit}")
    if predictions.image_features is None:
        raise ValueError("predictions must have image_features, got none")
    queried = torch.searchsorted(predictions.index, query.index)
    if not torch.equal(predictions.index[queried.clamp(max=len(predictions.index) - 1)], query.index):
        raise ValueError("query must hold images that the predictions are of")
    sample = torch.randperm(len(predictions.index), generator=generator(seed, "embedding"))[:limit]
    kept = torch.cat([sample, queried]).unique()
    with whole_folder(folder) as temporary:
        write_array(temporary / "index.npy", predictions.index[kept].numpy())
        write_array(temporary / "features.npy", predictions.image_features[kept].float().numpy())
        write_array(temporary / "chosen.npy", torch.searchsorted(kept, queried).numpy())
        if query.pool_utility is not None:
            write_array(temporary / "utility.npy", query.pool_utility[kept].double().numpy())
