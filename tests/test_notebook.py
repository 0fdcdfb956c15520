"""The notebook's cells run in their order, and show what its text says."""

import json
from pathlib import Path
from typing import Any

import pytest

NOTEBOOK = Path(__file__).parent.parent / "experiments" / "quickstart.ipynb"


@pytest.mark.slow
def test_the_cells_run_in_their_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    cells = json.loads(NOTEBOOK.read_text())["cells"]
    assert not any(cell["outputs"] for cell in cells if cell["cell_type"] == "code")  # kept without outputs
    found: dict[str, Any] = {}
    for number, cell in enumerate(cells):
        if cell["cell_type"] == "code":
            exec(compile("".join(cell["source"]), f"{NOTEBOOK.name}[{number}]", "exec"), found)
    printed = capsys.readouterr().out
    assert "Bald needs views [V I C], which is not given" in printed
    assert all(scores[-1] > scores[0] > 0.5 and scores[-1] > 0.8 for scores in found["curves"].values())
    assert not any(tmp_path.iterdir())
