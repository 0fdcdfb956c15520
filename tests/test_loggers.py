"""wandb offline: no account, no network; the run's file, read back, holds the axes and metrics."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from command import TINY, alpl

wandb = pytest.importorskip("wandb")


def chunks(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Split a .wandb file into its chunks: LevelDB's log format, blocks of 32 KiB, behind a header of 7 bytes."""
    block = 32768
    place = 7
    while place + 7 <= len(data):
        if block - place % block < 7:  # no room for a chunk's header: padding
            place += block - place % block
            continue
        length, kind = int.from_bytes(data[place + 4 : place + 6], "little"), data[place + 6]
        yield kind, data[place + 7 : place + 7 + length]
        place += 7 + length


def records(run: Path) -> list:
    """Read what an offline run wrote."""
    from wandb.proto import wandb_internal_pb2

    (file,) = run.rglob("*.wandb")
    found, whole = [], b""
    for kind, piece in chunks(file.read_bytes()):
        whole = piece if kind in (1, 2) else whole + piece  # full or first; middle or last
        if kind in (1, 4):
            record = wandb_internal_pb2.Record()
            record.ParseFromString(whole)
            found.append(record)
    return found


def test_offline_run_has_labeled_images_as_its_axis(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_API_KEY", "")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))  # no settings of this machine's user
    run = alpl(tmp_path / "runs", "logger=wandb", "acquisition=margin", *TINY).run_folder()
    found = records(run)
    axes = {m.metric.glob_name or m.metric.name: m.metric.step_metric for m in found if m.HasField("metric")}
    assert axes["test/*"] == "labeled images" and axes["fit/*"] == "fit/epoch"
    history = [{".".join(i.nested_key) or i.key: json.loads(i.value_json) for i in r.history.item}
               for r in found if r.HasField("history")]  # fmt: skip
    cycles = [row for row in history if "test/accuracy" in row]
    assert [row["labeled images"] for row in cycles] == [30, 50]
    written = [line.split(",") for line in (run / "metrics.csv").read_text().splitlines()[1:]]
    assert [row["test/accuracy"] for row in cycles] == [float(row[2]) for row in written]
    epochs = [row["fit/epoch"] for row in history if "fit/train/loss" in row]
    assert epochs == [0, 1, 2, 3]  # counts on through the cycles
    (start,) = [record.run for record in found if record.HasField("run")][:1]
    assert start.run_group == "digits" and start.job_type == "margin"
    config = {item.key: json.loads(item.value_json) for item in start.config.update}
    assert config["seed"] == 0 and config["row"] == "margin" and config["config"]["data"]["batch_size"] == 16


def test_the_id_follows_from_the_run(tmp_path: Path) -> None:
    first = alpl(tmp_path / "first", "logger=wandb", *TINY).run_folder()
    second = alpl(tmp_path / "second", "logger=wandb", *TINY).run_folder()
    ids = [next(r.run.run_id for r in records(run) if r.HasField("run")) for run in (first, second)]
    assert ids[0] == ids[1] and first.name.split("-")[-1] in ids[0]


def test_the_key_does_not_depend_on_the_logger(tmp_path: Path) -> None:
    assert alpl(tmp_path, "logger=wandb", *TINY).status == 0
    assert "finished already" in alpl(tmp_path, "logger=csv", *TINY).err
