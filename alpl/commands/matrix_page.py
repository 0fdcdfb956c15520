"""The matrix as Markdown and as one self-contained HTML page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import final

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from alpl.commands.matrix_cells import Cell, Column
from alpl.machine.files import write_text


@final
@dataclass(frozen=True)
class PageCell:
    """One cell as it is shown.

    Args:
        state: as the cell's.
        text: one or two words.
        notes: numbers of the notes below the table.
    """

    state: str
    text: str
    notes: tuple[int, ...]


@final
@dataclass(frozen=True)
class Page:
    """What both pages show.

    Args:
        columns: the models.
        lines: acquisition -> its cells.
        notes: remedies and long reasons, numbered from 1.
    """

    columns: tuple[Column, ...]
    lines: dict[str, tuple[PageCell, ...]]
    notes: tuple[str, ...]


def write_pages(cells: Sequence[Cell], out: Path) -> list[Path]:
    """Write ``matrix.md`` and ``matrix.html`` into a folder; give their paths."""
    page = _page(cells)
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=lambda name: bool(name and name.endswith(".html.j2")),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    paths = [out / "matrix.md", out / "matrix.html"]
    for path in paths:
        write_text(path, environment.get_template(f"{path.name}.j2").render(page=page))
    return paths


def _page(cells: Sequence[Cell]) -> Page:
    columns = tuple(dict.fromkeys(cell.column for cell in cells))
    place = {column: number for number, column in enumerate(columns)}
    notes: dict[str, int] = {}
    lines: dict[str, list[PageCell]] = {}
    for cell in sorted(cells, key=lambda cell: (cell.acquisition, place[cell.column])):
        lines.setdefault(cell.acquisition, []).append(_shown(cell, notes))
    return Page(columns, {name: tuple(line) for name, line in lines.items()}, tuple(notes))


def _shown(cell: Cell, notes: dict[str, int]) -> PageCell:
    texts = {"ran": "ran", "failed": "FAILED", "declared": "declared", "cannot": "cannot"}
    text, told = texts[cell.state], []
    if cell.seconds is not None:
        text += f", {cell.seconds:.1f} s"
    if cell.remedy:
        told.append("with " + " ".join(cell.remedy))
    if cell.state == "cannot" and cell.reason == cell.reason.upper():  # names of needs
        text += f": {cell.reason}"
    elif cell.reason:
        told.append(cell.reason)
    return PageCell(cell.state, text, tuple(notes.setdefault(note, len(notes) + 1) for note in told))
