"""Every file that a run leaves and somebody reads: broken, it is named on one line, whatever broke it."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from alpl.acquisition.base import Query
from alpl.callbacks.class_difficulty import DIFFICULTY, ClassDifficulty
from alpl.commands.paper_rows import missing_rows
from alpl.errors import DataError
from alpl.labeling.pseudo_labels import AbstractPseudoLabels, ImagePseudoLabels
from alpl.loggers.points import RunPoints
from alpl.machine.files import read_array, read_csv, read_json, read_object, read_sealed, write_array, write_sealed
from alpl.pool import Pool
from alpl.predictions import Predictions
from alpl.report.drawn.embedding import Recording
from alpl.report.read.printed import read_printed
from alpl.runs.journal import read_journal
from alpl.runs.network_cost import NetworkCost
from alpl.runs.results import Informativeness, read_run
from alpl.runs.run_folder import RunFolder

INDEX = torch.tensor([3, 1, 2])
COST = {"parameters": 2, "trainable": 1, "forward_seconds": 0.1, "turns": 3, "height": 8, "width": 8}
ABOUT = {"table": "t", "row": "r", "data": "d", "key": "k", "variant": "v", "seed": 0, "num_cycles": 2, "config": {}}
EPOCHS = "epoch,lr\n0,0.1\n1,0.01\n"


def arrays(folder: Path, **values: Any) -> None:
    for name, value in values.items():
        write_array(folder / f"{name}.npy", np.array(value))


def predictions(folder: Path) -> None:
    Predictions(index=INDEX, row=torch.arange(3), labels=INDEX).save(folder)


def text(content: str) -> Callable[[Path], None]:
    return lambda path: (path.parent.mkdir(parents=True, exist_ok=True), path.write_text(content))[0]


# the file that breaks, what writes it (and those beside it), what reads it
READERS: dict[str, tuple[str, Callable[[Path], Any], Callable[[Path], Any]]] = {
    "json": ("a.json", text('{"a": [1, 2]}'), read_json),
    "object": ("a.json", text('{"a": [1, 2]}'), read_object),
    "sealed": ("products.json", lambda path: write_sealed(path, {"a": [1, 2.5]}), read_sealed),
    "csv": ("a.csv", text("a,b\n1,2\n"), lambda path: read_csv(path, "numbers")),
    "array": ("a.npy", lambda path: write_array(path, np.arange(9)), read_array),
    "array, mapped": (
        "a.npy", lambda path: write_array(path, np.arange(9)), lambda path: read_array(path, memory_map=True),
    ),
    "pool": ("pool.csv", Pool.create(5, INDEX).save, Pool.load),
    "query": ("query.csv", Query(INDEX, INDEX.double()).save, Query.load),
    "pseudo-labels": (
        "pseudo_labels.csv", ImagePseudoLabels(INDEX, INDEX, INDEX.double()).save, AbstractPseudoLabels.load,
    ),
    "difficulty": (
        DIFFICULTY, text("class,difficulty\n0,0.5\n1,0.25\n"), lambda path: ClassDifficulty().read(path.parent),
    ),
    "predictions": (
        "fields.json", lambda path: predictions(path.parent), lambda path: Predictions.load(path.parent),
    ),
    "predictions' array": (
        "labels.npy", lambda path: predictions(path.parent),
        lambda path: Predictions.load(path.parent, memory_map=True),
    ),
    "informativeness": (
        "chosen.npy", lambda path: arrays(path.parent, correct=[True, False], chosen=[1]),
        lambda path: Informativeness.load(path.parent),
    ),
    "embedding": (
        "features.npy", lambda path: arrays(path.parent, index=[1, 2], features=[[0.5], [1.0]], chosen=[0]),
        lambda path: Recording.load(path.parent),
    ),
    "cost": (
        "cost.json", text(json.dumps(COST | {"needs": "", "device": "cpu", "precision": "32"})), NetworkCost.load,
    ),
    "journal": (
        "journal.jsonl", text('{"cycle": 0, "stage": "fit", "seconds": 1}\n{"stage": "finished"}\n'), read_journal,
    ),
    "run": ("run.json", lambda path: write_sealed(path, ABOUT), lambda path: read_run(path.parent)),
    "epochs": ("cycle_00/epochs.csv", text(EPOCHS), lambda path: RunPoints(path.parents[1]).read()),
    "printed": ("t.csv", text("row,column,mean,std\nr,c,1.0,0.1\n"), read_printed),
    "missing": (
        "missing.csv", text("table,row,reason\nt,r,why\n"), lambda path: missing_rows(path.parents[1], "x/t"),
    ),
}  # fmt: skip

DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda data: b"",
    "zeros": lambda data: bytes(len(data)),
    "half": lambda data: data[: len(data) // 2],
    "noise": lambda data: bytes((7 * place + 129) % 256 for place in range(len(data))),
    "another's": lambda data: b'["another", {"file": 1}]\n',
    "a number": lambda data: b"7",
}


@pytest.mark.parametrize("name", READERS)
def test_what_is_broken_is_named(tmp_path: Path, name: str) -> None:
    file, write, read = READERS[name]
    path = tmp_path / "x" / file
    write(path)
    whole = path.read_bytes()
    read(path)
    refused = {how: refusal(path, read, damage(whole)) for how, damage in DAMAGES.items()}
    for how, message in refused.items():
        assert message is None or (str(path.parent) in message and "\n" not in message), (how, message)
    assert refused["noise"] and sum(map(bool, refused.values())) >= (1 if name in ("csv", "json", "journal") else 3)
    path.unlink()
    path.mkdir()
    with pytest.raises(DataError, match=str(path.parent)):
        read(path)


def refusal(path: Path, read: Callable[[Path], Any], data: bytes) -> str | None:
    """What a reader says of a file; None where it reads it. No error but DataError passes."""
    path.write_bytes(data)
    try:
        read(path)
    except DataError as error:
        return str(error)
    return None


def test_every_bit_of_a_sealed_file_counts(tmp_path: Path) -> None:
    path = tmp_path / "run.json"
    write_sealed(path, {"seed": 3, "row": "a", "planned": {"seed": ["0", "1"]}})
    whole, value = path.read_bytes(), read_sealed(path)
    assert value == {"seed": 3, "row": "a", "planned": {"seed": ["0", "1"]}}
    for place in range(len(whole)):
        for bit in range(8):
            data = bytearray(whole)
            data[place] ^= 1 << bit
            path.write_bytes(data)
            try:
                # whitespace may be of another kind, and who says that there is no checksum says one key more
                assert read_sealed(path) == value or len(read_sealed(path)) == len(value) + 1, (place, bit)
            except DataError as error:
                assert str(path) in str(error) and "the same command writes it again" in str(error)


def test_a_changed_line_of_the_journal_is_no_stage(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    for cycle in range(3):
        folder.mark_done({"cycle": cycle, "stage": "fit", "seconds": 1.5})
    path = tmp_path / "journal.jsonl"
    lines = path.read_text().splitlines(keepends=True)
    assert folder.journal[1] == {"cycle": 1, "stage": "fit", "seconds": 1.5}
    path.write_text("".join([*lines[:2], lines[2].replace("1.5", "9.5")]))
    assert [entry["cycle"] for entry in folder.journal] == [0, 1]
    path.write_text("".join([lines[0], lines[1].replace("1.5", "9.5"), lines[2]]))
    with pytest.raises(DataError, match=r"line 2 of .*journal.jsonl must be .*; delete it and those behind it"):
        folder.journal  # noqa: B018


@pytest.mark.parametrize(
    "line", ['{"cycle": "0", "stage": "fit", "seconds": 1}', '{"cycle": 0, "stage": "fit", "seconds": []}',
             '{"cycle": 0, "stage": "fit", "seconds": 1, "files": {"a": 1}}', '{"cycle": -1, "stage": "fit"}', "[]"],
)  # fmt: skip
def test_a_line_of_another_form_is_named(tmp_path: Path, line: str) -> None:
    (tmp_path / "journal.jsonl").write_text(line + '\n{"stage": "finished"}\n')
    with pytest.raises(DataError, match="line 1 of"):
        read_journal(tmp_path / "journal.jsonl")
