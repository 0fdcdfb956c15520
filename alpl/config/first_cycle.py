"""What of a config the first cycle's training and test depend on: rows that agree in it need not train it twice."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

from omegaconf import DictConfig

from alpl.config.compose import content_of

# What acts on the first cycle after its test, or not at all; the initial set, which the schedule draws, is told by the
# pool itself, and the callbacks one by one, as only some of them are attached.
_LATER = ("acquisition", "partner", "motion", "schedule", "pseudo_labels", "informativeness", "warm_start", "callbacks")


@final
@dataclass(frozen=True)
class FirstCycleConfig:
    """Where the first cycle is shared, and what it depends on.

    Args:
        cache: the folder of the products.
        content: what fit and test depend on, less the callbacks.
        callbacks: of each callback that the config names, by its name and in its order.
    """

    cache: Path
    content: Mapping[str, Any]
    callbacks: Mapping[str, Mapping[str, Any]]


def first_cycle_config(config: DictConfig) -> FirstCycleConfig | None:
    """Read it from a run's config; None where the run trains its first cycle by itself."""
    if not config.share_first_cycle:
        return None
    content = content_of(config)
    callbacks = {name: value for name, value in content["callbacks"].items() if value is not None}
    kept = {name: value for name, value in content.items() if name not in _LATER}
    return FirstCycleConfig(Path(config.paths.cache), kept, callbacks)
