"""Tables for papers and for Markdown: ours by labeled images, and ours with the paper's numbers."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import final

from alpl.report.judged.best import is_best
from alpl.report.judged.comparison import Cell, Comparison, Line
from alpl.report.read.partial import seeds_text
from alpl.report.read.tables import EMPTY, LOW, WideTable, format_mean, metric_title, number

_SPECIAL = {character: "\\" + character for character in "&%$#_{}"} | {
    "\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "±": r"$\pm$", "—": "--",
    "<": r"\textless{}", ">": r"\textgreater{}", "|": r"\textbar{}", '"': "''",
    "[": "{[}", "*": "{*}",  # bare at the beginning of a line they would be arguments of the \\ before it
}  # fmt: skip
_LOW = tuple(name.removeprefix("test/") for name in LOW)


@final
@dataclass(frozen=True)
class Entry:
    """One cell of text."""

    text: str
    is_best: bool = False


@final
@dataclass(frozen=True)
class Sheet:
    """A table of text.

    Args:
        title: what it shows.
        head: one name a column; the first ``num_texts`` columns are text, the others numbers.
        lines: as long as the head.
        num_texts: see ``head``.
        notes: what the reader must know.
        groups: lines that belong together, before which LaTeX leaves a space; 1 for none.
    """

    title: str
    head: tuple[str, ...]
    lines: tuple[tuple[Entry, ...], ...]
    num_texts: int = 1
    notes: tuple[str, ...] = ()
    groups: int = 1


def wide_sheet(table: WideTable) -> Sheet:
    """Ours by the number of labeled images; the best of a column is marked where it can be told from the others."""
    if table.metric is None:
        return Sheet(f"{table.data}: no cycle is finished yet", ("acquisition", "seeds"), ())
    head = ("acquisition", *(number(labeled) for labeled in table.columns), "seeds")
    places = range(len(table.columns))
    lines = tuple(
        (
            Entry(variant.label),
            *(Entry(table.text(line, place), is_best(table, line, place)) for place in places),
            Entry(seeds_text(variant)),
        )
        for line, variant in enumerate(table.variants)
    )
    return Sheet(f"{table.data}: {metric_title(table.metric)} by labeled images", head, lines)


def paper_sheet(one: Comparison) -> Sheet:
    """Ours with the paper's numbers; in judged tables, among ours and the paper's the best of each column is marked.

    Of some metrics (see :data:`alpl.report.read.tables.LOW`) the lowest is the best.
    """
    notes = tuple(note for note in (one.remark, *one.settings) if note)
    if not one.by_cycle:
        return _by_data(one, notes)
    head = ("row", "", *(f"cycle {place}" for place in range(len(one.lines[0].cells))), "verdict")
    lines = []
    for line in one.lines:
        theirs = (_entry(one, place, _paper_value, _paper_text, line) for place in range(len(line.cells)))
        ours = (_entry(one, place, _our_value, _our_text, line) for place in range(len(line.cells)))
        if _has_paper(one):
            lines.append((Entry(_name(line)), Entry("paper"), *theirs, Entry("")))
        first = "" if _has_paper(one) else line.label
        lines.append((Entry(first), Entry("ours"), *ours, Entry(_verdict(line))))
    return Sheet(_title(one), head, tuple(lines), 2, notes, 2 if _has_paper(one) else 1)


def sheet_markdown(sheet: Sheet) -> str:
    """Give a sheet as Markdown."""
    rows = [list(sheet.head), ["---"] * sheet.num_texts + ["---:"] * (len(sheet.head) - sheet.num_texts)]
    for line in sheet.lines:
        texts = (entry.text.replace("|", "\\|") for entry in line)
        rows.append([f"**{text}**" if entry.is_best else text for entry, text in zip(line, texts, strict=True)])
    body = "\n".join("| " + " | ".join(row) + " |" for row in rows)
    return "\n\n".join([f"## {sheet.title}", body, *sheet.notes]) + "\n"


def sheet_latex(sheet: Sheet) -> str:
    r"""Give a sheet as a LaTeX table with the rules of booktabs; the document needs ``\usepackage{booktabs}``."""
    columns = "l" * sheet.num_texts + "r" * (len(sheet.head) - sheet.num_texts)
    lines = [r"\begin{table}", r"\centering", rf"\caption{{{latex_text(sheet.title)}}}"]
    lines += [rf"\begin{{tabular}}{{{columns}}}", r"\toprule", _latex_line([latex_text(name) for name in sheet.head])]
    lines.append(r"\midrule")
    for position, line in enumerate(sheet.lines):
        if position and sheet.groups > 1 and position % sheet.groups == 0:
            lines.append(r"\addlinespace")
        texts = ((latex_text(entry.text), entry.is_best) for entry in line)
        lines.append(_latex_line([rf"\textbf{{{text}}}" if best else text for text, best in texts]))
    lines += [r"\bottomrule", r"\end{tabular}", r"\end{table}"]
    return "\n".join([*(f"% {' '.join(note.split())}" for note in sheet.notes), *lines]) + "\n"


def latex_text(text: str) -> str:
    r"""Write text so that LaTeX prints it as it is.

    >>> print(latex_text("top_20% ± 0.1"))
    top\_20\% $\pm$ 0.1
    """
    return re.sub(r"[\\&%$#_{}~^±—<>|\"\[*]", lambda found: _SPECIAL[found.group()], text)


def _by_data(one: Comparison, notes: tuple[str, ...]) -> Sheet:
    told = (*(["paper"] if _has_paper(one) else []), "ours", *(["verdict"] if one.is_judged else []))
    head = ["row", *(f"{name} {what}" for name in one.headings for what in told)]
    lines = []
    for line in one.lines:
        entries = [Entry(_name(line) if _has_paper(one) else line.label)]
        for place, cell in enumerate(line.cells):
            entries += [_entry(one, place, _paper_value, _paper_text, line)] if _has_paper(one) else []
            entries.append(_entry(one, place, _our_value, _our_text, line))
            entries += [Entry(cell.verdict.word if cell.verdict else EMPTY)] if one.is_judged else []
        lines.append(tuple(entries))
    return Sheet(_title(one), tuple(head), tuple(lines), 1, notes)


def _has_paper(one: Comparison) -> bool:
    """Whether the paper has a place in the table: not in one of columns that are ours alone."""
    return one.is_printed or not one.title


def _title(one: Comparison) -> str:
    about = ", ".join(part for part in (one.data, one.title) if part)
    if not _has_paper(one):
        return about
    return f"{about}: ours and the paper's numbers" if about else "Ours and the paper's numbers"


def _entry(
    one: Comparison,
    place: int,
    value_of: Callable[[Cell], float | None],
    text_of: Callable[[Cell], str],
    line: Line,
) -> Entry:
    """Give the text of a cell, marked where its value is the best of its column."""
    cell = line.cells[place]
    values = [value for value in (value_of(other.cells[place]) for other in one.lines) if value is not None]
    here, better = value_of(cell), min if cell.metric.startswith(_LOW) else max
    is_best = one.is_judged and here is not None and len(set(values)) > 1 and here == better(values)
    return Entry(text_of(cell), is_best)


def _paper_value(cell: Cell) -> float | None:
    return float(cell.paper_mean) if cell.paper_mean else None


def _paper_text(cell: Cell) -> str:
    return cell.paper_text or EMPTY


def _our_value(cell: Cell) -> float | None:
    return None if cell.ours is None or math.isnan(cell.ours.mean) else cell.ours.mean


def _our_text(cell: Cell) -> str:
    if cell.ours is None:
        return EMPTY
    text = format_mean(cell.ours.mean, cell.ours.std, cell.scale)
    return text if cell.ours.num_seeds >= cell.num_runs else f"{text} (n={cell.ours.num_seeds} of {cell.num_runs})"


def _name(line: Line) -> str:
    if not line.paper_row:
        return f"{line.label} (not in the paper)"
    return line.paper_row + (f" ({line.label})" if line.label else "")


def _verdict(line: Line) -> str:
    return line.verdict.word if line.verdict else EMPTY


def _latex_line(texts: Sequence[str]) -> str:
    return " & ".join(texts) + r" \\"
