"""A backbone is pre-trained once, without labels, and every run that names the recipe starts from it."""

import csv
import json
import os
import shutil
import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from unittest import mock

import psutil
import pytest
import torch
from command import TINY, alpl

from alpl.commands import pretrain
from alpl.data.digits import Digits
from alpl.data.sets import ImageSet, Splits
from alpl.errors import ConfigError
from alpl.machine.files import read_tensors, write_sealed
from alpl.modules.classifier import Classifier
from alpl.networks.classification import ClassificationNetwork
from alpl.networks.small_cnn import SmallCnn
from alpl.sharing.pretrained import KIND, USED, WEIGHTS

ROOT = Path(__file__).parents[2]
RECIPE = (
    "data=digits",
    "model=digits_frozen",
    "pretrained=digits",
    "pretrained.epochs=2",
    "pretrained.batch_size=512",
    "pretrained.check_every=2",
    "num_threads=1",
)


def made(runs: Path, *overrides: str) -> Path:
    with mock.patch.dict("os.environ"):
        return pretrain.pretrain([*RECIPE, *overrides, f"paths.runs={runs}"])


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pretrained")
    result = alpl(folder, *RECIPE, *TINY)
    assert result.status == 2 and "it is not there; alpl-pretrain with the arguments" in result.err
    made(folder, "data.pool_transform=training")  # as BALD's released code shows its pool: nothing to pre-training
    return folder


def products(runs: Path) -> list[Path]:
    return sorted((runs / ".cache" / KIND).glob("[!.]*"))


def test_what_is_left(runs: Path) -> None:
    (product,) = products(runs)
    assert sorted(path.name for path in product.iterdir()) == [WEIGHTS, "epochs.csv", "product.json"]
    rows = list(csv.DictReader((product / "epochs.csv").open()))
    assert [row["epoch"] for row in rows] == ["0", "1"]
    assert float(rows[1]["train/loss"]) < float(rows[0]["train/loss"]) < 0
    assert 0.2 < float(rows[1]["train/spread"]) <= 1.01
    assert rows[0]["neighbors/accuracy"] == "" and 0.2 < float(rows[1]["neighbors/accuracy"]) <= 1


def test_runs_start_from_it_and_keep_it(runs: Path) -> None:
    (product,) = products(runs)
    result = alpl(runs, *RECIPE, *TINY, "acquisition=kcenter")
    assert result.status == 0, result.err
    run = result.run_folder()
    weights = read_tensors(product / WEIGHTS)
    for cycle in ("cycle_00", "cycle_01"):
        model = read_tensors(run / cycle / "model.pt")
        inside = {
            name.removeprefix("network.backbone."): value for name, value in model.items() if ".backbone." in name
        }
        assert inside.keys() == weights.keys()
        assert all(torch.equal(inside[name], value) for name, value in weights.items())
    heads = [read_tensors(run / cycle / "model.pt")["network.head.weight"] for cycle in ("cycle_00", "cycle_01")]
    assert not torch.equal(*heads)
    about = json.loads((product / "product.json").read_text())
    told = json.loads((run / "pretrained.json").read_text())
    assert told["product"] == f"{KIND}/{product.name}" and told["weights"] == about["files"][WEIGHTS]["sha256"]
    assert json.loads((run / "run.json").read_text())["config"]["pretrained"]["epochs"] == 2


@pytest.mark.slow
@pytest.mark.parametrize(
    "change", ["pretrained.seed=1", "pretrained.module.warmup_epochs=1", "data.normalize.std=[0.5]"]
)
def test_another_recipe_is_another_product(runs: Path, change: str) -> None:
    result = alpl(runs, *RECIPE, *TINY, change)
    assert result.status == 2 and "it is not there" in result.err and products(runs)[0].name not in result.err


def test_one_is_made_for_all_seeds(runs: Path) -> None:
    before = products(runs)
    with mock.patch("alpl.sharing.pretraining.PretrainingFit.fit", side_effect=AssertionError("it is there")):
        assert [made(runs, "seed=3", "data.validation=5%", "acquisition=margin")] == before


@pytest.mark.slow
def test_broken_weights_are_refused(runs: Path, tmp_path: Path) -> None:
    shutil.copytree(runs / ".cache", tmp_path / ".cache")
    (weights,) = tmp_path.glob(f".cache/{KIND}/*/{WEIGHTS}")
    weights.write_bytes(weights.read_bytes()[:-1])
    result = alpl(tmp_path, *RECIPE, *TINY)
    assert result.status == 2 and f"{WEIGHTS} is not what it was when it was made" in result.err


@pytest.mark.slow
def test_a_run_goes_on_with_the_weights_that_it_began_with(runs: Path, tmp_path: Path) -> None:
    shutil.copytree(runs / ".cache", tmp_path / ".cache")
    result = alpl(tmp_path, *RECIPE, "trainer.max_epochs=1", "schedule.cycles=0", "share_first_cycle=false")
    run = result.run_folder()
    lines = (run / "journal.jsonl").read_text().splitlines(keepends=True)
    (run / "journal.jsonl").write_text("".join(lines[:1]))  # killed behind its fit
    (product,) = (tmp_path / ".cache" / KIND).glob("[!.]*")
    write_sealed(run / USED, {"product": f"{KIND}/{product.name}", "weights": "0" * 64})
    again = alpl(tmp_path, *RECIPE, "trainer.max_epochs=1", "schedule.cycles=0", "share_first_cycle=false")
    assert again.status == 2 and "pretrained must stay what the run began with" in again.err


