"""Rows of Table 5.1 that start from what SimSiam learned: `alpl-pretrain`, then `alpl`, with the same words."""

import json
from pathlib import Path
from unittest import mock

import pytest
import torch
from command import alpl
from test_loop import scramble

from alpl.commands.pretrain import pretrain
from alpl.errors import ConfigError
from alpl.machine.files import read_tensors
from alpl.pool import Pool

TRIAL = (
    "+experiment=thesis/table5_1",
    "scale=smoke_digits",
    "seed=0",
    "pretrained=digits",  # as the rows have it; a sweep sets keys before it chooses its rows
    "pretrained.epochs=1",
    "pretrained.batch_size=512",
    "pretrained.check_every=0",
    "trainer.max_epochs=1",
)
ROWS = ("entropy_self_trained", "svm_margin_self_trained")
SVM = (*TRIAL, f"method={ROWS[1]}", "hydra.mode=RUN")


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `alpl-pretrain` leaves for one row, and the runs of all of them."""
    folder = tmp_path_factory.mktemp("self_trained")
    with mock.patch.dict("os.environ"):
        pretrain([*TRIAL, f"method={ROWS[0]}", f"paths.runs={folder}"])
    result = alpl(folder, "-m", *TRIAL, f"method={','.join(ROWS)}", "keep_models=true")
    assert result.status == 0, result.err
    return folder


def run_of(runs: Path, row: str) -> Path:
    (path,) = (runs / "thesis" / "table5_1" / row).glob("digits-*/run.json")
    return path.parent


@pytest.mark.slow
def test_all_rows_start_from_what_was_made_once(runs: Path) -> None:
    (product,) = (runs / ".cache" / "pretrained").glob("[!.]*")
    told = [json.loads((run_of(runs, row) / "pretrained.json").read_text()) for row in ROWS]
    assert told == [told[0]] * 2 and told[0]["product"] == f"pretrained/{product.name}"
    backbone = read_tensors(product / "backbone.pt")
    for row in ROWS:
        model = read_tensors(run_of(runs, row) / "cycle_01" / "model.pt")
        assert all(torch.equal(model[f"network.backbone.{name}"], value) for name, value in backbone.items()), row
    page = (runs / "thesis" / "table5_1" / "report" / "index.html").read_text()
    assert "AL + self-training SVM Min Margin" in page and "0.909" in page


@pytest.mark.slow
def test_a_fit_that_was_killed_before_its_model_was_written_has_the_svms(runs: Path, tmp_path: Path) -> None:
    (tmp_path / ".cache").symlink_to(runs / ".cache")
    alone = (*SVM, "schedule.cycles=0", "checkpoint_every_s=0", "share_first_cycle=false")
    with mock.patch("alpl.cycle.training.write_tensors", side_effect=ConfigError("killed")):
        assert alpl(tmp_path, *alone).status != 0
    killed = run_of(tmp_path, ROWS[1])
    assert list(killed.rglob("fit_*.ckpt")) and not list(killed.rglob("model.pt"))
    assert alpl(tmp_path, *alone).status == 0
    for name in ("cycle_00/model.pt", "cycle_00/metrics.json"):
        assert (killed / name).read_bytes() == (run_of(runs, ROWS[1]) / name).read_bytes(), name


@pytest.mark.slow
def test_no_label_of_an_unlabeled_image_reaches_the_svms(
    runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    true = run_of(runs, ROWS[1])
    scramble(monkeypatch, kept=Pool.load(true / "cycle_01" / "pool.csv").labeled)
    (tmp_path / ".cache").symlink_to(runs / ".cache")
    assert alpl(tmp_path, *SVM).status == 0
    for name in ("cycle_00/query.csv", "cycle_01/model.pt"):
        assert (run_of(tmp_path, ROWS[1]) / name).read_bytes() == (true / name).read_bytes(), name
