"""What a stage wrote is what is read: a flipped bit is named, a file that is gone is made again, byte for byte."""

import json
import shutil
from pathlib import Path
from unittest import mock

import pytest
from command import TINY, Result, alpl
from test_resume import TIMED, contents

from alpl.commands.status import JobStatus, checked, state_of
from alpl.errors import DataError
from alpl.machine.files import read_json, read_sealed, sha256_of, write_sealed
from alpl.runs import artefacts
from alpl.runs.artefacts import FILES
from alpl.runs.journal import read_journal
from alpl.runs.results import find_runs
from alpl.runs.run_folder import RunFolder

COMMAND = ("acquisition=margin", *TINY, "keep_predictions=true", "keep_models=true", "share_first_cycle=false")


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    result = alpl(tmp_path_factory.mktemp("whole"), *COMMAND)
    assert result.status == 0, result.err
    return result.run_folder()


@pytest.fixture
def run(whole: Path, tmp_path: Path) -> Path:
    """A copy, where the same command finds it."""
    copy = tmp_path / whole.relative_to(whole.parents[2])
    shutil.copytree(whole, copy)
    return copy


def again(run: Path) -> Result:
    return alpl(run.parents[2], *COMMAND)


def flip(path: Path) -> None:
    """Change one bit in the middle."""
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def cut(run: Path, stage: str) -> None:
    """Let the run be one that was killed when a stage of its first cycle had ended."""
    lines = (run / "journal.jsonl").read_text().splitlines()
    (last,) = [
        n for n, line in enumerate(lines) if json.loads(line)["stage"] == stage and json.loads(line)["cycle"] == 0
    ]
    (run / "journal.jsonl").write_text("\n".join(lines[: last + 1]) + "\n")
    shutil.rmtree(run / "cycle_01")


def test_every_stage_tells_what_it_wrote(whole: Path) -> None:
    told = {(e.get("cycle"), e["stage"]): set(e.get(FILES, ())) for e in read_journal(whole / "journal.jsonl")}
    assert {"cycle_00/pool.csv", "cycle_00/model.pt", "cycle_00/epochs.csv"} <= told[0, "fit"]
    assert told[0, "test"] == {"cycle_00/metrics.json", "cost.json"}
    assert {"cycle_00/query.csv", "cycle_00/informativeness/correct.npy"} <= told[0, "select"]
    assert told[None, "finished"] == set()
    on_disk = {path.relative_to(whole).as_posix() for path in whole.glob("cycle_*/**/*") if path.is_file()}
    assert set().union(*told.values()) == on_disk | {"cost.json"}


def test_each_flipped_bit_is_named(run: Path) -> None:
    names = artefacts.known_files(read_journal(run / "journal.jsonl"))
    assert len(names) > 15
    job = JobStatus("done", run, "", ())
    assert checked(job) == job
    for name in sorted(names):
        before = (run / name).read_bytes()
        flip(run / name)
        found = checked(job)
        assert found.state == "broken" and found.detail.startswith(f"{name} is not what was written (cycle "), name
        (run / name).write_bytes(before)
    assert checked(job) == job


@pytest.mark.parametrize("name", ["cycle_00/query.csv", "cycle_01/metrics.json", "metrics.csv", "cycle_01/pool.csv"])
def test_nothing_broken_is_reported(run: Path, name: str, caplog: pytest.LogCaptureFixture) -> None:
    flip(run / name)
    assert find_runs([run]) == [] and str(run / name) in caplog.text
    state, detail = state_of(run)
    assert state == "broken" and str(run / name) in detail


@pytest.mark.sample(2)
@pytest.mark.parametrize(
    ("stage", "name"),
    [
        ("select", "query.csv"), ("predict", "model.pt"), ("select", "pool.csv"), ("select", "metrics.json"),
        ("predict", "predictions/unlabeled/row.npy"), ("fit", "epochs.csv"),
    ],
)  # fmt: skip
def test_nothing_goes_on_from_what_is_broken(run: Path, whole: Path, stage: str, name: str) -> None:
    cut(run, stage)
    path = run / "cycle_00" / name
    flip(path)
    result = again(run)
    assert result.status == 2 and result.err.count("\n") == 1
    assert f"{path} is not what stage" in result.err and "delete it" in result.err
    path.unlink()  # what the message says
    assert again(run).status == 0
    assert_equal(run, whole)


