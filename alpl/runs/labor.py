"""What a person did for a run, as its journal has it. No torch."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, final

STAGE = "annotate"


@final
@dataclass(frozen=True)
class Labor:
    """Of the answers to one query.

    Args:
        made: classes and boxes that the person gave or corrected.
        accepted: those that the model had found so.
        seconds: of work; None where an answer does not say.
    """

    made: int
    accepted: int
    seconds: float | None

    def as_note(self) -> dict[str, Any]:
        """Give what the journal's line of the stage holds."""
        return {"made": self.made, "accepted": self.accepted, "person_seconds": self.seconds}


def labors(journal: Iterable[Mapping[str, Any]]) -> dict[int, Labor]:
    """Cycle of the query -> what was done; nothing of simulated runs."""
    return {
        int(entry["cycle"]): Labor(int(entry["made"]), int(entry["accepted"]), entry.get("person_seconds"))
        for entry in journal
        if entry.get("stage") == STAGE and {"made", "accepted"} <= entry.keys()
    }
