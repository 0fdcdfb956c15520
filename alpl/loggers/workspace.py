"""A saved wandb workspace that compares the rows of one table on one data set.

wandb-workspaces' own types make and check it. Names and axes are those of alpl/loggers/wandb_points.py.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, final

import wandb_workspaces.reports.v2 as wr
import wandb_workspaces.workspaces as ws
from wandb_workspaces.expr import And

from alpl.loggers.points import RunPoints
from alpl.loggers.wandb_points import (
    CLASS,
    CLASS_TABLE,
    CYCLE,
    EPOCH_AXIS,
    FIT,
    GALLERY,
    SECONDS,
    TEST,
    TOTAL,
    X_AXIS,
    history_row,
    summary,
)
from alpl.runs.results import RunResult

MAX_RUNS = 1000  # of a panel; wandb's own 10 would leave out seeds
MAX_CLASS_CURVES = 20  # more panels than that nobody scrolls through
_PER_SEEDS = {"groupby": wr.Config("row"), "groupby_aggfunc": "mean", "groupby_rangefunc": "stddev"}


@final
@dataclass(frozen=True)
class Logged:
    """What the runs of a table log on one data set.

    Args:
        table: the wandb group.
        data: the data set's name.
        names: of history and summary, in order of appearance.
    """

    table: str
    data: str
    names: tuple[str, ...]

    def below(self, prefix: str) -> list[str]:
        """Give the names that start with a prefix."""
        return [name for name in self.names if name.startswith(prefix)]


def find_logged(runs: Sequence[RunResult]) -> list[Logged]:
    """Read from run folders what is logged of them, for each table and data set."""
    found: dict[tuple[str, str], dict[str, None]] = {}
    for run in runs:
        names = found.setdefault((run.table, run.data), {})
        points = RunPoints(run.folder).read()
        for point in points:
            names.update(dict.fromkeys(history_row(point, run.classes, pictures=0)))
            if getattr(point, "gallery", None) is not None:
                names[GALLERY] = None
        names.update(dict.fromkeys(name for name in summary(points) if name.startswith(TOTAL)))
    return [Logged(table, data, tuple(names)) for (table, data), names in found.items()]


def make_workspace(logged: Logged, entity: str, project: str) -> ws.Workspace:
    """Make the workspace: curves over labeled images, best and last, classes, seconds, training, pictures.

    Args:
        logged: what there is.
        entity: user or team.
        project: wandb project.
    """
    sections = [
        ws.Section(name="Acquisitions", panels=_comparison(logged), is_open=True, pinned=True),
        ws.Section(name="Counts and class balance", panels=_curves(logged.below(CYCLE), skip=f"{CYCLE}cycle")),
        ws.Section(name="Classes", panels=_classes(logged)),
        ws.Section(name="Seconds", panels=_seconds(logged), is_open=True),
        ws.Section(name="Training", panels=_curves(logged.below(FIT), x=EPOCH_AXIS, skip=f"{FIT}cycle")),
        ws.Section(name="Queried images", panels=_pictures(logged)),
    ]
    return ws.Workspace(
        entity=entity,
        project=project,
        name=f"alpl: {logged.table}, {logged.data}",
        sections=[section for section in sections if section.panels],
        settings=ws.WorkspaceSettings(x_axis=X_AXIS, smoothing_type="none", max_runs=MAX_RUNS),
        runset_settings=ws.RunsetSettings(
            filters=And(ws.Metric("Group") == logged.table, ws.Config("data") == logged.data),
            groupby=[ws.Config("row")],
        ),
    )


def spec(workspace: ws.Workspace) -> dict[str, Any]:
    """Give what the library would send: entity, project, name and the view's spec."""
    view = workspace._to_model()  # the library has no public way to it
    inner = json.loads(view.spec.model_dump_json(by_alias=True, exclude_none=True))
    return {"entity": view.entity, "project": view.project, "displayName": view.display_name, "spec": inner}


def _comparison(logged: Logged) -> list[Any]:
    tested = logged.below(TEST)
    best = [_bars(f"best {name}", [f"{name}.max"]) for name in tested]
    last = [_bars(f"last {name}", [f"{name}.last"]) for name in tested]
    return [*_curves(tested), *best, *last]


def _curves(names: Iterable[str], x: str = X_AXIS, skip: str = "") -> list[Any]:
    """Draw each metric as one line a row: the mean over its seeds, with a band of one standard deviation."""
    return [
        wr.LinePlot(title=name, x=x, y=[name], title_x=x, title_y=name, max_runs_to_show=MAX_RUNS, **_PER_SEEDS)
        for name in names
        if name != skip
    ]


def _bars(title: str, names: list[str]) -> Any:
    return wr.BarPlot(title=title, metrics=names, max_runs_to_show=MAX_RUNS, max_bars_to_show=MAX_RUNS, **_PER_SEEDS)


def _classes(logged: Logged) -> list[Any]:
    names = logged.below(CLASS)
    if not names:
        return []
    bars = _bars("average precision by class, last cycle", names)
    return [bars, wr.WeavePanelSummaryTable(table_name=CLASS_TABLE), *_curves(names[:MAX_CLASS_CURVES])]


def _seconds(logged: Logged) -> list[Any]:
    totals = logged.below(TOTAL)
    return [_bars("seconds by stage, whole run", totals), *_curves(logged.below(SECONDS))] if totals else []


def _pictures(logged: Logged) -> list[Any]:
    return [wr.MediaBrowser(title="queried images", media_keys=[GALLERY])] if GALLERY in logged.names else []
