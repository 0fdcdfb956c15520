"""Cells of CSV files, which spreadsheets open: no foreign name is a formula there."""

from __future__ import annotations

import re

_FORMULA = ("=", "+", "-", "@", "\t", "\r")
_NUMBER = re.compile(r"[-+]?\d[\d.,]*(e[-+]?\d+)?( ± \d[\d.,]*)?( ?%)?")  # with a sign and a deviation, maybe


def cell(value: object) -> object:
    """Put an apostrophe before a text that a spreadsheet would take for a formula; numbers stay.

    >>> cell("=HYPERLINK(1)"), cell("-1.5"), cell("- 1.50 ± 0.2"), cell(-1.5)
    ("'=HYPERLINK(1)", '-1.5', "'- 1.50 ± 0.2", -1.5)
    """
    if not isinstance(value, str) or not value.startswith(_FORMULA):
        return value
    return value if _NUMBER.fullmatch(value) else f"'{value}"


def name_cell(name: str) -> str:
    """Write a name so that it is no formula, and :func:`name_of` reads it back, whatever it holds.

    >>> name_cell("=1"), name_of("'=1"), name_of(name_cell("'s")), name_of("'s"), name_cell("car")
    ("'=1", '=1', "'s", "'s", 'car')
    """
    return f"'{name}" if name.startswith((*_FORMULA, "'")) else name


def name_of(text: str) -> str:
    """Read what :func:`name_cell` wrote, or what a person typed."""
    return text[1:] if text.startswith("'") and text[1:].startswith((*_FORMULA, "'")) else text
