"""Run folders of the code before the moves are read, reported and gone on with."""

import json
import re
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest
import yaml
from command import alpl
from golden.record import HERE, differences, observed

OVERRIDES: dict[str, list[str]] = yaml.safe_load((HERE / "old_runs.yaml").read_text(encoding="utf-8"))
KILLED = [row for row in OVERRIDES if row.startswith("killed")]
STATUS, REPORT = re.findall(r"next block -->\n```text\n(.*?)```", (HERE / "README.md").read_text(), flags=re.DOTALL)


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """A copy that a test may go on with."""
    with tarfile.open(HERE / "old_runs.tar.xz") as archive:
        if hasattr(tarfile, "data_filter"):  # not in the first releases of Python 3.10 and 3.11
            archive.extraction_filter = tarfile.data_filter
        archive.extractall(tmp_path)
    return tmp_path / "runs"


def script(name: str, *arguments: str, folder: Path) -> tuple[int, str]:
    """Run a console script in the folder that holds ``runs``: what it prints does not name this machine's folders."""
    command = [str(Path(sys.executable).with_name(name)), *arguments]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300)
    assert not done.stderr, done.stderr
    return done.returncode, done.stdout


def folder_of(runs: Path, row: str) -> Path:
    """The one folder of a row: a second one is a run of another key, begun beside the old one."""
    (folder,) = (runs / "old" / row).iterdir()
    return folder


def go_on(runs: Path, row: str) -> Path:
    result = alpl(runs, *OVERRIDES[row], "table=old", f"row={row}", "seed=0")
    assert result.status == 0, result.err
    return folder_of(runs, row)


def files_in(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def stages(folder: Path) -> list[tuple[int | None, str]]:
    entries = [json.loads(line) for line in (folder / "journal.jsonl").read_text(encoding="utf-8").splitlines()]
    return [(entry.get("cycle"), entry["stage"]) for entry in entries]


def test_status_tells_how_far_they_came(runs: Path) -> None:
    assert script("alpl-status", "paths.runs=runs", folder=runs.parent) == (1, STATUS)


def test_the_report_is_made_of_them(runs: Path) -> None:
    status, _ = script("alpl-report", "runs", folder=runs.parent)
    found = files_in(runs / "old" / "report")
    assert status == 0 and list(found) == REPORT.splitlines()
    assert found["table.csv"] == (HERE / "old_runs_table.csv").read_bytes()


def test_a_finished_one_is_left_alone(runs: Path) -> None:
    before = files_in(folder_of(runs, "finished"))
    assert files_in(go_on(runs, "finished")) == before


@pytest.mark.slow
@pytest.mark.parametrize("row", KILLED)
def test_a_killed_one_goes_on_where_it_was(runs: Path, row: str) -> None:
    old = folder_of(runs, row)
    before, done = files_in(old), stages(old)
    went_on = go_on(runs, row)
    after = files_in(went_on)
    assert went_on == old
    assert after["journal.jsonl"].startswith(before["journal.jsonl"])  # no stage is done again
    later = ["select", "pseudo_label"] if row == "killed_behind_predict" else []
    assert stages(went_on) == [*done, *((0, stage) for stage in later), (1, "fit"), (1, "test"), (None, "finished")]
    for name in ("model.pt", "epochs.csv", "metrics.json"):
        assert after[f"cycle_00/{name}"] == before[f"cycle_00/{name}"]
    if row == "killed_in_fit":  # nor the epoch that the checkpoint holds
        assert after["cycle_01/epochs.csv"].startswith(before["cycle_01/epochs.csv"])


@pytest.mark.slow
def test_both_killed_ones_end_alike(runs: Path) -> None:
    """They are one run: the predictions of the one and the checkpoint of the other are read as they were written."""
    one, other = (observed(go_on(runs, row)) for row in KILLED)
    assert one[0] == other[0] and one[1]["pool"] == other[1]["pool"]
    if others := differences():
        pytest.skip(f"sums may differ in their last bits: recorded with another {', '.join(others)}")
    assert one == other
