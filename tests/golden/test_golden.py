"""Every golden run picks what it picked when it was recorded."""

import json
from pathlib import Path

import pytest
from command import alpl
from runs import FOLDER, RUNS, environment, overrides_of, record_of, structure_of


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("golden")


@pytest.mark.parametrize("name", RUNS)
def test_golden(name: str, runs: Path) -> None:
    if name == "replay" and not (runs / "golden" / "entropy").exists():  # it follows that run
        assert alpl(runs, *overrides_of("entropy")).status == 0
    result = alpl(runs, *overrides_of(name))
    assert result.status == 0, result.err
    (folder,) = (runs / "golden" / name).iterdir()
    ours, recorded = record_of(folder), json.loads((FOLDER / f"{name}.json").read_text())
    assert structure_of(ours) == structure_of(recorded)
    there = json.loads((FOLDER / "environment.json").read_text())
    different = [f"{key} is {here!r}, was {there[key]!r}" for key, here in environment().items() if there[key] != here]
    if different:
        pytest.skip(f"the last bits may differ: {'; '.join(different)}")
    assert ours == recorded
