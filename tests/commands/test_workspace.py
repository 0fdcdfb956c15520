"""The workspace: what the library's own types make of it, against the names that runs really log."""

import json
from pathlib import Path

import pytest
from command import TINY, alpl

from alpl.commands.workspace import cli
from alpl.machine.files import write_json, write_text
from alpl.runs.results import find_runs
from alpl.runs.run_folder import RunFolder

internal = pytest.importorskip("wandb_workspaces.workspaces.internal")
ws = pytest.importorskip("wandb_workspaces.workspaces")
wr = pytest.importorskip("wandb_workspaces.reports.v2")

from alpl.loggers.workspace import Logged, find_logged, make_workspace, spec  # noqa: E402


@pytest.fixture(autouse=True)
def no_account(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))


def panels(workspace) -> dict[str, list]:
    return {section.name: list(section.panels) for section in workspace.sections}


def read_back(written: dict):
    """Build the workspace from its JSON, with the library's own types."""
    names = {"entity": written["entity"], "project": written["project"], "display_name": written["displayName"]}
    inner = internal.WorkspaceViewspec.model_validate(written["spec"])
    return ws.Workspace._from_model(internal.View(name="", id="", spec=inner, **names))


def make_detector_run(folder: Path, *, gallery: bool = True) -> None:
    """A run folder of one cycle with two classes, the second without objects."""
    run = RunFolder(folder)
    about = {"table": "elezi/table1", "row": "entropy", "data": "voc07", "seed": 0, "key": "k", "variant": "v"}
    write_json(folder / "run.json", about | {"num_cycles": 1, "config": {}, "classes": ["cat", "dog"]})
    results = {"num_labeled": 7, "num_labeled_objects": 9, "test/map": 0.25, "test/map_per_class": [0.25, None]}
    write_json(run.cycle(0).metrics, results)
    write_text(run.cycle(0).epochs(0), "epoch,lr,train/loss\n0,0.1,2.0\n")
    if gallery:
        run.cycle(0).gallery.mkdir()
    run.mark_done({"cycle": 0, "stage": "fit", "seconds": 2.5})
    run.mark_done({"stage": "finished"})


@pytest.mark.slow
def test_names_are_those_that_a_run_logs(tmp_path: Path) -> None:
    for row in ("margin", "random"):
        alpl(tmp_path, f"acquisition={row}", *TINY)
    (logged,) = find_logged(find_runs([tmp_path]))
    assert (logged.table, logged.data) == ("digits", "digits")
    assert logged.below("test/") == ["test/accuracy"] and logged.below("ap/") == []
    assert {"epoch", "labeled images", "fit/train/loss", "fit/lr", "cycle/l1_score"} <= set(logged.names)
    stages = ["fit", "test", "predict", "select"]
    assert logged.below("total seconds/") == [f"total seconds/{stage}" for stage in stages]
    assert logged.below("seconds/") == [f"seconds/{stage}" for stage in stages]


def test_names_of_a_detector(tmp_path: Path) -> None:
    make_detector_run(tmp_path / "elezi" / "table1" / "entropy" / "voc07-seed0-k")
    (logged,) = find_logged(find_runs([tmp_path]))
    assert logged.below("ap/") == ["ap/cat"] and logged.below("test/") == ["test/map"]
    assert {"per_class", "gallery", "cycle/num_labeled_objects"} <= set(logged.names)


def test_acquisitions_are_compared_on_labeled_images() -> None:
    logged = Logged("digits", "digits", ("labeled images", "test/accuracy", "test/loss"))
    workspace = make_workspace(logged, "me", "mine")
    curves, bars = panels(workspace)["Acquisitions"][:2], panels(workspace)["Acquisitions"][2:]
    assert [(plot.x, plot.y) for plot in curves] == [
        ("labeled images", ["test/accuracy"]),
        ("labeled images", ["test/loss"]),
    ]
    found = [bar.metrics for bar in bars]
    kinds = ("max", "last")
    assert found == [[f"{name}.{kind}"] for kind in kinds for name in ("test/accuracy", "test/loss")]
    for panel in (*curves, *bars):
        assert panel.groupby == wr.Config("row") and panel.max_runs_to_show >= 1000
        assert (panel.groupby_aggfunc, panel.groupby_rangefunc) == ("mean", "stddev")
    assert all(isinstance(plot, wr.LinePlot) for plot in curves) and all(isinstance(bar, wr.BarPlot) for bar in bars)
    assert workspace.settings.x_axis == "labeled images" and workspace.settings.max_runs >= 1000


