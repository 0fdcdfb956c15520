"""The top level of a run's config."""

from __future__ import annotations

import difflib
from collections.abc import Sequence

TOP_LEVEL = [
    "data",
    "model",
    "schedule",
    "acquisition",
    "pseudo_labels",
    "learner",
    "partner",
    "pretrained",
    "motion",
    "oracle",
    "callbacks",
    "trainer",
    "speed",
    "logger",
    "paths",
    "report",
    "table",
    "row",
    "seed",
    "num_threads",
    "num_members",
    "warm_start",
    "informativeness",
    "gallery",
    "embedding",
    "checkpoint_every_s",
    "grace_s",
    "keep_models",
    "keep_predictions",
    "share_first_cycle",
]


def did_you_mean(name: str, known: Sequence[str]) -> str:
    """End a message about an unknown name with the known one that is like it, or with all."""
    close = difflib.get_close_matches(name, known, n=1)
    return f"; did you mean {close[0]!r}?" if close else f"; known: {', '.join(sorted(known))}"
