from contextlib import contextmanager

import pytest
from hydra import compose, initialize_config_dir
from hydra.core.hydra_config import HydraConfig
from omegaconf import open_dict

from alpl.commands.planned import changes, planned_sweep, values_of
from alpl.config.compose import CONF, register_experiments


@contextmanager
def at_work(*overrides):
    """Hydra as it is while a job of these overrides runs; gives the job's config."""
    register_experiments()
    with initialize_config_dir(str(CONF), job_name="alpl", version_base="1.3"):
        config = compose("config", overrides=list(overrides), return_hydra_config=True)
        HydraConfig.instance().set_config(config)
        with open_dict(config):
            del config["hydra"]
        try:
            yield config
        finally:
            HydraConfig.instance().cfg = None


TABLE = "experiment=elezi/table1"


def test_the_sweep_is_the_experiments_own():
    with at_work(TABLE, "method=pl", "seed=7"):
        sweep = planned_sweep()
    assert sweep["seed"] == ["0", "1", "2"] and sweep["method"][:2] == ["random", "detection_entropy"]


def test_the_sweep_is_not_what_the_command_line_makes_of_it():
    with at_work(TABLE, "hydra.sweeper.params.seed='range(0,9)'", "+hydra.sweeper.params.model=ssd_tiny") as config:
        sweep = planned_sweep()
        assert (sweep["seed"], "model" in sweep, changes(config)) == (["0", "1", "2"], False, [])


def test_ranges_and_single_values_are_listed():
    listed = values_of({"seed": "range(0,3)", "data": "digits", "method": "a,b"})
    assert listed == {"seed": ["0", "1", "2"], "data": ["digits"], "method": ["a", "b"]}


@pytest.mark.sample(1)
@pytest.mark.parametrize(
    "overrides",
    [
        ["method=ssl", "seed=5"],
        ["method=elezi_as_released"],  # a row that the sweep leaves to the user
        ["paths.runs=/elsewhere", "logger=wandb", "gallery=0", "num_threads=1", "data.source.root=/data"],
    ],
)
def test_rows_seeds_and_places_change_no_setting(overrides):
    with at_work(TABLE, *overrides) as config:
        assert changes(config) == []


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("trainer.max_steps=10", ["trainer.max_steps=10 (120000)"]),
        ("schedule.budget=5", ["schedule.budget=5 (1000)"]),
        ("+trainer.benchmark=true", ["trainer.benchmark=True (absent)"]),
    ],
)
def test_what_the_command_line_changes_is_named(override, expected):
    with at_work(TABLE, "method=random", "seed=1", override) as config:
        assert changes(config) == expected


def test_the_smoke_scale_is_another_setting():
    with at_work(TABLE, "method=random", "scale=smoke") as config:
        found = changes(config)
    assert {name.split(".")[0] for name in found} >= {"data", "model", "schedule", "trainer"}


def test_without_an_experiment_nothing_is_planned():
    with at_work("acquisition=entropy", "trainer.max_epochs=3") as config:
        assert (planned_sweep(), changes(config)) == ({}, [])


def test_outside_hydra_nothing_is_planned():
    assert planned_sweep() == {}
