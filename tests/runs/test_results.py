import json
import shutil

import numpy as np
import pytest
import torch
from report.fake_runs import accuracy, make_run, make_sweep

from alpl.errors import ConfigError, DataError
from alpl.machine.files import write_array, write_text
from alpl.pool import Pool
from alpl.runs.results import Informativeness, find_runs, read_run


class Payload:
    """Unpickling this writes a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (write_text, (self.path, "ran"))


def test_a_finished_run_is_read_back_in_full(tmp_path):
    folder = make_run(tmp_path, "digits", "dispersion", seed=3, report={"scale": 100})
    (run,) = find_runs([tmp_path])
    assert (run.folder, run.table, run.row, run.data, run.seed) == (
        folder,
        "digits",
        "dispersion",
        "digits",
        3,
    )
    assert (run.status, run.error, run.num_cycles, run.report) == ("finished", None, 5, {"scale": 100})
    assert run.config["model"]["optimizer"]["lr"] == 0.02
    assert [cycle.num_labeled for cycle in run.cycles] == [40, 60, 80, 100, 120]
    assert [c.metrics["test/accuracy"] for c in run.cycles] == [accuracy("dispersion", c, 3) for c in range(5)]
    assert run.seconds[2, "predict"] == 3 * 4 / 2
    assert run.environment["packages"]["torch"] == "2.15.0"


def test_status_tells_finished_unfinished_and_failed_apart(tmp_path):
    make_run(tmp_path, "t", "a")
    make_run(tmp_path, "t", "b", done=2)
    make_run(tmp_path, "t", "c", done=1, error="ValueError: too bad\n\n")
    runs = {run.row: run for run in find_runs([tmp_path])}
    assert {row: run.status for row, run in runs.items()} == {
        "a": "finished",
        "b": "unfinished",
        "c": "failed",
    }
    assert runs["c"].error == "ValueError: too bad"
    assert {row: len(run.cycles) for row, run in runs.items()} == {"a": 5, "b": 2, "c": 1}


def test_a_run_that_finished_after_a_failure_is_finished(tmp_path):
    write_text(make_run(tmp_path, "t", "a") / "error.txt", "ValueError: before")
    (run,) = find_runs([tmp_path])
    assert (run.status, run.error) == ("finished", None)


def test_a_run_that_has_only_begun_is_unfinished(tmp_path):
    folder = make_run(tmp_path, "t", "a", done=0)
    for name in ("journal.jsonl", "metrics.csv", "environment.json"):
        (folder / name).unlink()
    (run,) = find_runs([tmp_path])
    assert (run.status, run.cycles, dict(run.seconds), run.environment) == ("unfinished", (), {}, {})


def test_half_written_lines_are_left_out(tmp_path):
    folder = make_run(tmp_path, "t", "a", done=2)
    with (folder / "journal.jsonl").open("a") as stream:
        stream.write('{"cycle": 2, "stage": "fi')
    with (folder / "metrics.csv").open("a") as stream:
        stream.write("2,8")
    run = read_run(folder)
    assert len(run.seconds) == 8
    assert [cycle.cycle for cycle in run.cycles if cycle.metrics] == [0, 1]


def test_folders_that_are_no_runs_are_ignored(tmp_path, caplog):
    make_run(tmp_path, "t", "a")
    (tmp_path / "t" / "report").mkdir()
    make_run(tmp_path, "t", ".a.17.tmp")  # a folder that is still being written
    write_text(tmp_path / "t" / "broken" / "run.json", "{")
    write_text(tmp_path / "t" / "foreign" / "run.json", json.dumps({"table": "t"}))
    assert [run.row for run in find_runs([tmp_path])] == ["a"]
    assert {"broken", "foreign"} == {r.getMessage().split("/run.json")[0].split("/")[-1] for r in caplog.records}


def test_a_run_given_twice_counts_once_and_the_farther_copy_wins(tmp_path):
    behind = make_run(tmp_path / "one", "t", "a", done=2)
    ahead = make_run(tmp_path / "two", "t", "a", done=4)
    for order in ([behind, ahead, tmp_path], [tmp_path / "two", tmp_path / "one"]):
        (run,) = find_runs(order)
        assert run.folder == ahead


def test_the_same_config_under_two_rows_is_two_runs(tmp_path):
    folder = make_run(tmp_path, "t", "a")
    twin = tmp_path / "t" / "b" / folder.name
    shutil.copytree(folder, twin)
    about = json.loads((twin / "run.json").read_text())
    write_text(twin / "run.json", json.dumps({**about, "row": "b"}))
    assert [run.row for run in find_runs([tmp_path])] == ["a", "b"]


def test_the_order_does_not_depend_on_the_disk(tmp_path):
    make_sweep(tmp_path)
    runs = find_runs([tmp_path])
    assert [(r.data, r.row, r.seed) for r in runs] == sorted((r.data, r.row, r.seed) for r in runs)
    folders = [run.folder for run in runs]
    assert [run.folder for run in find_runs(folders[::-1])] == folders


def test_a_missing_folder_is_an_error(tmp_path):
    with pytest.raises(ConfigError, match=r"runs must be an existing folder, got .*nowhere"):
        find_runs([tmp_path / "nowhere"])


@pytest.mark.parametrize(("excluded", "labeled", "expected"), [(0, 10, True), (4, 6, True), (0, 9, False)])
def test_all_labeled_leaves_out_what_takes_no_part(tmp_path, excluded, labeled, expected):
    folder = make_run(tmp_path, "t", "a", num_cycles=1)
    pool = Pool.create(10, torch.arange(labeled), excluded=torch.arange(10 - excluded, 10))
    pool.save(folder / "cycle_00" / "pool.csv")
    assert read_run(folder).is_all_labeled is expected


def test_more_than_one_cycle_is_not_all_labeled(tmp_path):
    assert not read_run(make_run(tmp_path, "t", "a", num_cycles=2, all_data=True)).is_all_labeled


def test_informativeness_is_read_back(tmp_path):
    make_run(tmp_path, "t", "dispersion", informativeness=True)
    make_run(tmp_path, "t", "kcenter", informativeness=True)
    ranking, set_method = find_runs([tmp_path])
    assert ranking.informative_cycles == (0, 1, 2, 3)
    part = ranking.informativeness(1)
    assert part.utility is not None and part.correct.shape == part.utility.shape == (340,)
    assert len(part.chosen) == 20
    assert set_method.informativeness(0).utility is None


def test_reading_runs_no_code(tmp_path):
    folder = make_run(tmp_path, "t", "dispersion", informativeness=True) / "cycle_00" / "informativeness"
    np.save(folder / "correct.npy", np.array([Payload(tmp_path / "proof")], dtype=object), allow_pickle=True)
    with pytest.raises(DataError, match="must hold one plain array"):
        Informativeness.load(folder)
    assert not (tmp_path / "proof").exists()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("correct", np.zeros(4)),
        ("correct", np.zeros((2, 2), dtype=bool)),
        ("chosen", np.array([0, 4])),
        ("chosen", np.array([-1])),
        ("chosen", np.array([1, 1])),
        ("chosen", np.array([0.0])),
        ("utility", np.zeros(3)),
        ("utility", np.array([0.0, np.nan, 0.0, 0.0])),
    ],
)
def test_recordings_that_do_not_fit_are_errors(tmp_path, name, value):
    arrays = {"correct": np.ones(4, dtype=bool), "chosen": np.array([2, 0]), "utility": np.zeros(4)}
    for key, array in {**arrays, name: value}.items():
        write_array(tmp_path / f"{key}.npy", array)
    with pytest.raises(DataError, match=rf"{name}\.npy must be .*, got {value.dtype}"):
        Informativeness.load(tmp_path)
