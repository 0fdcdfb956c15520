"""What was measured before as a sheet: for the page, for Markdown and for LaTeX."""

from __future__ import annotations

from collections.abc import Sequence

from alpl.report.page.sheets import Entry, Sheet
from alpl.report.read.measured import Measured
from alpl.report.read.printed import Printed
from alpl.report.read.tables import EMPTY

EXPLANATION = (
    "Of earlier runs, whose folders need not be here: no part of the tables and verdicts above. Seconds: of all stages "
    "of a run."
)


def measured_sheet(measured: Sequence[Measured], printed: Printed) -> Sheet:
    """Give a line a number, with the paper's beside it."""
    head = ("row", "column", "device", "precision", "commit", "paper", "ours", "seeds", "seconds")
    lines = []
    for one in measured:
        theirs = printed.get((one.row, one.column), ("", ""))[0] or EMPTY
        ours = one.mean + (f" ± {one.std}" if one.std else "")
        texts = (one.row, one.column, one.device, one.precision, one.commit[:8], theirs, ours, one.seeds, one.seconds)
        lines.append(tuple(Entry(text) for text in texts))
    return Sheet("Measured before", head, tuple(lines), num_texts=5, notes=(EXPLANATION,))
