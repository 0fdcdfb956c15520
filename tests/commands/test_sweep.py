"""Sweeps: one run folder a job, the report at the end, failures noted while the others go on."""

from dataclasses import asdict
from pathlib import Path

import pytest
from command import TINY, alpl
from omegaconf import OmegaConf

from alpl.commands.sweep import Outcome, end_sweep
from alpl.machine.files import write_sealed


def test_a_sweep_reports_and_the_same_command_does_nothing(tmp_path: Path) -> None:
    sweep = ["-m", *TINY, "acquisition=random,dispersion", "seed=1"]
    first = alpl(tmp_path, *sweep)
    assert first.status == 0 and len(first.run_folders()) == 2
    assert "a sweep of 2 runs" in first.err and "run 2/2 dispersion digits seed 1 | cycle 2/2" in first.err
    assert "2 of 2 runs are finished" in first.out
    report = tmp_path / "digits" / "report"
    assert {"index.html", "table.csv", "table.md", "curves_digits.png"} <= {path.name for path in report.iterdir()}
    assert f"report: {report / 'index.html'}" in first.out
    models = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.pt")}
    second = alpl(tmp_path, *sweep)
    assert second.status == 0 and second.err.count("finished already") == 2
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.pt")} == models


def test_a_failed_run_is_noted_and_the_others_run(tmp_path: Path) -> None:
    result = alpl(tmp_path, "-m", *TINY, "model.optimizer.lr=fast,0.1", "acquisition=random")
    assert result.status == 1
    assert "run 1 failed: model.optimizer or model.scheduler refuses its settings" in result.err
    assert result.err.count("refuses its settings") == 1 and "1 of 2 runs failed, as told above: run 1\n" in result.err
    assert "1 of 2 runs" in result.out or "1 of 1 runs" in result.out
    assert (tmp_path / "digits" / "report" / "index.html").exists()


@pytest.mark.slow
def test_the_report_holds_the_table_s_earlier_runs_too(tmp_path: Path) -> None:
    alpl(tmp_path, "-m", *TINY, "acquisition=random", "seed=0,1")
    alpl(tmp_path, "-m", *TINY, "acquisition=margin", "seed=0,1")
    table = (tmp_path / "digits" / "report" / "table.csv").read_text()
    assert ",random," in table and ",margin," in table


@pytest.mark.slow
@pytest.mark.parametrize(
    "launch", ["hydra.sweeper.max_batch_size=1", pytest.param("hydra.mode=MULTIRUN", marks=pytest.mark.slow)]
)
def test_other_ways_to_sweep(tmp_path: Path, launch: str) -> None:
    result = alpl(tmp_path, "-m", launch, *TINY, "seed=0,1")
    assert result.status == 0 and len(result.run_folders()) == 2


@pytest.mark.slow
def test_a_job_that_never_made_its_folder_does_not_hide_the_report_or_the_status(tmp_path: Path) -> None:
    result = alpl(tmp_path, "-m", *TINY, "seed=0,1.5")
    assert result.status == 1 and "run 2 failed: seed must be an int, got 1.5" in result.err
    assert (tmp_path / "digits" / "report" / "index.html").exists()


def test_an_outcome_that_cannot_be_read_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    outcome = tmp_path / "0" / "outcome.json"
    outcome.parent.mkdir()
    outcome.write_text('{"number": 0, "folder"')
    hydra = {"sweep": {"dir": str(tmp_path)}, "launcher": {"_target_": "basic"}}
    with pytest.raises(SystemExit) as end:
        end_sweep(OmegaConf.create({"hydra": hydra, "paths": {"runs": str(tmp_path)}}), [])
    said = capsys.readouterr().err
    assert end.value.code == 1 and said.count("\n") == 1 and f"how a run ended cannot be read: {outcome}" in said


def test_a_failed_run_whose_journal_cannot_be_read_has_failed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run, sweep = tmp_path / "runs" / "run", tmp_path / "sweep"
    run.mkdir(parents=True)
    (run / "journal.jsonl").write_text('{\n{"stage": "finished"}\n')
    write_sealed(sweep / "0" / "outcome.json", asdict(Outcome(0, str(run), "line 1 of its journal")))
    (tmp_path / "file").touch()  # and one whose folder cannot be made any more
    write_sealed(sweep / "1" / "outcome.json", asdict(Outcome(1, str(tmp_path / "file" / "run"), "no folder")))
    hydra = {"sweep": {"dir": str(sweep)}, "launcher": {"_target_": "basic"}}
    with pytest.raises(SystemExit) as end:
        end_sweep(OmegaConf.create({"hydra": hydra, "paths": {"runs": str(tmp_path / "runs")}}), [])
    assert end.value.code == 1
    assert capsys.readouterr().err == "alpl: error: 2 of 2 runs failed, as told above: run 1, 2\n"
