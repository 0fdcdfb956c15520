"""The paper's rows and which of our variants stand for them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from alpl.report.read.aggregate import Variant
from alpl.report.read.classes import DEFAULT_REFERENCE
from alpl.report.read.paper import PaperTable
from alpl.report.read.printed import Printed


class PaperRow(NamedTuple):
    """One row of the paper, and our variants' label for it ("" where it was not run)."""

    paper_row: str
    label: str
    variants: list[Variant]

    def on(self, data: str) -> Variant | None:
        """Give the variant on a data set."""
        return next((variant for variant in self.variants if variant.data == data), None)


def paper_rows(table: PaperTable, printed: Printed, variants: Sequence[Variant]) -> list[PaperRow]:
    """Give the paper's rows in its order, one for each label of ours, then ours that the paper lacks ("")."""
    found: dict[str, dict[str, list[Variant]]] = {row: {} for row, _ in printed}
    extra: dict[str, list[Variant]] = {}
    for variant in variants:
        found.get(table.rows.get(variant.row, variant.row), extra).setdefault(variant.label, []).append(variant)
    ours = [
        PaperRow(row, label, members)
        for row, labels in found.items()
        for label, members in (labels or {"": []}).items()
    ]
    return ours + [PaperRow("", label, members) for label, members in extra.items()]


def reference_row(table: PaperTable, printed: Printed, wanted: str | None) -> str:
    """Give the paper's name of a reference row: of the wanted row of ours, of ``random``, or the first one.

    Returns:
        "" where the paper prints no row.
    """
    rows = list(dict.fromkeys(row for row, _ in printed))
    names = (table.rows.get(name, name) for name in (wanted, DEFAULT_REFERENCE) if name)
    return next((row for row in names if row in rows), rows[0] if rows else "")


def absence(table: PaperTable, row: PaperRow) -> str:
    """Say why a row has no number of ours: that it was not run, or why it cannot be."""
    return f"missing: {table.missing[row.paper_row]}" if row.paper_row in table.missing else "not run"
