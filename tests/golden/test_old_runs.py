"""Run folders that an earlier version wrote are read, reported and gone on with."""

import json
import tarfile
from pathlib import Path

import pytest
from command import alpl
from runs import FOLDER

from alpl.commands import report, status

CLASSIFICATION = (
    "data=digits",
    "table=old",
    "acquisition=margin",
    "seed=1",
    "num_threads=1",
    "schedule.initial.size=40",
    "schedule.budget=20",
    "schedule.cycles=1",
    "trainer.max_epochs=2",
)
DETECTION = (
    "scale=smoke",
    "method=detection_entropy",
    "table=old",
    "seed=1",
    "num_threads=1",
    "trainer.max_epochs=2",
    "gallery=0",
    "model.network.backbone.widths=[4,8,8]",
    "+model.acquisition.max_detections=20",
)


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    with tarfile.open(FOLDER / "old_runs.tar.xz") as archive:
        archive.extractall(tmp_path, filter="data")
    return tmp_path / "runs"


def test_status_and_report_read_them(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        status.cli([f"paths.runs={runs}"])
    lines = capsys.readouterr().out.splitlines()
    assert end.value.code == 1 and lines[-1] == "2 runs: 1 done, 1 unfinished"
    assert any("predict of cycle 0 is done, the last cycle is 1" in line for line in lines)
    report.cli([str(runs)])
    out = capsys.readouterr().out
    assert "margin" in out and "detection_entropy" in out
    names = {path.name for path in (runs / "old" / "report").iterdir()}
    assert names >= {"index.html", "table.csv", "cost.csv", "curves_digits.png", "informativeness_digits.png"}


def test_a_finished_one_is_known_by_its_command(runs: Path) -> None:
    result = alpl(runs, *CLASSIFICATION)
    assert result.status == 0 and "finished already" in result.err, result.err
    assert len(list((runs / "old" / "margin").iterdir())) == 1


def test_a_killed_one_goes_on(runs: Path) -> None:
    (folder,) = (runs / "old" / "detection_entropy").iterdir()
    before = (folder / "journal.jsonl").read_text().splitlines()
    model = (folder / "cycle_00" / "model.pt").read_bytes()
    result = alpl(runs, *DETECTION)
    assert result.status == 0, result.err
    after = (folder / "journal.jsonl").read_text().splitlines()
    assert after[: len(before)] == before and json.loads(after[-1])["stage"] == "finished"
    assert (folder / "cycle_00" / "model.pt").read_bytes() == model  # cycle 0 was not trained again
    assert len(list((runs / "old" / "detection_entropy").iterdir())) == 1
