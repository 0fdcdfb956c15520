"""`alpl-balance`: what it writes below a run, and what it refuses in one line."""

import csv
import json
from pathlib import Path

import pytest
from command import TINY, alpl

from alpl.acquisition.base import Query
from alpl.commands.balance import cli, weights_of
from alpl.errors import ConfigError
from alpl.pool import Pool

KEPT = (*TINY, "keep_predictions=true", "share_first_cycle=false")
SEEN = ("trainer.max_epochs=20", "schedule.initial.size=200")  # of every class enough to tell it apart


def refused(capsys, *arguments: object) -> str:
    with pytest.raises(SystemExit) as end:
        cli([str(each) for each in arguments])
    assert end.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    return line


def rows_of(run: Path) -> list[dict[str, str]]:
    with (run / "studies" / "balance" / "balance.csv").open(newline="") as stream:
        return list(csv.DictReader(stream))


def test_weights() -> None:
    assert weights_of("0:3:0.1") == pytest.approx([place / 10 for place in range(31)])
    assert weights_of("1:1:5") == [1.0] and weights_of("0:1:0.4") == [0.0, 0.4, 0.8]
    for text in ("3", "0:1", "a:b:c"):
        with pytest.raises(ConfigError, match="--weights must be START:STOP:STEP, got"):
            weights_of(text)
    for text in ("-1:1:1", "2:1:1", "0:1:0", "0:1:-1", "0:nan:1", "0:inf:1", "0:1:1e-6"):
        with pytest.raises(ConfigError, match="--weights must be 0 <= START <= STOP in 1 to 1000 steps, got"):
            weights_of(text)


def test_what_is_no_run_is_refused(tmp_path: Path, capsys) -> None:
    assert "which has no config.yaml" in refused(capsys, tmp_path)
    assert "settings must be KEY=VALUE, got fast" in refused(capsys, tmp_path, "fast")
    assert "--weights must be START:STOP:STEP, got '1'" in refused(capsys, tmp_path, "--weights", "1")


@pytest.mark.slow
def test_a_scan_of_an_entropy_run(tmp_path: Path, capsys) -> None:
    run = alpl(tmp_path, *KEPT, "acquisition=entropy", *SEEN).run_folder()
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    cli([str(run), "--weights", "0:20:20"])
    told = capsys.readouterr().out
    plain, balanced, level, pseudo = rows_of(run)
    assert plain["choice"] == balanced["choice"] == level["choice"] == "Entropy"
    assert [row["weight"] for row in (plain, balanced, level, pseudo)] == ["0", "20", "", ""]
    query, following = Query.load(run / "cycle_00" / "query.csv"), run / "cycle_01" / "metrics.json"
    assert float(plain["value"]) == pytest.approx(float(query.utility.sum()))  # the run's own choice
    assert float(plain["l1_score"]) == pytest.approx(json.loads(following.read_text())["l1_score"])
    for name in ("value", "l1", "l1_score"):
        assert level[name] == plain[name]
    assert float(balanced["l1"]) < float(plain["l1"]) and float(balanced["value"]) < float(plain["value"])
    assert float(pseudo["value"]) <= float(plain["value"]) + 1e-9 and "pseudo-labels" in pseudo["choice"]
    assert told.startswith("lambda* = 20: the smallest of 2 weights from 0 to 20 beyond which")
    assert (run / "studies" / "balance" / "balance.png").read_bytes().startswith(b"\x89PNG")
    assert {path: path.read_bytes() for path in before} == before
    assert "--cycle must be one whose query" in refused(capsys, run, "--cycle", 1)


@pytest.mark.slow
def test_a_scan_of_k_center_and_what_cannot_be_scanned(tmp_path: Path, capsys) -> None:
    run = alpl(tmp_path, *KEPT, "acquisition=kcenter_balanced", "acquisition.weight=0.5").run_folder()
    cli([str(run), "--weights", "0.5:0.5:1"])
    (balanced, level) = rows_of(run)
    query = Query.load(run / "cycle_00" / "query.csv")
    assert float(balanced["value"]) == pytest.approx(float(query.utility.sum())) and balanced["gap"] == ""
    assert float(level["value"]) > float(balanced["value"])
    assert Pool.load(run / "cycle_01" / "pool.csv").num_labeled == 50
    cosine = alpl(tmp_path / "cosine", *KEPT, "acquisition=kcenter", "acquisition.metric=cosine").run_folder()
    cli([str(cosine), "--weights", "0:0:1"])
    query = Query.load(cosine / "cycle_00" / "query.csv")
    assert float(rows_of(cosine)[0]["value"]) == pytest.approx(float(query.utility.sum()))  # by the run's own metric
    refusal = refused(capsys, cosine, "data.batch_size=0")
    assert refusal == "alpl-balance: error: data.batch_size must be an int >= 1, got 0"
    random = alpl(tmp_path / "random", *KEPT, "acquisition=badge").run_folder()
    assert "RUN must be of a ranking or of k-center, got Badge" in refused(capsys, random)
    gone = alpl(tmp_path / "gone", *TINY, "acquisition=margin").run_folder()
    assert "keep_predictions=true keeps what a query saw" in refused(capsys, gone)
    watched = alpl(tmp_path / "watched", *KEPT, "acquisition=dispersion").run_folder()
    assert "of a ranking of predictions alone, Dispersion needs HISTORY" in refused(capsys, watched)
