"""What a figure is drawn from, and what is said beside it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeAlias, final

from alpl.report.drawn.overlap import OverlapTable
from alpl.report.drawn.style import LineStyle
from alpl.report.judged.comparison import Comparison
from alpl.report.read.aggregate import Variant
from alpl.report.read.classes import ClassTable
from alpl.report.read.tables import WideTable

Drawn: TypeAlias = "bytes | Mapping[str, bytes] | None"
"""A PNG file; one for each of several rows, by label; None where there is nothing to draw yet."""


@final
@dataclass(frozen=True)
class Caption:
    """What the page says of a figure; ``{data}`` stands for its data set, ``{row}`` for its row where it has one.

    Args:
        alt: what it shows, for those who do not see it.
        heading: above it; may be empty.
        text: between heading and figure; may be empty.
        is_wide: whether it needs more than a column of text.
        is_folded: whether it can be folded away, for figures of single rows.
    """

    alt: str
    heading: str = ""
    text: str = ""
    is_wide: bool = False
    is_folded: bool = False


@final
@dataclass(frozen=True, eq=False)
class Material:
    """The part of a report that one figure is about: one data set, or several that it joins.

    Args:
        tables: one a data set, at least one.
        styles: label -> look, the same in every figure of the report.
        classes: average precision class by class, of the data sets whose runs tell it.
        overlaps: what queries have in common.
        paper: ours beside the paper's values.
        notes: what cannot be read is named here (appended to).
    """

    tables: tuple[WideTable, ...]
    styles: Mapping[str, LineStyle]
    classes: tuple[ClassTable, ...] = ()
    overlaps: tuple[OverlapTable, ...] = ()
    paper: tuple[Comparison, ...] = ()
    notes: list[str] = field(default_factory=list)

    @property
    def table(self) -> WideTable:
        """The first data set's."""
        return self.tables[0]

    @property
    def data(self) -> str:
        """The data sets by name."""
        return ", ".join(table.data for table in self.tables)

    @property
    def variants(self) -> tuple[Variant, ...]:
        """The lines of all tables."""
        return tuple(variant for table in self.tables for variant in table.variants)

    @property
    def recorded(self) -> tuple[Variant, ...]:
        """Those whose runs are their own: what they recorded is shown once."""
        return tuple(variant for variant in self.variants if not variant.is_derived)

    def of(self, names: Sequence[str]) -> Material:
        """Give the part that is about these data sets."""
        return replace(
            self,
            tables=tuple(table for table in self.tables if table.data in names),
            classes=tuple(one for one in self.classes if one.data in names),
            overlaps=tuple(one for one in self.overlaps if one.data in names),
            paper=tuple(one for one in self.paper if one.data in names),
        )

    def only(self, rows: Sequence[str]) -> Material:
        """Give the part that is about these rows, in their order; gains stay told against the same reference."""
        tables = tuple(_only(table, rows) for table in self.tables)
        labels = [variant.label for table in tables for variant in table.variants]
        classes = (one.only(labels) for one in self.classes)
        overlaps = (one.only(labels) for one in self.overlaps)
        return replace(
            self,
            tables=tables,
            classes=tuple(one for one in classes if one.lines),
            overlaps=tuple(one for one in overlaps if one.pairs),
        )


def _only(table: WideTable, rows: Sequence[str]) -> WideTable:
    lines = [line for row in rows for line, variant in enumerate(table.variants) if variant.row == row]
    return replace(
        table,
        variants=tuple(table.variants[line] for line in lines),
        cells=tuple(table.cells[line] for line in lines),
    )
