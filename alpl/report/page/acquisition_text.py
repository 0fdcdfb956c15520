"""The comparison of acquisitions as text: cells for the page and for Markdown, and a CSV file."""

from __future__ import annotations

from collections.abc import Sequence

from alpl.report.judged.acquisitions import AcquisitionLine, AcquisitionTable, Paired
from alpl.report.judged.intervals import FEW_SEEDS
from alpl.report.read.tables import EMPTY, csv_text, format_mean, metric_title, number, scale_of

EXPLANATION = (
    "Area: mean height of the learning curve over the range of labeled images that all rows have. Images saved: how "
    "many labeled images fewer the row needs than the reference for the same value, the lower of their two last ones "
    "(with a minus: how many more); objects saved: the labeled objects that this stands for.",
    "Differences are paired: the same seed and the same initial set. In brackets the 95 % bootstrap interval of their "
    "mean, which is too narrow with few seeds; p: paired t-test of the areas, then corrected for the number of rows "
    f"(Holm). Below {FEW_SEEDS} pairs there is neither.",
)


def head_of(table: AcquisitionTable) -> list[str]:
    """Name the columns; there is one of objects only where they were counted."""
    saved = ["images saved"] + (["objects saved"] if _has_objects(table) else [])
    return ["acquisition", "area", "area, difference", "last value, difference", *saved, "p", "p (Holm)", "pairs"]


def shown(table: AcquisitionTable) -> list[list[str]]:
    """Give the cells of each line, as :func:`head_of` names them."""
    return [_cells(table, line) for line in table.lines]


def acquisition_title(table: AcquisitionTable) -> str:
    """Say what the table is of."""
    return (
        f"{table.data}: {metric_title(table.metric)} from {number(table.low)} to {number(table.high)} labeled images, "
        f"against {table.reference}"
    )


def acquisition_markdown(tables: Sequence[AcquisitionTable]) -> str:
    """Give the tables as Markdown."""
    parts = []
    for table in tables:
        head = head_of(table)
        rows = [head, ["---"] + ["---:"] * (len(head) - 1)]
        rows += [[label.replace("|", "\\|"), *cells] for label, *cells in shown(table)]
        body = "\n".join("| " + " | ".join(row) + " |" for row in rows)
        parts.append(f"## {acquisition_title(table)}\n\n{body}\n")
    return "\n".join([*parts, *(f"{sentence}\n" for sentence in EXPLANATION)])


def acquisition_csv(tables: Sequence[AcquisitionTable]) -> str:
    """Write every figure as measured; ``low`` and ``high`` are the ends of the bootstrap interval."""
    names = ("area_gain", "final_gain", "images_saved", "objects_saved")
    header = ["data", "metric", "row", "reference", "from", "to", "seeds", "area", "area_std", "final", "final_std"]
    header += ["pairs", *(f"{name}{end}" for name in names for end in ("", "_low", "_high")), "p", "p_holm"]
    rows = []
    for table in tables:
        for line in table.lines:
            about = [table.data, table.metric, line.label, table.reference, number(table.low), number(table.high)]
            values = [line.area.mean, line.area.std, line.final.mean, line.final.std]
            gains = [_parts(one) for one in (line.area_gain, line.final_gain, line.images, line.objects)]
            row = [*about, line.area.num_seeds, *map(_digits, values), line.num_pairs]
            rows.append(
                [*row, *(text for part in gains for text in part), *map(_digits, (line.p_value, line.adjusted))]
            )
    return csv_text(header, rows)


def _cells(table: AcquisitionTable, line: AcquisitionLine) -> list[str]:
    scale = scale_of(table.metric)
    area = f"{format_mean(line.area.mean, line.area.std, scale)} (n={line.area.num_seeds})"
    if line.label == table.reference:
        return [line.label, area, "reference", *[EMPTY] * (len(head_of(table)) - 3)]
    digits = 2 if scale >= 10 else 4
    gains = [_paired(one, scale, digits) for one in (line.area_gain, line.final_gain)]
    saved = [_paired(one, 1.0, 0) for one in ((line.images, line.objects) if _has_objects(table) else (line.images,))]
    if line.p_value is None:
        tests = [f"too few seeds ({line.num_pairs})", EMPTY]
    else:
        tests = [EMPTY if p is None else _p_text(p) for p in (line.p_value, line.adjusted)]
    return [line.label, area, *gains, *saved, *tests, str(line.num_pairs)]


def _has_objects(table: AcquisitionTable) -> bool:
    return any(line.objects is not None for line in table.lines)


def _paired(one: Paired | None, scale: float, digits: int) -> str:
    if one is None:
        return EMPTY
    text = f"{one.mean * scale:+.{digits}f}"
    if one.interval is None:
        return text
    low, high = (f"{end * scale:+.{digits}f}" for end in one.interval)
    return f"{text} [{low}, {high}]"


def _p_text(p: float) -> str:
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def _parts(one: Paired | None) -> list[str]:
    if one is None:
        return ["", "", ""]
    low, high = one.interval or (None, None)
    return [_digits(one.mean), _digits(low), _digits(high)]


def _digits(value: float | None) -> str:
    return "" if value is None else f"{value:.8g}"
