"""wandb offline: no account, no network; the run's files, read back, hold the axes, the metrics and no point twice."""

import csv
import json
import signal
import subprocess
import sys
import time
import zlib
from itertools import chain
from pathlib import Path
from threading import Timer
from types import SimpleNamespace
from unittest import mock

import pytest
import wandb
from command import TINY, alpl
from forked import Forked
from PIL import Image
from test_resume import only_run

from alpl.errors import ConfigError
from alpl.loggers.points import EndPoint, EpochPoint, RunPoints, TestPoint
from alpl.loggers.wandb_files import OfflinePieces, read_records
from alpl.loggers.wandb_points import history_row, summary
from alpl.loggers.wandb_run import WandbRun, _kind, wandb_id
from alpl.machine.files import write_json
from alpl.runs.run_folder import RunFolder

KILL_ONCE_LOGGED = Path(__file__).parent / "kill_once_logged.py"
MARGIN = ("logger=wandb", "acquisition=margin", *TINY)


@pytest.fixture(autouse=True)
def no_account(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    monkeypatch.delenv("WANDB_MODE", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))  # no settings of this machine's user


def pieces(run: Path) -> list[Path]:
    return sorted(run.rglob("*.wandb"))


def records(run: Path) -> list:
    """Read all pieces; wandb's service writes the last block a moment after the run has ended."""
    for _ in range(100):
        found = [list(read_records(file)) for file in pieces(run)]
        if found and found[-1] and found[-1][-1].HasField("exit"):
            break
        time.sleep(0.1)
    return [record for piece in found for record in piece]


def first_run(run: Path):
    return next(record.run for record in records(run) if record.HasField("run"))


def values(items) -> dict:
    return {".".join(item.nested_key) or item.key: json.loads(item.value_json) for item in items}


def history_of(found: list) -> list[dict]:
    return [values(record.history.item) for record in found if record.HasField("history")]


def history(run: Path) -> list[dict]:
    return history_of(records(run))


def last_summary(run: Path) -> dict:
    """What the summary is after the last piece's updates."""
    found: dict = {}
    for record in records(run):
        if record.HasField("summary"):
            found |= values(record.summary.update)
    return found


def lines(file: Path) -> list[dict[str, float]]:
    with file.open() as stream:
        return [{name: float(text) for name, text in row.items() if text} for row in csv.DictReader(stream)]


def written_epochs(run: Path) -> list[dict[str, float]]:
    """Give what the CSV files of the first member say, under wandb's names, epochs counted on."""
    rows = [row for file in sorted(run.glob("cycle_*/epochs.csv")) for row in lines(file)]
    return [{f"fit/{n}": v for n, v in row.items() if n != "epoch"} | {"epoch": e} for e, row in enumerate(rows)]


def without_times(row: dict) -> dict:
    return {name: value for name, value in row.items() if not name.startswith("_") and name != "fit/cycle"}


# --- a run


@pytest.mark.slow
def test_offline_run_has_the_axes_and_the_values_of_the_csv_files(tmp_path: Path) -> None:
    run = alpl(tmp_path / "runs", *MARGIN).run_folder()
    axes = {m.metric.glob_name or m.metric.name: m.metric.step_metric for m in records(run) if m.HasField("metric")}
    names = ("test/*", "cycle/*", "ap/*", "seconds/*")
    assert axes | dict.fromkeys(names, "labeled images") | {"fit/*": "epoch"} == axes
    assert axes["labeled images"] == axes["epoch"] == ""
    rows = history(run)
    assert [row["_step"] for row in rows] == list(range(8))  # 2 cycles of 2 epochs, test and end
    assert [without_times(row) for row in rows if "epoch" in row] == written_epochs(run)
    tests = [row for row in rows if "test/accuracy" in row]
    measured = lines(run / "metrics.csv")
    assert [row["labeled images"] for row in tests] == [30, 50] == [row["num_labeled"] for row in measured]
    assert [row["test/accuracy"] for row in tests] == [row["test/accuracy"] for row in measured]
    assert [row["cycle/l1_score"] for row in tests] == [row["l1_score"] for row in measured]
    seconds = [{n: v for n, v in row.items() if n.startswith("seconds/")} for row in rows if "seconds/fit" in row]
    journal = [entry for entry in RunFolder(run).journal if "cycle" in entry]
    said = [{f"seconds/{e['stage']}": e["seconds"] for e in journal if e["cycle"] == c} for c in (0, 1)]
    assert seconds == said
    assert [row["labeled images"] for row in rows if "seconds/fit" in row] == [30, 50]


