"""What a figure is drawn from, and what is said beside it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeAlias, final

from alpl.report.drawn.overlap import OverlapTable
from alpl.report.drawn.style import MOST_ROWS, LineStyle
from alpl.report.judged.comparison import Comparison
from alpl.report.read.aggregate import Variant
from alpl.report.read.classes import ClassTable, reference_label
from alpl.report.read.tables import LOW, WideTable

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
    of_paper: str = ""
    """What the text says further where the paper prints numbers of the data set."""
    numbers: str = ""
    """The report's file that holds what a figure leaves out; empty where there is none."""
    counts_rows: bool = False
    """Whether a line of the figure is a row with all its settings, and not one of them."""
    most: int = MOST_ROWS
    """Rows that it shows: of more, those that lead."""


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
        reference: the row that gains are told against; ``random`` or the first one if None.
    """

    tables: tuple[WideTable, ...]
    styles: Mapping[str, LineStyle]
    classes: tuple[ClassTable, ...] = ()
    overlaps: tuple[OverlapTable, ...] = ()
    paper: tuple[Comparison, ...] = ()
    notes: list[str] = field(default_factory=list)
    reference: str | None = None

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
        return self._lines(tuple(_in_order(table, rows) for table in self.tables))

    def most(self, number: int, *, by_row: bool = False) -> Material:
        """Give the part that is about so many labels at most: see :func:`leading`.

        Args:
            number: of labels, or of rows.
            by_row: count rows, each with all its labels.
        """
        lines = [variant.row if by_row else variant.label for variant in self.variants]
        if len(set(lines)) <= number:
            return self
        kept = set(leading(self.tables, self.reference, by_row=by_row)[:number])
        chosen = ([v for v in table.variants if (v.row if by_row else v.label) in kept] for table in self.tables)
        tables = zip(self.tables, chosen, strict=True)
        return self._lines(tuple(_with(table, variants) for table, variants in tables))

    def _lines(self, tables: tuple[WideTable, ...]) -> Material:
        """Give what is about the lines of these tables."""
        labels = [variant.label for table in tables for variant in table.variants]
        classes = (one.only(labels) for one in self.classes)
        overlaps = (one.only(labels) for one in self.overlaps)
        return replace(
            self,
            tables=tables,
            classes=tuple(one for one in classes if one.lines),
            overlaps=tuple(one for one in overlaps if one.pairs),
        )


def leading(tables: Sequence[WideTable], reference: str | None, *, by_row: bool = False) -> list[str]:
    """Order the labels of tables, or their rows, by what a reader looks for first.

    The reference, training on all data, then the others by the last value of their curve, the best first.

    Args:
        tables: one a data set; a label counts where it is best.
        reference: the row that gains are told against.
        by_row: give rows in place of labels.
    """
    places: dict[str, tuple[int, float]] = {}
    for table in tables:
        base = reference_label(table.variants, reference) if table.variants else ""
        for variant in table.variants:
            name, group = variant.row if by_row else variant.label, 2 - variant.is_all_data
            place = (0 if variant.label == base else group, _behind(table, variant))
            places[name] = min(place, places.get(name, place))
    return sorted(places, key=lambda name: places[name])


def _behind(table: WideTable, variant: Variant) -> float:
    """The last value of the curve, lower for better."""
    curve = variant.curve(table.metric) if table.metric else ()
    value = curve[-1].mean if curve else math.nan
    better = value if table.metric is not None and table.metric.startswith(LOW) else -value
    return math.inf if math.isnan(value) else better


def _in_order(table: WideTable, rows: Sequence[str]) -> WideTable:
    return _with(table, [variant for row in rows for variant in table.variants if variant.row == row])


def _with(table: WideTable, variants: Sequence[Variant]) -> WideTable:
    """Give the table of these of its variants."""
    places = {id(variant): place for place, variant in enumerate(table.variants)}
    cells = tuple(table.cells[places[id(variant)]] for variant in variants)
    return replace(table, variants=tuple(variants), cells=cells)
