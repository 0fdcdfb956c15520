"""Columns that are made of a metric: relative to a row, improvement over a row, rise over the own cycle 0."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias, final, get_args

from alpl.errors import DataError
from alpl.report.read.cycles import LAST, check_cycle

Kind: TypeAlias = Literal["relative", "improvement", "rise"]
_KEYS = {"measure", "of", "columns", "cycle"}


@final
@dataclass(frozen=True)
class Measure:
    """One entry of ``report.derived``.

    Args:
        kind: ``relative``: ours by another row's, in percent; ``improvement``: that less 100; ``rise``: ours less that
            of the row's own cycle 0, in the table's unit.
        of: the other row, the same for all ("" as key) or our row -> the other; nothing for a rise.
        by_cycle: whether its columns are the cycles, else they are data sets.
        columns: data set or cycle -> the paper's column, "" where it prints none.
        cycle: which cycle the numbers of a data set are of.
    """

    kind: Kind
    of: Mapping[str, str] = field(default_factory=dict)
    by_cycle: bool = False
    columns: Mapping[str, str] = field(default_factory=dict)
    cycle: int | str = LAST

    def other(self, row: str) -> str | None:
        """Give the row that a row is told against; None where it is told against none."""
        return self.of.get(row, self.of.get(""))

    @property
    def title(self) -> str:
        """What the numbers are, for people."""
        others = ", ".join(dict.fromkeys(self.of.values()))
        told = {"relative": f"relative to {others} (%)", "improvement": f"improvement over {others} (%)"}
        at = "" if self.cycle == LAST or self.by_cycle else f", cycle {self.cycle}"
        return told.get(self.kind, "rise over the row's own cycle 0") + at

    @property
    def printed(self) -> set[str]:
        """The paper's columns."""
        return set(self.columns.values()) - {""}


def read_measures(given: Any) -> tuple[Measure, ...]:
    """Read ``report.derived``.

    Raises:
        DataError: an entry is not as :class:`Measure` says; the message names the key.
    """
    if given is not None and (isinstance(given, str) or not isinstance(given, Sequence)):
        raise DataError(f"report.derived must be a list, got {given!r}")
    return tuple(_read(f"report.derived[{place}]", entry) for place, entry in enumerate(given or ()))


def _read(place: str, entry: Any) -> Measure:
    if not isinstance(entry, Mapping) or not entry.keys() <= _KEYS:
        raise DataError(f"{place} must have some of {', '.join(sorted(_KEYS))}, got {entry!r}")
    kinds: dict[Any, Kind] = {kind: kind for kind in get_args(Kind)}
    kind = kinds.get(str(entry.get("measure")))
    if kind is None:
        raise DataError(f"{place}.measure must be one of {', '.join(kinds)}, got {entry.get('measure')!r}")
    columns, of = entry.get("columns"), entry.get("of") or {}
    if columns != "cycles" and not isinstance(columns, Mapping):
        raise DataError(f"{place}.columns must be cycles or map data sets or cycles to columns, got {columns!r}")
    if bool(of) == (kind == "rise"):
        raise DataError(f"{place}.of must name a row for relative and improvement alone, got {entry.get('of')!r}")
    others = {str(k): str(v) for k, v in of.items()} if isinstance(of, Mapping) else {"": str(of)}
    named = {} if columns == "cycles" else {str(k): str(v or "") for k, v in columns.items()}
    by_cycle = columns == "cycles" or all(name.isdecimal() for name in named)
    return Measure(kind, others, by_cycle, named, check_cycle(f"{place}.cycle", entry.get("cycle", LAST)))