def test_offline_run_has_group_job_type_config_and_summary(tmp_path: Path) -> None:
    run = alpl(tmp_path / "runs", *MARGIN, "seed=3", "logger.tags=[mine]").run_folder()
    start = first_run(run)
    assert (start.run_group, start.job_type, start.display_name) == ("digits", "margin", "margin digits seed 3")
    assert start.run_id == f"digits-margin-digits-3-{run.name[-8:]}" and list(start.tags) == ["digits", "mine"]
    config = values(start.config.update)
    shown = {name: config[name] for name in ("table", "row", "data", "seed", "key", "acquisition", "model")}
    assert shown == {
        "table": "digits",
        "row": "margin",
        "data": "digits",
        "seed": 3,
        "key": run.name[-8:],
        "acquisition": "Margin",
        "model": "Classifier ClassificationNetwork SmallCnn",
    }
    assert config["config"]["data"]["batch_size"] == 16
    accuracies = [row["test/accuracy"] for row in lines(run / "metrics.csv")]
    found = last_summary(run)
    assert found["test/accuracy"] == {"max": max(accuracies), "last": accuracies[-1]}
    fits = [entry["seconds"] for entry in RunFolder(run).journal if entry["stage"] == "fit"]
    assert found["total seconds/fit"] == pytest.approx(sum(fits)) and found["labeled images"] == 50
    (end,) = [record.exit for record in records(run) if record.HasField("exit")]
    assert end.exit_code == 0


@pytest.mark.slow
def test_a_failed_run_is_marked_and_goes_on_as_the_same_run(tmp_path: Path) -> None:
    with mock.patch("alpl.loop.check_query", side_effect=RuntimeError("broken")):
        assert alpl(tmp_path, *MARGIN).status == 1
    (run,) = (path.parent for path in tmp_path.rglob("run.json"))
    assert [r.exit.exit_code for r in records(run) if r.HasField("exit")] == [1]
    time.sleep(1.1)  # wandb names its folders by the second
    assert alpl(tmp_path, *MARGIN).status == 0
    assert len(pieces(run)) == 2 and len({first.run_id for first in (r.run for r in records(run)) if first.run_id}) == 1
    assert [row["_step"] for row in history(run)] == list(range(8))
    accuracies = [row["test/accuracy"] for row in lines(run / "metrics.csv")]
    assert last_summary(run)["test/accuracy"] == {"max": max(accuracies), "last": accuracies[-1]}
    assert [r.exit.exit_code for r in records(run) if r.HasField("exit")] == [1, 0]


@pytest.mark.slow
def test_a_killed_run_logs_every_point_once(tmp_path: Path) -> None:
    """Fits that begin anew (there is no checkpoint) come by epochs that wandb's files hold already."""
    epochs, kills = 100, 2
    overrides = ["logger=wandb", "acquisition=margin", f"trainer.max_epochs={epochs}", "schedule.cycles=1"]
    command = [str(KILL_ONCE_LOGGED), str(kills), "--", f"paths.runs={tmp_path}", *overrides]
    process = Forked(*command, "checkpoint_every_s=600")
    out, err = process.communicate(timeout=570)
    assert process.returncode == 0, out + err
    assert json.loads(out.splitlines()[-1]) == [signal.SIGKILL] * kills + [0]
    run = only_run(tmp_path)
    rows = history(run)
    steps = [[row["_step"] for row in history_of([*read_records(piece)])] for piece in pieces(run)]
    assert len(steps) == kills + 1 and all(steps), steps
    ends = [piece[-1] + 1 for piece in steps[:-1]]  # points that the next attempt finds
    assert any(0 < end % (epochs + 2) <= epochs for end in ends), f"no fit was cut off behind a logged epoch: {ends}"
    assert list(chain(*steps)) == list(range(2 * (epochs + 2))), steps
    assert [without_times(row) for row in rows if "epoch" in row] == written_epochs(run)


