"""Every experiment composes for every run of its sweep, and runs at tiny scale; printed numbers are in place."""

import csv
from pathlib import Path

import hydra
import pytest
from command import alpl
from hydra import compose, initialize_config_dir
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import ConfigCompositionException
from omegaconf import OmegaConf

from alpl.config import CONF, EXPERIMENTS, check_config, register_experiments
from alpl.errors import ConfigError

TABLES = sorted(str(path.relative_to(EXPERIMENTS).with_suffix("")) for path in EXPERIMENTS.rglob("*.yaml"))
SMOKE = ["data=digits", "model=digits_cnn", "trainer=digits", "trainer.max_epochs=1", "seed=0"]
PARTS = ("recipe", "layout", "preprocess")  # what models are made of: tested with them


def jobs(experiment: str) -> list[list[str]]:
    params = OmegaConf.load(EXPERIMENTS / f"{experiment}.yaml").hydra.sweeper.params
    texts = [f"{name}={value}" for name, value in params.items()]
    return BasicSweeper.split_arguments(OverridesParser.create().parse_overrides(texts), None)[0]


def test_there_are_experiments() -> None:
    assert {"quickstart", "thesis/table3_1"} <= set(TABLES)


@pytest.mark.parametrize("experiment", TABLES)
def test_every_run_of_every_sweep_composes(experiment: str) -> None:
    register_experiments()
    with initialize_config_dir(str(CONF), version_base="1.3"):
        for job in jobs(experiment):
            config = compose("config", [f"experiment={experiment}", *job])
            check_config(config)
            rows = config.report.rows if config.report else {}
            if config.report:
                assert dict(text.split("=") for text in job)["method"] in rows


def is_detection(experiment: str) -> bool:
    register_experiments()
    with initialize_config_dir(str(CONF), version_base="1.3"):
        config = compose("config", [f"experiment={experiment}"])
    return config.data._target_ == "alpl.data.scenes.SceneDataModule"


@pytest.mark.parametrize("experiment", [name for name in TABLES if not name.startswith("elezi/")])  # test_elezi.py
def test_every_experiment_runs_at_tiny_scale(tmp_path: Path, experiment: str) -> None:
    smoke = ["scale=smoke", "seed=0"] if is_detection(experiment) else SMOKE
    result = alpl(tmp_path, f"+experiment={experiment}", *smoke)
    assert result.status == 0, result.err
    rows = {job[0] for job in jobs(experiment)}
    assert {folder.parent.name for folder in result.run_folders()} == {row.split("=")[1] for row in rows}
    assert (tmp_path / experiment / "report" / "index.html").exists()


def test_thesis_table3_1_names_every_printed_row(tmp_path: Path) -> None:
    spec = OmegaConf.load(EXPERIMENTS / "thesis" / "table3_1.yaml").report
    with (EXPERIMENTS / spec.paper).open() as stream:
        printed = list(csv.DictReader(stream))
    assert {row["row"] for row in printed} == set(spec.rows.values()) | set(spec.missing)
    assert set(spec.columns.values()) <= {row["column"] for row in printed}
    numbers = {(row["row"], row["column"]): row["mean"] for row in printed}
    assert numbers["Dispersion", "CIFAR10 acc"] == "90.74" and numbers["All data", "CIFAR100 acc"] == "74.61"
    result = alpl(tmp_path, "+experiment=thesis/table3_1", *SMOKE, "method=dispersion")
    page = (tmp_path / "thesis" / "table3_1" / "report" / "index.html").read_text()
    assert result.status == 0
    for name, reason in spec.missing.items():
        assert name in page and reason in page


def leaves() -> list[str]:
    return sorted(
        str(path.relative_to(CONF).with_suffix(""))
        for path in CONF.rglob("*.yaml")
        if path.parent != CONF and path.parent.name not in PARTS
    )


@pytest.mark.parametrize("leaf", leaves())
def test_every_leaf_composes_and_names_what_exists(leaf: str) -> None:
    register_experiments()
    group, _, name = leaf.partition("/")
    # a leaf is of classification, of detection, or of both
    tasks = [[]] if group == "data" else [["data=digits"], ["data=digit_scenes"]]
    faults = []
    for task in tasks:
        faults.append(fault_of([*task, f"{group}={name}"]))
        if faults[-1] is None:
            return
    pytest.fail(f"{leaf} fits no task: {faults}")


def fault_of(overrides: list[str]) -> str | None:
    try:
        with initialize_config_dir(str(CONF), version_base="1.3"):
            config = compose("config", overrides)
    except ConfigCompositionException as error:
        return str(error)
    if OmegaConf.missing_keys(config):
        with pytest.raises(ConfigError, match="must be given, the config leaves it open"):
            check_config(config)
        for key in OmegaConf.missing_keys(config):
            OmegaConf.update(config, key, "given")
    try:
        check_config(config)
    except ConfigError as error:
        return str(error)
    return None


def test_the_data_sets_choose_their_usual_partners() -> None:
    with initialize_config_dir(str(CONF), version_base="1.3"):
        config = compose("config", ["data=cifar100_long_tailed"])
        model = hydra.utils.instantiate(config.model, num_classes=100, in_channels=3)
    assert config.trainer.max_epochs == 100 and config.schedule.budget == 2500
    assert sum(p.numel() for p in model.network.parameters()) == 11_220_132  # ResNet-18, CIFAR stem, 100 classes
