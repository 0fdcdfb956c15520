"""The page: one HTML file that holds everything, asks nobody for anything, and runs one script, which is its own."""

from __future__ import annotations

import base64
import hashlib
import math
import os
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final
from urllib.parse import quote

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from alpl.report.drawn.figures import FigureFile
from alpl.report.drawn.gallery import GalleryPart
from alpl.report.drawn.pseudo_labels import pseudo_points
from alpl.report.judged.acquisitions import AcquisitionTable
from alpl.report.judged.best import RULE as BOLD
from alpl.report.judged.best import is_best
from alpl.report.judged.claims import JudgedClaim
from alpl.report.judged.comparison import Comparison
from alpl.report.judged.cost import CostTable
from alpl.report.judged.network_cost import NetworkCosts
from alpl.report.judged.result import results
from alpl.report.judged.verdict import RULE
from alpl.report.page.acquisition_text import EXPLANATION, acquisition_title, head_of, shown
from alpl.report.page.claims_text import claims_sheet
from alpl.report.page.network_cost_text import cost_sheet
from alpl.report.page.sheets import Sheet
from alpl.report.read.aggregate import STAGES, Variant, seconds
from alpl.report.read.classes import ClassTable
from alpl.report.read.data_sets import about_data
from alpl.report.read.facts import facts
from alpl.report.read.partial import seeds_text
from alpl.report.read.tables import EMPTY, WideTable, metric_title, number
from alpl.runs.results import RunResult


@final
@dataclass(frozen=True)
class Contents:
    """What a page shows.

    Args:
        runs: the table's runs.
        tables: one a data set.
        figures: shown inside the page.
        caption: what the experiment says about itself; may be empty.
        paper: ours beside the paper's; may be empty.
        acquisitions: rows told against a reference row; may be empty.
        claims: of the experiment, judged; may be empty.
        classes: one for each data set whose runs tell their classes.
        galleries: queried images; may be empty.
        costs: one for each data set with a finished cycle.
        network_costs: one for each data set on which a run measured its network.
        measured: of earlier runs, from beside the paper's numbers, or None.
        partial: what the sweep lacks; may be empty.
        notes: what the reader must know about the report itself.
    """

    runs: Sequence[RunResult]
    tables: Sequence[WideTable]
    figures: Sequence[FigureFile]
    caption: str
    paper: Sequence[Comparison]
    acquisitions: Sequence[AcquisitionTable]
    claims: Sequence[JudgedClaim]
    classes: Sequence[ClassTable]
    galleries: Sequence[GalleryPart]
    costs: Sequence[CostTable]
    network_costs: Sequence[NetworkCosts]
    measured: Sheet | None
    partial: Sequence[str]
    notes: Sequence[str]


def render(table: str, contents: Contents, out: Path) -> str:
    """Give the page of one table.

    Args:
        table: the table's name, the title of the page.
        contents: what it shows.
        out: the folder that the page will lie in, for the links to the run folders.
    """
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"number": number, "metric_title": metric_title, "base64": _base64, "percent": _percent}
    environment.filters["seeds_text"] = seeds_text
    runs = contents.runs
    variants = [variant for one in contents.tables for variant in one.variants]
    stages = _stages(variants)
    script = (Path(__file__).parent / "runs.js").read_text(encoding="utf-8")
    labels = {run.folder: variant.label for variant in variants if not variant.is_derived for run in variant.runs}
    page = environment.get_template("page.html.j2").render(
        table=table,
        results=results(contents.acquisitions),
        facts=facts(runs),
        bold_rule=BOLD,
        is_best=is_best,
        script=Markup(script),
        script_hash=f"sha256-{_base64(hashlib.sha256(script.encode()).digest())}",
        contents=contents,
        status=Counter(run.status for run in runs),
        runs=[(run, _link(run.folder, out), labels.get(run.folder, run.row)) for run in runs],
        rows=list(dict.fromkeys(variant.label for variant in variants)),
        data=about_data(runs, (one.data for one in contents.tables)),
        seeds=sorted({run.seed for run in runs}),
        pseudo={one.data: pseudo_points(one) for one in contents.tables},
        stages=stages,
        seconds=[(variant, _seconds_per_cycle(variant, stages)) for variant in variants if not variant.is_derived],
        environment=_environment(runs),
        measured=contents.measured,
        claims=claims_sheet(contents.claims) if contents.claims else None,
        networks=[cost_sheet(one) for one in contents.network_costs],
        verdict_rule=RULE,
        acquisitions=[(one.data, acquisition_title(one), head_of(one), shown(one)) for one in contents.acquisitions],
        acquisition_explanation=EXPLANATION,
    )
    return _with_contents(page)


def _with_contents(page: str) -> str:
    """Give every heading a name, and the list of them its place."""
    heads = re.findall(r"<h2>(.*?)</h2>", page)
    for place, head in enumerate(heads, 1):
        page = page.replace(f"<h2>{head}</h2>", f'<h2 id="part{place}">{head}</h2>', 1)
    links = "".join(f'<li><a href="#part{place}">{head}</a></li>' for place, head in enumerate(heads, 1))
    return page.replace("<!-- contents -->", f"<ul>{links}</ul>", 1)


def _percent(value: float | None) -> str:
    """Write a share or a difference of shares in percent; a dash where there is none."""
    return EMPTY if value is None or math.isnan(value) else f"{100 * value:.1f}"


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")


def _link(folder: Path, out: Path) -> str:
    return quote(Path(os.path.relpath(folder, out.resolve())).as_posix()) + "/"


def _stages(variants: Sequence[Variant]) -> list[str]:
    found = {stage for variant in variants for _, stage in seconds(variant)}
    return [stage for stage in STAGES if stage in found] + sorted(found - set(STAGES))


def _seconds_per_cycle(variant: Variant, stages: Sequence[str]) -> list[float | None]:
    """Mean over the cycles, for each stage and for all together; None where nothing was recorded."""
    measured = seconds(variant)
    means: list[float | None] = []
    for stage in stages:
        values = [mean for (_, name), (mean, _) in measured.items() if name == stage]
        means.append(sum(values) / len(values) if values else None)
    present = [mean for mean in means if mean is not None]
    return [*means, sum(present) if present else None]


def _environment(runs: Sequence[RunResult]) -> list[tuple[str, str]]:
    """Give name -> value; where runs differ, each value with the number of its runs."""
    values: dict[str, Counter[str]] = {}
    for run in runs:
        for name, value in _flat(run.environment):
            values.setdefault(name, Counter())[value] += 1
    return [(name, _values(found)) for name, found in values.items()]


def _values(found: Counter[str]) -> str:
    if len(found) == 1:
        return next(iter(found))
    return "; ".join(f"{value} ({runs} {'run' if runs == 1 else 'runs'})" for value, runs in sorted(found.items()))


def _flat(environment: Mapping[str, Any]) -> list[tuple[str, str]]:
    pairs: list[tuple[str, str]] = []
    for name, value in environment.items():
        pairs += [(f"{k}", str(v)) for k, v in value.items()] if isinstance(value, Mapping) else [(name, str(value))]
    return pairs