@pytest.mark.sample(2)
@pytest.mark.parametrize(
    ("overrides", "told"),
    [(("pretrained=null",), "pretrained must be a choice of its group"),
     (("acquisition=entropy,random",), "acquisition must have one value outside a sweep, got entropy,random; the rows"),
     (("data=digit_scenes", "model=ssd_tiny"), "data must be images of classes for alpl-pretrain"),
     (("pretrained.batch_size=1",), "pretrained.batch_size must be an int >= 2, got 1")],
)  # fmt: skip
def test_the_command_refuses(tmp_path: Path, overrides: tuple[str, ...], told: str, capsys) -> None:
    with pytest.raises(SystemExit) as end, mock.patch.dict("os.environ"):
        pretrain.cli([*RECIPE[:3], *overrides, f"paths.runs={tmp_path}"])
    assert end.value.code == 2 and told in capsys.readouterr().err


@pytest.mark.slow
def test_refuses_what_cannot_start_from_it(runs: Path) -> None:
    result = alpl(runs, *RECIPE[:2], *TINY)
    assert result.status == 2 and "model.frozen must be false where neither" in result.err
    scenes = alpl(runs, "data=digit_scenes", "model=ssd_tiny", "pretrained=digits", "pretrained.module.backbone=1")
    assert scenes.status == 2 and "pretrained" in scenes.err


@pytest.mark.slow
def test_no_label_reaches_it(runs: Path, tmp_path: Path) -> None:
    load = Digits.load

    def scrambled(self: Digits) -> Splits:
        splits = load(self)
        mixed = splits.train.targets[torch.randperm(len(splits.train), generator=torch.Generator().manual_seed(9))]
        return splits.__class__(ImageSet(splits.train.images, mixed), splits.test, splits.classes)

    with mock.patch.object(Digits, "load", scrambled):
        product = made(tmp_path)
    (whole,) = products(runs)
    assert product.name == whole.name  # labels are no part of what it depends on
    assert (product / WEIGHTS).read_bytes() == (whole / WEIGHTS).read_bytes()
    checks = [list(csv.DictReader((each / "epochs.csv").open()))[1]["neighbors/accuracy"] for each in (product, whole)]
    assert checks[0] != checks[1]


def command(runs: Path, *overrides: str) -> subprocess.Popen[str]:
    path = os.pathsep.join([str(ROOT), str(ROOT / "tests"), os.environ.get("PYTHONPATH", "")])
    line = [sys.executable, "-m", "alpl.commands.pretrain", *RECIPE, *overrides, f"paths.runs={runs}"]
    environment = {**os.environ, "PYTHONPATH": path}
    return subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment)


@pytest.mark.slow
def test_killed_it_goes_on(tmp_path: Path) -> None:
    longer = ("pretrained.epochs=6", "checkpoint_every_s=0")
    whole = made(tmp_path / "whole", *longer)
    killed = command(tmp_path / "killed", *longer)
    partial = tmp_path / "killed" / ".cache" / KIND / f".{whole.name}.partial"
    while not (partial / "fit.ckpt").exists() and killed.poll() is None:
        time.sleep(0.02)
    killed.kill()
    killed.wait()
    assert (partial / "fit.ckpt").exists() and not partial.with_name(whole.name).exists()
    rows = len((partial / "epochs.csv").read_text().splitlines()) - 1
    again = made(tmp_path / "killed", *longer)
    assert rows < 6 and again.name == whole.name
    for name in (WEIGHTS, "epochs.csv"):
        assert (again / name).read_bytes() == (whole / name).read_bytes(), name


@pytest.mark.slow
def test_two_processes_leave_one(runs: Path, tmp_path: Path) -> None:
    """They see half a batch each, so the weights are others; where they are is the same."""
    started = command(tmp_path, "trainer.accelerator=cpu", "trainer.devices=2", "trainer.strategy=ddp")
    try:
        out, _ = started.communicate(timeout=600)
    finally:
        for left in [*psutil.Process(started.pid).children(recursive=True), started] if started.poll() is None else []:
            left.kill()
    assert started.returncode == 0, out
    (product,), (alone,) = products(tmp_path), products(runs)
    assert product.name == alone.name and (product / WEIGHTS).read_bytes() != (alone / WEIGHTS).read_bytes()
    assert out.splitlines()[-1] == str(product) and out.count(str(product)) == 1  # told once
    rows = list(csv.DictReader((product / "epochs.csv").open()))
    assert float(rows[1]["train/loss"]) < 0 and float(rows[1]["neighbors/accuracy"]) > 0.2


def test_a_backbone_of_another_shape_is_refused() -> None:
    network = partial(ClassificationNetwork, backbone=partial(SmallCnn, widths=[4, 6]))
    module = Classifier(network, 10, 1, frozen=True, optimizer=torch.optim.SGD)
    other = SmallCnn(in_channels=1, widths=[4, 8]).state_dict()
    with pytest.raises(ConfigError, match=r"pretrained must fit model\.network\.backbone, differs in"):
        module.load_backbone(other)
    module.train()
    assert not module.network.backbone.training and module.network.head.training
    assert all(p.requires_grad == name.startswith("network.head.") for name, p in module.named_parameters())
