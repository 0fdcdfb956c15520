"""A run's key: the same for what cannot change its results, another for what can."""

import pytest
from hydra import compose, initialize_config_dir

from alpl.config.compose import CONF, content_of
from alpl.config.composing import composing
from alpl.runs.run_folder import content_key


def key(*overrides: str, any_seed: bool = False) -> str:
    with composing():
        return content_key(content_of(compose("config", list(overrides)), any_seed=any_seed))


@pytest.mark.sample(4)
@pytest.mark.parametrize(
    "override",
    ["paths.runs=/elsewhere", "paths.data=/elsewhere", "data.root=/elsewhere", "data.download=true", "logger=wandb",
     "table=mine", "row=mine", "checkpoint_every_s=1", "keep_models=false", "keep_predictions=true",
     "share_first_cycle=false", "paths.cache=/elsewhere"],
)  # fmt: skip
def test_places_and_names_do_not_change_the_key(override: str) -> None:
    assert key("data=cifar10") == key("data=cifar10", override)


SCENES = ("data=voc07", "model=ssd_tiny", "schedule=all_data", "trainer=digit_scenes")


@pytest.mark.parametrize(
    "override",
    ["data.num_workers=8", "data.source.cache_bytes=1", "data.source.verify_images=true", "data.fingerprint=content"],
)
def test_how_data_are_read_does_not_change_the_key(override: str) -> None:
    assert key(*SCENES) == key(*SCENES, override)


def test_a_name_of_ones_own_for_the_data_changes_the_key() -> None:
    assert key(*SCENES) != key(*SCENES, "data.name=mine")


@pytest.mark.sample(4)
@pytest.mark.parametrize(
    "override",
    ["seed=1", "acquisition=entropy", "model.optimizer.lr=0.1", "data.batch_size=8", "schedule.budget=5",
     "num_members=2", "trainer.max_epochs=3", "data.labeled_fraction=0.5", "warm_start=true",
     "trainer.precision=bf16-mixed"],
)  # fmt: skip
def test_what_changes_results_changes_the_key(override: str) -> None:
    assert key("data=cifar10") != key("data=cifar10", override)


def test_the_seeds_of_a_cell_share_their_variant() -> None:
    assert key("seed=0", any_seed=True) == key("seed=1", any_seed=True)
    assert key("seed=0", any_seed=True) != key("seed=0", "acquisition=margin", any_seed=True)
    # a seed of its own for the initial set is another protocol
    assert key("schedule.initial.seed=0", any_seed=True) != key(any_seed=True)


@pytest.mark.slow
def test_files_are_read_once_and_stay_as_they_are():
    texts = [["acquisition=entropy"], ["data=digit_scenes", "model=ssd_tiny", "seed=3"], ["acquisition=entropy"]]
    with composing():
        together = [compose("config", each) for each in texts]
        together[0].model.network = "changed"  # what was given away is not what is kept
        again = compose("config", texts[0])
    with initialize_config_dir(str(CONF), version_base="1.3"):
        alone = [compose("config", each) for each in texts]
    assert together[1:] == alone[1:] and again == alone[0]
