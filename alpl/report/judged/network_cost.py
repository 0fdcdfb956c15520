"""What each row's network costs, beside what the paper prints: parameters, forward seconds, multiples of a row."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias, final, get_args

from alpl.report.judged.intervals import Sample
from alpl.report.read.aggregate import Variant, mean_std
from alpl.report.read.classes import reference_label
from alpl.report.read.paper import PaperTable, PrintedCost
from alpl.report.read.printed import Printed
from alpl.report.read.rows import PaperRow, absence, paper_rows
from alpl.report.read.tables import csv_text
from alpl.runs.network_cost import NetworkCost

Quantity: TypeAlias = Literal["parameters", "trainable", "seconds"]
"""Parameters of all of a row's networks, and those that a fit changes, in millions; forward seconds of an image."""
QUANTITIES: tuple[Quantity, ...] = get_args(Quantity)


@final
@dataclass(frozen=True)
class Place:
    """Where and of what forward seconds were measured; those of two places cannot be compared."""

    device: str
    precision: str
    height: int
    width: int

    def __str__(self) -> str:
        return f"{self.device}, {self.precision}, an image of {self.height} x {self.width}"


@final
@dataclass(frozen=True)
class CostCell:
    """One quantity of a row.

    Args:
        printed: the paper's number as printed; "" for none.
        printed_ratio: the same as a multiple of that of the paper's reference row.
        ours: None where there is none; over the seeds.
        ratio: our mean as a multiple of that of our reference row in the same place.
    """

    printed: str = ""
    printed_ratio: float | None = None
    ours: Sample | None = None
    ratio: float | None = None


@final
@dataclass(frozen=True)
class CostLine:
    """One row in one place.

    Args:
        paper_row: the paper's name, "" for none.
        label: ours, "" for none.
        status: "run", or why there is nothing of ours.
        cells: all quantities.
        place: where ours was measured.
    """

    paper_row: str
    label: str
    status: str
    cells: Mapping[Quantity, CostCell]
    place: Place | None = None


@final
@dataclass(frozen=True)
class NetworkCosts:
    """One data set.

    Args:
        data: the data set's name.
        reference: our row that multiples are of; "" where it was not measured.
        lines: the paper's rows in its order, where it prints costs, then ours that it lacks.
        is_changed: whether the command line changed the experiment's setting in a run, or a run does not say.
    """

    data: str
    reference: str
    lines: tuple[CostLine, ...]
    is_changed: bool

    @property
    def places(self) -> tuple[Place, ...]:
        """Where anything was measured."""
        return tuple(dict.fromkeys(line.place for line in self.lines if line.place is not None))


def network_costs(table: PaperTable, variants: Sequence[Variant], printed: Printed) -> list[NetworkCosts]:
    """Give the costs of each data set on which a run measured them.

    Args:
        table: what the experiment says; where it names no column of costs, the rows are ours alone.
        variants: of all data sets.
        printed: the paper's numbers; empty where there are none.
    """
    about = table.cost or PrintedCost()
    shown = {key: value for key, value in printed.items() if key[1] in about.columns}
    found = []
    for data in dict.fromkeys(variant.data for variant in variants):
        members = [variant for variant in variants if variant.data == data]
        if any(run.network_cost for variant in members for run in variant.runs):
            found.append(_costs(table, about, shown, data, members))
    return found


def network_cost_csv(tables: Sequence[NetworkCosts]) -> str:
    """Write a line for each quantity of each row and place."""
    header = ["data", "row", "ours", "quantity", "paper", "paper_ratio", "mean", "std", "seeds", "ratio", "reference"]
    rows = []
    for table, line, quantity in ((t, line, quantity) for t in tables for line in t.lines for quantity in QUANTITIES):
        cell, place = line.cells[quantity], line.place
        ours = [] if cell.ours is None else [_digits(cell.ours.mean), _digits(cell.ours.std), cell.ours.num_seeds]
        where = [place.device, place.precision, place.height, place.width] if place else [""] * 4
        row = [table.data, line.paper_row, line.label, quantity, cell.printed, _digits(cell.printed_ratio)]
        told = [*(ours or ["", "", ""]), _digits(cell.ratio), table.reference, line.status]
        rows.append([*row, *told, *where])
    return csv_text([*header, "status", "device", "precision", "height", "width"], rows)


def _costs(
    table: PaperTable, about: PrintedCost, printed: Printed, data: str, variants: Sequence[Variant]
) -> NetworkCosts:
    wanted = about.reference or table.reference
    reference = _reference(variants, wanted)
    base = _places(reference)
    name = wanted or (reference.row if reference else "")
    columns: dict[Quantity, str] = {
        "parameters": about.parameters, "trainable": about.trainable, "seconds": about.seconds,
    }  # fmt: skip
    theirs = table.rows.get(name, name)
    lines: list[CostLine] = []
    for row in paper_rows(table, printed, variants):
        cells = {one: _printed(printed, row.paper_row, theirs, columns[one]) for one in QUANTITIES}
        variant = row.on(data)
        places = _places(variant)
        if not places:
            status = "not measured" if variant else absence(table, row)
            lines.append(CostLine(row.paper_row, row.label, status, cells))
        lines += [_line(row, place, costs, cells, base.get(place, [])) for place, costs in places.items()]
    label = reference.label if reference and base else ""
    return NetworkCosts(data, label, tuple(lines), any(variant.changes != () for variant in variants))


def _reference(variants: Sequence[Variant], wanted: str | None) -> Variant | None:
    """Give the variant that multiples are of; another one than the experiment's would tell something else."""
    if wanted is not None:
        return next((variant for variant in variants if variant.row == wanted), None)
    label = reference_label(variants, None)
    return next(variant for variant in variants if variant.label == label)


def _line(
    row: PaperRow,
    place: Place,
    costs: Sequence[NetworkCost],
    cells: Mapping[Quantity, CostCell],
    base: Sequence[NetworkCost],
) -> CostLine:
    found: dict[Quantity, CostCell] = {}
    for quantity, cell in cells.items():
        values = [_value(cost, quantity) for cost in costs]
        mean, std = mean_std(values)
        under = mean_std([_value(cost, quantity) for cost in base])[0] if base else 0.0
        ratio = mean / under if under else None
        found[quantity] = CostCell(cell.printed, cell.printed_ratio, Sample(mean, std, len(values)), ratio)
    return CostLine(row.paper_row, row.label, "run", found, place)


def _value(cost: NetworkCost, quantity: Quantity) -> float:
    if quantity == "seconds":
        return cost.forward_seconds
    return (cost.parameters if quantity == "parameters" else cost.trainable) / 1e6


def _printed(printed: Printed, row: str, reference: str, column: str) -> CostCell:
    value, base = (printed.get((name, column), ("", ""))[0] for name in (row, reference))
    return CostCell(value, float(value) / float(base) if value and base and float(base) else None)


def _places(variant: Variant | None) -> dict[Place, list[NetworkCost]]:
    found: dict[Place, list[NetworkCost]] = {}
    for cost in (run.network_cost for run in variant.runs) if variant else ():
        if cost is not None:
            found.setdefault(Place(cost.device, cost.precision, cost.height, cost.width), []).append(cost)
    return found


def _digits(value: float | None) -> str:
    return "" if value is None else f"{value:.8g}"
