"""What a work claims, as an experiment declares it: ``report.claims``."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, final

from alpl.errors import DataError
from alpl.report.read.cycles import LAST, check_cycle

AREA = "area"
_MUST = {"row", "than", "difference", "seeds"}
_MAY = {"at", "metric"}


@final
@dataclass(frozen=True)
class Claim:
    """One entry of ``report.claims``: a row is better than another.

    Args:
        name: its key: what is claimed, in words.
        row: our row that the claim praises.
        than: our row that it is told against.
        difference: the smallest that matters, in the metric's own unit (0.01 is a point of accuracy), > 0.
        seeds: of the verdict; those that the regime was sought on are not among them.
        at: ``area`` for the mean height of the curve, or a cycle: a number, ``last`` or ``mean`` of all cycles.
        metric: with or without ``test/``; the table's if None.
    """

    name: str
    row: str
    than: str
    difference: float
    seeds: tuple[int, ...]
    at: int | str = LAST
    metric: str | None = None


def read_claims(given: Any) -> tuple[Claim, ...]:
    """Read ``report.claims``: what is claimed -> a mapping as :class:`Claim` has it.

    Raises:
        DataError: an entry is not as that says; the message names the key.
    """
    named = {} if given is None else given
    if not isinstance(named, Mapping):
        raise DataError(f"report.claims must map what is claimed to its rows, got {given!r}")
    return tuple(_read(str(name), f"report.claims.{name}", entry) for name, entry in named.items())


def _read(name: str, place: str, entry: Any) -> Claim:
    if not isinstance(entry, Mapping) or not entry.keys() >= _MUST or not entry.keys() <= _MUST | _MAY:
        must, may = ", ".join(sorted(_MUST)), ", ".join(sorted(_MAY))
        raise DataError(f"{place} must have {must} and maybe {may}, got {entry!r}")
    if str(entry["row"]) == str(entry["than"]):
        raise DataError(f"{place}.than must be another row than {place}.row, got {entry['than']!r} twice")
    at = entry.get("at", LAST)
    return Claim(
        name=name,
        row=str(entry["row"]),
        than=str(entry["than"]),
        difference=_difference(f"{place}.difference", entry["difference"]),
        seeds=_seeds(f"{place}.seeds", entry["seeds"]),
        at=AREA if at == AREA else check_cycle(f"{place}.at (if not {AREA})", at),
        metric=str(entry["metric"]) if entry.get("metric") else None,
    )


def _difference(place: str, given: Any) -> float:
    is_number = isinstance(given, (int, float)) and not isinstance(given, bool)
    if not is_number or not math.isfinite(given) or given <= 0:
        raise DataError(f"{place} must be a finite number > 0, got {given!r}")
    return float(given)


def _seeds(place: str, given: Any) -> tuple[int, ...]:
    is_list = isinstance(given, Sequence) and not isinstance(given, str)
    if not is_list or not all(isinstance(seed, int) and not isinstance(seed, bool) for seed in given):
        raise DataError(f"{place} must be a list of whole numbers, got {given!r}")
    if not given or len(set(given)) < len(given):
        raise DataError(f"{place} must be at least one seed and each named once, got {given!r}")
    return tuple(given)
