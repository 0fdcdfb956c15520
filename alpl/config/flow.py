"""Where optical flow is kept, and what of a config it depends on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

from omegaconf import DictConfig

from alpl.config.compose import content_of


@final
@dataclass(frozen=True)
class FlowConfig:
    """Where flow is kept, and what it depends on beside the frames.

    Args:
        cache: the folder of the products.
        content: the estimator.
    """

    cache: Path
    content: Mapping[str, Any]


def flow_config(config: DictConfig) -> FlowConfig | None:
    """Read it from a run's config; None where the run estimates no motion."""
    if config.get("motion") is None:  # a run of before has no such key
        return None
    content = dict(content_of(config)["motion"])
    content.pop("batch_size", None)  # how many pairs at a time, which changes no more than rounding
    return FlowConfig(Path(config.paths.cache), content)
