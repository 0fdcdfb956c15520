"""The costs of networks as a sheet: for the page, for Markdown and for LaTeX."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from alpl.report.judged.intervals import Sample
from alpl.report.judged.network_cost import CostLine, NetworkCosts, Quantity
from alpl.report.page.sheets import Entry, Sheet
from alpl.report.read.tables import EMPTY

EXPLANATION = (
    "Parameters: of all that a row asks about an image, in millions; an ensemble's members count together. Forward: "
    "seconds of one image alone through the network of cycle 0, with all that the row's acquisition needs of it, up to "
    "its predictions; the fastest of some turns, then mean ± standard deviation over n seeds."
)
_PRINTED = "The paper's seconds are of another machine: only multiples (x) of the reference row can be compared."
_CHANGED = "These are the networks that ran: they are not the experiment's where the command line changed its settings."
_TITLES: dict[Quantity, str] = {"parameters": "parameters (M)", "trainable": "trainable (M)", "seconds": "forward (s)"}


def cost_sheet(costs: NetworkCosts) -> Sheet:
    """Give the lines of a data set; columns that would be empty are not there."""
    columns: list[tuple[str, list[str]]] = [("row", [_name(line) for line in costs.lines])]
    pairs = [(line.cells["parameters"], line.cells["trainable"]) for line in costs.lines]
    is_frozen = any(trainable.printed or trainable.ours != all_.ours for all_, trainable in pairs)
    for quantity, title in _TITLES.items():
        if quantity == "trainable" and not is_frozen:
            continue
        for name, text in _COLUMNS:
            texts = [text(line, quantity) for line in costs.lines]
            if any(one != EMPTY for one in texts):
                columns.append((f"{title}, {name}", texts))
    if len(costs.places) > 1:
        columns.append(("measured on", [str(line.place or EMPTY) for line in costs.lines]))
    lines = zip(*(texts for _, texts in columns), strict=True)
    entries = tuple(tuple(Entry(text) for text in line) for line in lines)
    return Sheet(_title(costs), tuple(name for name, _ in columns), entries, notes=_notes(costs))


def _title(costs: NetworkCosts) -> str:
    multiples = f" (x: multiples of {costs.reference})" if costs.reference else ""
    return f"{costs.data}: cost of the networks{multiples}"


def _notes(costs: NetworkCosts) -> tuple[str, ...]:
    where = (f"Measured on {costs.places[0]}.",) if len(costs.places) == 1 else ()
    printed = (_PRINTED,) if any(line.cells["seconds"].printed for line in costs.lines) else ()
    return (EXPLANATION, *printed, *where, *((_CHANGED,) if costs.is_changed else ()))


def _name(line: CostLine) -> str:
    name = line.paper_row + (f" ({line.label})" if line.paper_row and line.label else "")
    return (name or line.label) + ("" if line.status == "run" else f": {line.status}")


def _paper(line: CostLine, quantity: Quantity) -> str:
    return line.cells[quantity].printed or EMPTY


def _paper_ratio(line: CostLine, quantity: Quantity) -> str:
    return _ratio(line.cells[quantity].printed_ratio)


def _ours(line: CostLine, quantity: Quantity) -> str:
    ours = line.cells[quantity].ours
    if ours is None:
        return EMPTY
    return _seconds(ours) if quantity == "seconds" else _millions(ours.mean)


def _our_ratio(line: CostLine, quantity: Quantity) -> str:
    return _ratio(line.cells[quantity].ratio)


_COLUMNS: Sequence[tuple[str, Callable[[CostLine, Quantity], str]]] = (
    ("paper", _paper),
    ("ours", _ours),
    ("paper x", _paper_ratio),
    ("ours x", _our_ratio),
)


def _ratio(value: float | None) -> str:
    return EMPTY if value is None else f"{value:.3g}"


def _millions(value: float) -> str:
    """Two decimals, as the paper prints; more where they would be zero."""
    return f"{value:.2f}" if value >= 1 else f"{value:.4f}"


def _seconds(ours: Sample) -> str:
    spread = "" if ours.std is None else f" ± {ours.std:.2g}"
    return f"{ours.mean:.3g}{spread} (n={ours.num_seeds})"
