"""The matrix: what is possible, and a fresh sample of it that really runs."""

import os
from dataclasses import replace
from pathlib import Path

import pytest

from alpl.commands import matrix
from alpl.commands.matrix import Column, acquisitions, cli, columns, counts, run_cell, sample
from alpl.commands.matrix_page import write_pages
from alpl.commands.matrix_plan import plan
from alpl.errors import ConfigError

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def cells():
    return {(cell.acquisition, cell.column.model): cell for cell in plan(acquisitions(), columns())}


def test_every_acquisition_stands_against_every_model(cells) -> None:
    models = {model for _, model in cells}
    assert {
        "digits_cnn",
        "small_cifar",
        "ssd_tiny",
        "retinanet_tiny",
        "faster_rcnn_tiny",
        "fcos_tiny",
        "atss_tiny",
        "ddod_tiny",
        "centernet_tiny",
    } <= models
    assert len(cells) == len(acquisitions()) * len(models)
    assert {"random", "entropy", "ccms"} <= {name for name, _ in cells}


@pytest.mark.parametrize(
    "name, model, state, reason",
    [
        ("random", "ssd_tiny", "declared", ""),
        ("entropy", "digits_cnn", "declared", ""),
        ("entropy", "ssd_tiny", "cannot", "one instance an image"),
        ("flip_inconsistency", "digits_cnn", "cannot", "FLIP"),
        ("flip_inconsistency", "fcos_tiny", "declared", ""),
        ("flip_inconsistency", "atss_tiny", "declared", ""),
        ("dcus_then_ccms", "ddod_tiny", "declared", ""),
        ("predicted_loss", "retinanet_tiny", "declared", ""),
        ("noris_objects", "centernet_tiny", "declared", ""),
        ("cald", "ssd_tiny", "declared", ""),
        ("cald", "centernet_tiny", "declared", ""),
        ("cald", "digits_cnn", "cannot", "AUGMENTED"),
        ("predicted_loss", "digits_cnn", "declared", ""),
        ("noris_objects", "small_cifar", "cannot", "FEATURES"),
        ("replay", "digits_cnn", "cannot", "acquisition.row must be given"),
        ("dispersion", "digits_cnn", "declared", ""),
        ("dispersion", "ssd_tiny", "cannot", "HISTORY"),
    ],
)
def test_known_cells(cells, name: str, model: str, state: str, reason: str) -> None:
    cell = cells[name, model]
    assert cell.state == state and reason in cell.reason and bool(reason) == bool(cell.reason)


def test_a_need_that_the_model_can_be_given_is_given(cells) -> None:
    for model in ("ssd_tiny", "retinanet_tiny", "fcos_tiny", "faster_rcnn_tiny", "centernet_tiny", "digits_cnn"):
        assert cells["predicted_loss", model].remedy == ("method=llal",)
        assert cells["vaal", model].remedy == ("partner=vaal",) and cells["vaal", model].state == "declared"
    assert "RoiFeatures" in cells["ccms", "ssd_tiny"].remedy[0] and not cells["ccms", "retinanet_tiny"].remedy


def test_a_fresh_sample_runs(cells, tmp_path: Path) -> None:
    """Another sample every day; ALPL_MATRIX_SEED repeats one."""
    number = int(os.environ.get("ALPL_MATRIX_SEED", 0)) or int(f"{matrix.datetime.date.today():%Y%m%d}")
    print(f"ALPL_MATRIX_SEED={number}")
    for cell in sample(list(cells.values()), 4, number):
        ran = run_cell(cell, tmp_path)
        assert (ran.state, ran.reason) == ("ran", ""), ran.overrides
        assert ran.seconds is not None and ran.overrides == cell.overrides
    assert len(list(tmp_path.rglob("run.json"))) == 4


def test_a_sample_is_drawn_from_what_is_possible(cells) -> None:
    possible = [cell for cell in cells.values() if cell.state == "declared"]
    everything = list(cells.values())
    assert sample(everything, 5, 1) == sample(everything, 5, 1) != sample(everything, 5, 2)
    assert {cell.overrides for cell in sample(everything, len(possible), 3)} == {c.overrides for c in possible}
    for number in (0, len(possible) + 1):
        with pytest.raises(ConfigError, match=f"--sample must be in .*got {number}"):
            sample(everything, number, 0)


def test_a_cell_that_does_not_run_has_failed_and_says_why(cells, tmp_path: Path) -> None:
    ran = run_cell(replace(cells["entropy", "ssd_tiny"], state="declared"), tmp_path)
    assert ran.state == "failed" and "one instance an image" in ran.reason


def test_the_pages_tell_the_states_apart(cells, tmp_path: Path) -> None:
    shown = [
        replace(cells["random", "digits_cnn"], state="ran", seconds=1.25),
        cells["random", "ssd_tiny"],
        replace(cells["margin", "digits_cnn"], state="failed", reason="ValueError: <no>"),
        cells["flip_inconsistency", "digits_cnn"],
        cells["flip_inconsistency", "ssd_tiny"],
        replace(cells["margin", "ssd_tiny"], state="declared", remedy=("num_members=2",), reason=""),
    ]
    text, page = (path.read_text() for path in write_pages(shown, tmp_path))
    assert "| acquisition | digits_cnn (classification) | ssd_tiny (detection) |" in text
    assert "| `random` | **ran, 1.2 s** | declared |" in text
    assert "| `flip_inconsistency` | cannot: FLIP | declared |" in text
    assert "| `margin` | **FAILED** [1] | declared [2] |" in text
    assert "\n1. ValueError: <no>\n2. with num_members=2\n" in text
    assert '<td class="ran">ran, 1.2 s</td>' in page and '<td class="declared">declared</td>' in page
    assert '<li id="note-1">ValueError: &lt;no&gt;</li>' in page and "://" not in page
    assert counts(shown) == "6 cells: 1 ran, 1 failed, 3 are declared and were not run, 1 cannot"


def test_the_command(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys) -> None:
    few = [Column("classification", "digits_cnn", ("data=digits", "schedule=smoke", "trainer.max_epochs=1"))]
    monkeypatch.setattr(matrix, "columns", lambda: few)
    monkeypatch.setattr(matrix, "acquisitions", lambda: ["random", "ccms"])
    with pytest.raises(SystemExit) as end:
        cli(["--plan", "--out", str(tmp_path)])
    assert end.value.code == 0 and "2 cells: 1 are declared and were not run, 1 cannot" in capsys.readouterr().out
    with pytest.raises(SystemExit) as end:
        cli(["--all", "--out", str(tmp_path)])
    assert end.value.code == 0 and "2 cells: 1 ran, 1 cannot" in capsys.readouterr().out
    assert "**ran" in (tmp_path / "matrix.md").read_text()
    with pytest.raises(SystemExit) as end:
        cli(["--sample", "2", "--out", str(tmp_path)])
    assert end.value.code == 2 and "--sample must be in [1, 1], got 2" in capsys.readouterr().err
    monkeypatch.setattr(matrix, "run_cell", lambda cell, runs: replace(cell, state="failed", reason="it broke"))
    with pytest.raises(SystemExit) as end:
        cli(["--sample", "1", "--seed", "5", "--out", str(tmp_path)])
    printed = capsys.readouterr()
    assert end.value.code == 1 and "--seed 5" in printed.out and "acquisition=random: it broke" in printed.err