def test_sections_are_there_where_something_is_logged() -> None:
    nothing = Logged("digits", "digits", ("test/accuracy",))
    assert list(panels(make_workspace(nothing, "", "alpl"))) == ["Acquisitions"]
    more = ("cycle/cycle", "cycle/num_labeled_objects", "seconds/fit", "total seconds/fit", "total seconds/test")
    many = tuple(f"ap/{number}" for number in range(80))
    full = Logged("t", "coco", ("test/map", *more, "fit/cycle", "fit/lr", *many, "per_class", "gallery"))
    found = panels(make_workspace(full, "", "alpl"))
    names = ["Acquisitions", "Counts and class balance", "Classes", "Seconds", "Training", "Queried images"]
    assert list(found) == names
    assert [plot.y for plot in found["Counts and class balance"]] == [["cycle/num_labeled_objects"]]
    assert found["Seconds"][0].metrics == ["total seconds/fit", "total seconds/test"]
    assert found["Seconds"][1].y == ["seconds/fit"] and len(found["Seconds"]) == 2
    assert [(plot.x, plot.y) for plot in found["Training"]] == [("epoch", ["fit/lr"])]
    assert found["Classes"][0].metrics == list(many) and found["Classes"][1].table_name == "per_class"
    assert len(found["Classes"]) == 22  # the bars, the table, and curves of the first 20 only
    assert found["Queried images"][0].media_keys == ["gallery"]


@pytest.mark.slow
def test_the_library_reads_back_what_is_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make_detector_run(tmp_path / "elezi" / "table1" / "entropy" / "voc07-seed0-k")
    alpl(tmp_path, "acquisition=margin", *TINY)
    file = tmp_path / "views.json"
    cli([str(tmp_path), "--out", str(file), "--entity", "me", "--project", "mine"])
    assert capsys.readouterr().out.strip() == str(file)
    views = {view["displayName"]: view for view in json.loads(file.read_text())}
    assert list(views) == ["alpl: digits, digits", "alpl: elezi/table1, voc07"]
    for written, logged in zip(views.values(), find_logged(find_runs([tmp_path])), strict=True):
        read = read_back(written)
        assert (read.entity, read.project) == ("me", "mine")
        made = make_workspace(logged, "me", "mine")
        assert {name: len(each) for name, each in panels(read).items()} == {n: len(e) for n, e in panels(made).items()}
        assert spec(read)["spec"]["section"]["panelBankConfig"] == written["spec"]["section"]["panelBankConfig"]
        filters = read.runset_settings.filters
        assert logged.table in filters and logged.data in filters and "Group" in filters
        (grouping,) = written["spec"]["section"]["runSets"][0]["grouping"]
        assert grouping == {"section": "config", "name": "row.value"}


def test_one_table_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make_detector_run(tmp_path / "elezi" / "table1" / "entropy" / "voc07-seed0-k", gallery=False)
    alpl(tmp_path, "acquisition=margin", *TINY)
    cli([str(tmp_path), "--table", "elezi/table1", "--out", "-"])
    (view,) = json.loads(capsys.readouterr().out)
    titles = [section["name"] for section in view["spec"]["section"]["panelBankConfig"]["sections"]]
    assert view["displayName"] == "alpl: elezi/table1, voc07" and "Queried images" not in titles


@pytest.mark.parametrize(
    ("arguments", "message"),
    [(["--table", "nowhere"], "--table must be one of elezi/table1, got nowhere"), ([], "nobody is logged in")],
)
def test_errors_are_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    make_detector_run(tmp_path / "elezi" / "table1" / "entropy" / "voc07-seed0-k")
    with pytest.raises(SystemExit) as end:
        cli([str(tmp_path), *arguments])
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert end.value.code == 2 and line.startswith("alpl-workspace: ") and message in line


def test_no_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        cli([str(tmp_path)])
    assert "RUNS must hold run folders" in capsys.readouterr().err