@pytest.mark.slow
def test_the_id_follows_from_the_run(tmp_path: Path) -> None:
    ids = [first_run(alpl(tmp_path / name, *MARGIN).run_folder()).run_id for name in ("first", "second")]
    assert ids[0] == ids[1]


def test_ids_differ_and_are_valid() -> None:
    about = {"table": "thesis/table3_1", "row": "margin", "data": "cifar10", "seed": 0, "key": "0123abcd"}
    others = [about | {"table": "thesis-table3_1"}, about | {"row": "x" * 90}, about | {"row": "x" * 91}]
    ids = [wandb_id(each) for each in (about, *others)]
    assert len(set(ids)) == 4 and all(len(each) <= 64 and not set(each) & set("/\\#?%: ") for each in ids)
    assert ids[0].startswith("thesis-table3_1-margin-cifar10-0") and ids[0].endswith("0123abcd")


def test_a_model_is_named_by_its_network_and_backbone() -> None:
    backbone = {"_target_": "alpl.networks.fpn.TorchvisionFpn", "name": "resnet50"}
    assert _kind({"_target_": "a.RetinaNet", "backbone": backbone}) == "RetinaNet TorchvisionFpn resnet50"
    assert _kind({"_target_": "alpl.acquisition.Then", "first": {"_target_": "b.Entropy"}}) == "Then"


@pytest.mark.slow
def test_the_key_does_not_depend_on_the_logger(tmp_path: Path) -> None:
    assert alpl(tmp_path, "logger=wandb", *TINY).status == 0
    assert "finished already" in alpl(tmp_path, "logger=csv", *TINY).err


# --- what cannot work


@pytest.mark.parametrize("terminal", [False, True])
def test_online_without_a_login_is_one_line_before_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, terminal: bool
) -> None:
    """Also at a terminal: a pseudo-terminal of a batch job has nobody who answers."""
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(isatty=lambda: terminal, readline=lambda: pytest.fail("asked")))
    result = alpl(tmp_path, "logger=wandb", "logger.mode=online", *TINY)
    assert result.status == 2 and not list(tmp_path.rglob("epochs.csv"))
    (line,) = [line for line in result.err.splitlines() if "error" in line]
    assert line.startswith("alpl: error: logger.mode=online needs") and "wandb login" in line
    assert "logger.mode=offline" in line and "Traceback" not in result.err


@pytest.mark.parametrize(
    ("arguments", "name"), [({"mode": "of"}, "mode"), ({"tags": ["x" * 65]}, "tags"), ({"gallery": -1}, "gallery")]
)
def test_wrong_values_are_refused(arguments: dict, name: str) -> None:
    with pytest.raises(ConfigError, match=name):
        WandbRun(**arguments)


def test_ending_what_never_began() -> None:
    WandbRun().finish(failed=True)


# --- the files


@pytest.mark.slow
def test_reader_agrees_with_wandbs_own(tmp_path: Path) -> None:
    run = alpl(tmp_path, *MARGIN, "logger.tags=[" + ",".join(f"{n:064d}" for n in range(600)) + "]").run_folder()
    ours = records(run)
    (file,) = pieces(run)
    assert file.stat().st_size > 32768  # a record that crosses blocks
    command = [sys.executable, "-m", "wandb", "leet", "inspect"]
    done = subprocess.run([*command, "--json", str(file)], capture_output=True, text=True, timeout=60)
    if done.returncode != 0:
        pytest.skip("this wandb has no reader of its own on the command line")
    theirs = [json.loads(line) for line in done.stdout.splitlines()]
    assert [each["num"] for each in theirs] == [each.num or 1 for each in ours]
    steps = [each["history"]["step"] for each in theirs if each["type"] == "history"]
    assert [int(step.get("num", 0)) if isinstance(step, dict) else step for step in steps] == list(range(8))
    whole = json.loads(subprocess.check_output([*command, "--summary", "--json", str(file)], timeout=60))
    assert whole["state"] == "finished" and whole["summary"]["test/accuracy"] == last_summary(run)["test/accuracy"]


