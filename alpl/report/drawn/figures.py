"""All figures of a report, in the order in which they are declared."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import final

from alpl.report.drawn.declared import Declared
from alpl.report.drawn.material import Material
from alpl.report.drawn.style import slug


@final
@dataclass(frozen=True)
class FigureFile:
    """One rendered figure.

    Args:
        name: the file's name.
        data: the data set in whose part of the page it stands.
        kind: the name of what drew it.
        alt: what it shows, for those who do not see it.
        png: the file's bytes.
        heading: above it; may be empty.
        text: between heading and figure; may be empty.
        is_wide: whether it needs more than a column of text.
        is_folded: whether it can be folded away.
    """

    name: str
    data: str
    kind: str
    alt: str
    png: bytes
    heading: str = ""
    text: str = ""
    is_wide: bool = False
    is_folded: bool = False


def draw_all(material: Material, declared: Sequence[Declared]) -> list[FigureFile]:
    """Draw what the runs allow, data set by data set, each in the declared order.

    Args:
        material: of the whole report.
        declared: see :func:`alpl.report.drawn.declared.declared_figures`.
    """
    drawn: list[FigureFile] = []
    taken: set[str] = set()
    for first, one, whole in _parts(material, declared):
        part = whole.most(one.caption.most, by_row=one.caption.counts_rows)
        left_out = _left_out(whole, part, one)
        result = one.function(part, **one.arguments)
        pictures = result if isinstance(result, Mapping) else {"": result}
        for row, png in pictures.items():
            if png is not None:
                words = {"data": part.data, "row": row}
                name = _free(slug(one.name, part.data, *([row] if row else [])), taken)
                about = one.caption
                texts = (
                    about.alt,
                    about.heading,
                    " ".join(filter(None, (about.text, about.of_paper if part.paper else "", left_out))),
                )
                alt, heading, text = (_filled(told, words) for told in texts)
                drawn.append(FigureFile(name, first, one.name, alt, png, heading, text, about.is_wide, about.is_folded))
    return drawn


def _left_out(whole: Material, part: Material, one: Declared) -> str:
    """Say how many of the rows a figure has no place for, and where they are; empty where it shows all."""
    if part is whole:
        return ""
    by_row = one.caption.counts_rows
    all_, shown = (len({v.row if by_row else v.label for v in material.variants}) for material in (whole, part))
    where = f"; {one.caption.numbers} has all" if one.caption.numbers else ""
    return (
        f"Of {all_} rows the {shown} that lead are shown: the reference, training on all data, and the best by the "
        f"last value of the curve; {all_ - shown} are left out{where}."
    )


def unknown_rows(material: Material, declared: Sequence[Declared]) -> list[str]:
    """Say which figures name rows that no run is of (yet)."""
    begun = {variant.row for variant in material.variants}
    absent = {one.name: [row for row in one.rows or () if row not in begun] for one in declared}
    return [f"figure {name}: no run yet of {', '.join(rows)}" for name, rows in absent.items() if rows]


def _parts(material: Material, declared: Sequence[Declared]) -> Iterator[tuple[str, Declared, Material]]:
    """Give the data set that a figure stands with, the figure, and what it is drawn from."""
    names = [table.data for table in material.tables]
    for data in names:
        for one in declared:
            about = [name for name in names if one.data is None or _is_of(name, one.data)]
            if data not in about or (one.join and data != about[0]):
                continue
            part = material.of(about if one.join else [data])
            yield data, one, part if one.rows is None else part.only(one.rows)


def _filled(text: str, words: Mapping[str, str]) -> str:
    for name, word in words.items():
        text = text.replace(f"{{{name}}}", word)
    return text


def _is_of(name: str, wanted: Sequence[str]) -> bool:
    """Whether a data set is one of the wanted, or the part of one for a value of the report's split."""
    return name in wanted or name.split(", ")[0] in wanted


def _free(name: str, taken: set[str]) -> str:
    """Give the name of a file that is not taken yet, and take it."""
    number = next(n for n in range(1, len(taken) + 2) if _numbered(name, n) not in taken)
    taken.add(_numbered(name, number))
    return _numbered(name, number)


def _numbered(name: str, number: int) -> str:
    return f"{name}.png" if number == 1 else f"{name}-{number}.png"
