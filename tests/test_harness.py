"""A sample of the tries in tests/harness.py; README.md says how more of them are made."""

import random
import signal
from pathlib import Path

import harness
import pytest
from harness import KINDS, SOON_S, Ended, _is_let_go, difference, failing, not_heeded, rot, run


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_a_sample_holds(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(harness, "SOON_S", 30.0)  # other tests run beside it; what is swallowed is seen by what begins
    counts, failed = run(kind, tries=3, seed=0, seconds=15)
    assert counts["held"] and not failed, failed


def test_a_changed_file_is_seen(tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text("{}")
    query = tmp_path / "cycle_00" / "query.csv"
    query.parent.mkdir()
    query.write_text("rank,index\n0,17\n")
    whole = {"run.json": b"{}", "cycle_00/query.csv": query.read_bytes()}
    assert not difference(tmp_path, whole)
    hows = set()
    for seed in range(20):
        query.write_text("rank,index\n0,17\n")
        hows.add(rot(query, random.Random(seed)).split()[0])
        assert "cycle_00/query.csv" in difference(tmp_path, whole)
        assert not difference(tmp_path, whole, "cycle_00/query.csv")
    assert hows == {"bit", "cut", "empty", "noise", "zeros"}


@pytest.mark.parametrize(
    "status, seconds, num_begun, fault",
    [
        (130, 1.0, 0, ""),
        (0, 1.0, 0, ""),  # it was at its end
        (0, SOON_S + 1, 0, "SIGINT was heeded after"),
        (130, SOON_S + 1, 0, "SIGINT was heeded after"),
        (0, 1.0, 1, "SIGINT was swallowed: 1 further"),
        (130, 1.0, 1, ""),  # it came while the next one was about to begin
        (130, 1.0, 2, "SIGINT was swallowed: 2 further"),
        (1, 1.0, 0, "SIGINT ended it with 1"),
    ],
)
def test_a_lost_signal_is_seen(status: int, seconds: float, num_begun: int, fault: str) -> None:
    said = not_heeded(signal.SIGINT, Ended(status, "", seconds), num_begun)
    assert said.startswith(fault) and bool(said) == bool(fault)


@pytest.mark.parametrize("lasting", [False, True])
def test_writes_below_the_folder_fail_and_others_do_not(tmp_path: Path, *, lasting: bool) -> None:
    runs = tmp_path / "runs"
    runs.mkdir()
    with failing(runs, 1, 28, lasting=lasting):
        (tmp_path / "elsewhere").open("w").close()
        (runs / "a").open("w").close()
        with pytest.raises(OSError, match="No space left"):
            (runs / "b").open("w")
        assert (runs / "a").read_text() == ""
        if lasting:
            with pytest.raises(OSError, match="No space left"):
                (runs / "a").replace(runs / "c")
        else:
            (runs / "a").replace(runs / "c")
    (runs / "d").open("w").close()


def test_weights_may_stay_away_once_the_query_is_chosen(tmp_path: Path) -> None:
    model, query = tmp_path / "model.pt", tmp_path / "query.csv"
    assert not _is_let_go(model)
    query.touch()
    assert _is_let_go(model) and not _is_let_go(tmp_path / "metrics.json")
    model.touch()
    assert not _is_let_go(model)