def test_reading_stops_where_a_kill_broke_the_file_off(tmp_path: Path) -> None:
    run = alpl(tmp_path, *MARGIN).run_folder()
    whole = records(run)
    (file,) = pieces(run)
    data = file.read_bytes()
    for cut in (len(data) - 3, len(data) // 2):
        file.write_bytes(data[:cut])
        part = list(read_records(file))
        assert part == whole[: len(part)] and 0 < len(part) < len(whole)
    file.write_bytes(data[: len(data) // 2] + bytes(len(data) // 2))  # blocks that the disk never got
    assert list(read_records(file)) == part
    flipped = bytearray(data)
    flipped[len(data) // 2] ^= 1
    file.write_bytes(flipped)
    assert len(list(read_records(file))) <= len(part)


def test_broken_pieces_stop_no_run(tmp_path: Path) -> None:
    record, kind = b"\xff\xff", b"\x01"  # a checksum that is right, of what is no record
    chunk = (
        zlib.crc32(record, zlib.crc32(kind)).to_bytes(4, "little") + len(record).to_bytes(2, "little") + kind + record
    )
    for number, data in enumerate((b"", b"x" * 5, bytes(7) + chunk)):
        write_bytes(tmp_path / "wandb" / f"offline-run-{number}-one" / "run-one.wandb", data)
    (tmp_path / "wandb" / "offline-run-3-one" / "run-one.wandb").mkdir(parents=True)
    found = OfflinePieces(tmp_path, "one", patience_s=0)
    assert len(found.files) == 4 and found.next_step() == 0
    for told in (b"", b"\xff", b"9" * 5000):
        write_bytes(tmp_path / "wandb" / "told-one.txt", told)
        assert found.next_step() == 0
    found.note(3)
    assert OfflinePieces(tmp_path, "one")._told() == 3


def write_bytes(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


@pytest.mark.slow
def test_how_far_the_pieces_go(tmp_path: Path) -> None:
    assert OfflinePieces(tmp_path, "one").next_step() == 0
    run = alpl(tmp_path, *MARGIN).run_folder()
    records(run)
    (file,) = pieces(run)
    found = OfflinePieces(run, first_run(run).run_id, patience_s=0.5)
    assert found.files == [file] and found.next_step() == 8
    assert OfflinePieces(run, "another").next_step() == 0
    data = file.read_bytes()
    file.write_bytes(data[: len(data) * 4 // 5])  # its service was killed before it wrote the rest
    start = time.monotonic()
    assert 0 < found.next_step() < 8 and time.monotonic() - start >= 0.5
    later = Timer(0.5, lambda: file.write_bytes(data))  # its service is late
    later.start()
    assert OfflinePieces(run, first_run(run).run_id, patience_s=20).next_step() == 8
    later.join()
    file.unlink()  # after an upload
    assert found.next_step() == 8


# --- the points


def write_cycle(run: RunFolder, cycle: int, epochs: list[int], metrics: dict | None) -> None:
    files = run.cycle(cycle)
    files.folder.mkdir(parents=True, exist_ok=True)
    files.pool.write_text("")
    for member, number in enumerate(epochs):
        rows = "".join(f"{epoch},{cycle}.5,\n" for epoch in range(number))
        files.epochs(member).write_text(f"epoch,lr,val/loss\n{rows}")
    if metrics is not None:
        write_json(files.metrics, metrics)


def test_points_of_an_ensemble_that_is_at_work(tmp_path: Path) -> None:
    run, points = RunFolder(tmp_path), RunPoints(tmp_path)
    assert points.read() == []
    write_cycle(run, 0, [2], None)
    assert points.read() == [EpochPoint(0, 0, 0, {"lr": 0.5}), EpochPoint(0, 0, 1, {"lr": 0.5})]
    write_cycle(run, 0, [2, 1], {"num_labeled": 7, "test/map": 0.25, "test/map_per_class": [0.5, None]})
    before = [*points.read()]
    assert before[2:] == [EpochPoint(0, 1, 0, {"lr": 0.5}), TestPoint(0, 7, {"test/map": 0.25}, (0.5, None))]
    run.mark_done({"cycle": 0, "stage": "fit", "seconds": 2.5})
    run.cycle(0).gallery.mkdir()
    write_cycle(run, 1, [1], {"num_labeled": 9, "test/map": 0.5})
    after = points.read()
    assert after[:4] == before and after[4] == EndPoint(0, 7, {"fit": 2.5}, run.cycle(0).gallery)
    assert after[5:] == [EpochPoint(1, 0, 2, {"lr": 1.5}), TestPoint(1, 9, {"test/map": 0.5}, ())]
    run.mark_done({"stage": "finished"})
    assert points.read() == RunPoints(tmp_path).read() == [*after, EndPoint(1, 9, {}, None)]


def test_rows_of_a_detector() -> None:
    row = history_row(TestPoint(2, 40, {"test/map": 0.25, "num_labeled_objects": 9}, (0.5, None)), ["cat", "dog"], 0)
    table = row.pop("per_class")
    assert row == {
        "labeled images": 40,
        "cycle/cycle": 2,
        "test/map": 0.25,
        "cycle/num_labeled_objects": 9,
        "ap/cat": 0.5,
    }
    assert table.columns == ["class", "average precision", "labeled images"]
    assert table.data == [["cat", 0.5, 40], ["dog", None, 40]]
    member = history_row(EpochPoint(1, 2, 5, {"train/loss": 1.0}), [], 0)
    assert member == {"epoch": 5, "fit/cycle": 1, "fit/member 2/train/loss": 1.0}


def test_the_gallery_is_bounded_and_its_boxes_are_shares(tmp_path: Path) -> None:
    detection = {"box": [10, 20, 60, 40], "label": 1, "score": 0.5, "value": None, "decided": False}
    crowd = [detection | {"score": place / 100} for place in range(30)]
    entry = {"index": 5, "name": "five", "rank": 0, "utility": 1.25, "width": 100, "height": 200}
    images = [entry | {"file": f"{rank:03d}.jpg", "rank": rank, "detections": crowd} for rank in range(5)]
    write_json(tmp_path / "gallery.json", {"classes": ["cat", "dog"], "images": images})
    for image in images:
        Image.new("RGB", (50, 100)).save(tmp_path / image["file"])
    end = EndPoint(0, 30, {"fit": 1.0}, tmp_path)
    assert history_row(end, [], 0) == {"labeled images": 30, "seconds/fit": 1.0}
    pictures = history_row(end, [], 2)["gallery"]
    assert len(pictures) == 2 and all(isinstance(picture, wandb.Image) for picture in pictures)
    boxes = pictures[1]._boxes["detections"]._val
    assert len(boxes) == 10 and boxes[0]["scores"] == {"score": 0.29}
    assert boxes[0]["position"] == {"minX": 0.1, "maxX": 0.6, "minY": 0.1, "maxY": 0.2}


def test_summary_is_over_all_cycles() -> None:
    tests = [TestPoint(c, 10 * c, {"test/map": value, "l1_score": 1.0}, ()) for c, value in enumerate((0.1, 0.4, 0.3))]
    ends = [EndPoint(c, 10 * c, {"fit": 2.0, "select": 0.5}, None) for c in range(2)]
    assert summary([*tests, *ends]) == {
        "test/map": {"max": 0.4, "last": 0.3},
        "total seconds/fit": 4.0,
        "total seconds/select": 1.0,
    }
