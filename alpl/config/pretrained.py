"""What of a config the weights depend on that a backbone was pre-trained to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

from omegaconf import DictConfig

from alpl.config.compose import content_of


@final
@dataclass(frozen=True)
class PretrainedConfig:
    """Where pre-trained weights are, and what they depend on beside the images.

    Args:
        cache: the folder of the products.
        content: the recipe, and how images are normalized.
    """

    cache: Path
    content: Mapping[str, Any]


def pretrained_config(config: DictConfig) -> PretrainedConfig | None:
    """Read it from a run's config; None where the run starts from no such weights."""
    if config.get("pretrained") is None:  # a run of before has no such key
        return None
    content = content_of(config)
    kept = {"pretrained": content["pretrained"], "normalize": content["data"].get("normalize")}
    return PretrainedConfig(Path(config.paths.cache), kept)