def test_what_is_gone_is_made_again_with_all_behind_it(run: Path, whole: Path) -> None:
    (run / "cycle_00" / "query.csv").unlink()
    assert state_of(run)[0] == "done"  # what a report reads beside it is whole
    result = again(run)
    assert result.status == 0 and "cycle_00/query.csv is gone (cycle 1, stage select)" in result.err
    assert_equal(run, whole)


def test_what_is_gone_takes_with_it_what_has_served(run: Path, whole: Path) -> None:
    shutil.rmtree(run / "cycle_00" / "predictions")
    (run / "cycle_00" / "model.pt").unlink()
    (run / "cycle_00" / "query.csv").unlink()
    result = again(run)
    assert result.status == 0 and "cycle_00/model.pt is gone (cycle 1, stage fit): that stage and all" in result.err
    assert_equal(run, whole)


def test_a_table_that_follows_from_others_is_written_again(run: Path, whole: Path) -> None:
    (run / "metrics.csv").write_text("cycle,num_labeled\n0,3000\n")
    assert again(run).status == 0
    assert_equal(run, whole)


def test_predictions_and_weights_that_have_served_may_be_gone(run: Path, whole: Path) -> None:
    shutil.rmtree(run / "cycle_00" / "predictions")
    (run / "cycle_00" / "model.pt").unlink()
    assert checked(JobStatus("done", run, "", ())).state == "done"
    (run / "cycle_01" / "model.pt").unlink()
    assert checked(JobStatus("done", run, "", ())).state == "broken"


def test_a_torn_last_line_is_a_stage_undone(run: Path, whole: Path) -> None:
    path = run / "journal.jsonl"
    text = path.read_text()
    path.write_text(text[: text.index('"finished"')])
    assert not RunFolder(run).is_finished and state_of(run)[0] == "unfinished"
    assert again(run).status == 0 and RunFolder(run).is_finished
    assert_equal(run, whole)


def test_a_broken_line_within_is_named(run: Path) -> None:
    path = run / "journal.jsonl"
    path.write_text("{\n" + path.read_text())
    with pytest.raises(DataError, match=r"line 1 of .*journal\.jsonl must be one stage of the run as JSON"):
        read_journal(path)
    assert state_of(run)[0] == "broken"
    result = again(run)
    assert result.status == 2 and result.err.count("\n") == 1 and "line 1 of" in result.err


@pytest.mark.parametrize("name", ["data.json", "products.json"])
def test_broken_notes_are_named(run: Path, name: str) -> None:
    write_sealed(run / name, read_sealed(run / name) if name == "data.json" else {"first_cycle": {}})
    job = JobStatus("done", run, "", ())
    assert checked(job) == job
    flip(run / name)
    assert str(run / name) in checked(job).detail and checked(job).state == "broken"


def test_a_changed_run_json_is_named_and_written_again(run: Path, whole: Path) -> None:
    path = run / "run.json"
    path.write_text(path.read_text().replace('"seed": 0', '"seed": 8'))
    state, detail = state_of(run)
    assert state == "broken" and f"{path} must hold what was written there" in detail and find_runs([run]) == []
    assert again(run).status == 0
    assert_equal(run, whole)


def test_a_pool_that_no_stage_answers_for_is_written_again(run: Path, whole: Path) -> None:
    (run / "journal.jsonl").unlink()
    shutil.rmtree(run / "cycle_01")
    pool = run / "cycle_00" / "pool.csv"
    pool.write_text(pool.read_text().replace(",0\n", ",1\n", 1))
    assert again(run).status == 0
    assert_equal(run, whole)


def test_runs_of_earlier_versions_have_no_sums(run: Path) -> None:
    path = run / "journal.jsonl"
    entries = [{k: v for k, v in e.items() if k != FILES} for e in read_journal(path)]
    path.write_text("".join(json.dumps(entry) + "\n" for entry in entries))
    flip(run / "cycle_00" / "query.csv")
    assert state_of(run)[0] == "done" and again(run).status == 0


@pytest.mark.parametrize("name", ["cycle_00/query.csv", "metrics.csv", "error.txt"])
def test_a_file_that_cannot_be_read_hides_no_other_run(
    run: Path, name: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = run.with_name("other")
    shutil.copytree(run, other)
    about = {name: value for name, value in read_sealed(other / "run.json").items() if name != "row"}
    write_sealed(other / "run.json", about | {"row": "other"})
    (run / "error.txt").write_text("why\n")
    lines = (run / "journal.jsonl").read_text().splitlines(keepends=True)
    (run / "journal.jsonl").write_text("".join(lines[:-1]))
    opened = Path.open

    def refuses(path: Path, *args: object, **kwargs: object) -> object:
        if path == run / name:
            raise PermissionError(13, "Permission denied", str(path))
        return opened(path, *args, **kwargs)

    monkeypatch.setattr(Path, "open", refuses)
    # the results do without why a run failed
    expected = [other, run] if name == "error.txt" else [other]
    assert sorted(each.folder for each in find_runs([run.parent])) == sorted(expected)
    assert str(run / name) in caplog.text and "Permission denied" in caplog.text
    state, detail = state_of(run)
    assert (state, "Permission denied" in detail) == (("failed", False) if name == "error.txt" else ("broken", True))
    if name == "cycle_00/query.csv":
        job = checked(JobStatus("done", run, "", ()))
        assert job.state == "broken"
        assert job.detail == f"{name} cannot be read: Permission denied (cycle 1, stage select)"


# --- made-up runs


def made(folder: Path, *, cycles: int = 5, labeled: bool = False, **config: object) -> RunFolder:
    """A finished run that kept neither its predictions nor its weights, but for the last ones."""
    run = RunFolder(folder)
    write_sealed(
        folder / "run.json", {"config": {"warm_start": False, "pseudo_labels": {} if labeled else None} | config}
    )
    files = {"fit": ["pool.csv", "model.pt"], "test": ["metrics.json"], "predict": ["predictions/unlabeled/row.npy"],
             "select": ["query.csv", "embedding/features.npy", "gallery/000.jpg"]}  # fmt: skip
    files |= {"pseudo_label": ["pseudo_labels.csv"]} if labeled else {}
    for cycle in range(cycles):
        for stage in ["fit", "test"] if cycle == cycles - 1 else files:
            sums = {}
            for path in (folder / f"cycle_{cycle:02d}" / name for name in files[stage]):
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(json.dumps({"stage": stage, "cycle": cycle}))
                sums[path.relative_to(folder).as_posix()] = sha256_of(path)
            run.mark_done({"cycle": cycle, "stage": stage, "seconds": 1.0, FILES: sums})
        if cycle < cycles - 1:
            shutil.rmtree(folder / f"cycle_{cycle:02d}" / "predictions")
            (folder / f"cycle_{cycle:02d}" / "model.pt").unlink()
    run.mark_done({"stage": "finished"})
    run.write_metrics(cycles)
    return run


@pytest.mark.parametrize(
    ("labeled", "config", "last"),
    [
        (False, {}, (2, "select")),
        (False, {"learner": None}, (2, "select")),
        (True, {}, (2, "pseudo_label")),
        (False, {"warm_start": True}, None),  # each fit begins with the weights of the last cycle, which are gone
        (False, {"learner": {"_target_": "alpl.learning.TeacherStudent"}}, None),
    ],
)
def test_what_is_gone_costs_no_cycle_before_its_own(
    tmp_path: Path, labeled: bool, config: dict[str, object], last: tuple[int, str] | None
) -> None:
    run = made(tmp_path, labeled=labeled, **config)
    assert run.look_over() == ""
    (tmp_path / "cycle_03" / ("pseudo_labels.csv" if labeled else "query.csv")).unlink()
    with mock.patch.object(artefacts, "check"), mock.patch.object(artefacts, "sha256_of", side_effect=AssertionError):
        run.look_over()  # what is gone is found without reading what is there
    assert [(each["cycle"], each["stage"]) for each in run.journal][-1:] == ([last] if last else [])


def test_weights_are_wanted_where_a_run_does_not_say_its_config(tmp_path: Path) -> None:
    run = made(tmp_path, labeled=True)
    (tmp_path / "run.json").unlink()
    assert run.look_over() == ""
    (tmp_path / "cycle_03" / "pseudo_labels.csv").unlink()
    run.look_over()
    assert run.journal == []


@pytest.mark.parametrize("name", ["embedding/features.npy", "gallery/000.jpg"])
def test_what_a_report_draws_is_compared(tmp_path: Path, name: str) -> None:
    run = made(tmp_path)
    assert run.is_whole
    flip(tmp_path / "cycle_02" / name)
    assert [fault.name for fault in artefacts.faults(tmp_path, run.journal, of_report=True)] == [f"cycle_02/{name}"]


def assert_equal(run: Path, whole: Path) -> None:
    assert contents(run).keys() == contents(whole).keys()
    different = {name for name, data in contents(whole).items() if contents(run)[name] != data}
    assert different <= {"config.yaml", *TIMED}  # the folders' own paths stand there
    assert read_json(run / "run.json") == read_json(whole / "run.json")
