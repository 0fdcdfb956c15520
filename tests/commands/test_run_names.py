"""Where a run lies: one folder whatever is housekeeping, or that of an earlier version, for which it counted."""

import pytest
from omegaconf import open_dict

from alpl.commands.run_names import names_of, run_path
from alpl.commands.sweep import compose_job
from alpl.errors import ConfigError


def config_of(tmp_path, *overrides):
    config = compose_job(["data=digit_scenes", "model=ssd_tiny", *overrides, f"paths.runs={tmp_path}"])
    with open_dict(config):
        del config["hydra"]
    return config


def test_the_folder_of_an_earlier_version_is_found_and_left_for_a_new_one(tmp_path):
    now = run_path(config_of(tmp_path))
    with_workers = config_of(tmp_path, "data.num_workers=2")
    assert run_path(with_workers) == now
    earlier = _as_before(with_workers)
    earlier.mkdir(parents=True)
    assert run_path(with_workers) == earlier != now
    assert run_path(config_of(tmp_path)) == now, "one of the usual number of workers was called so before, too"
    now.mkdir()
    assert run_path(with_workers) == now


def _as_before(config):
    from alpl.config.compose import content_of
    from alpl.runs.run_folder import content_key

    usual = run_path(config)
    return usual.with_name(f"{usual.name.rpartition('-')[0]}-{content_key(content_of(config, as_before=True))}")


def test_data_are_called_by_their_name(tmp_path):
    names = names_of(config_of(tmp_path, "data.name=cats"), {"data": "digit_scenes", "acquisition": "random"})
    assert names == {"table": "cats", "row": "random", "data": "cats"}
    for wrong in ("a/b", ".a", "..", "a\\b"):
        config = config_of(tmp_path)
        config.data.name = wrong
        with pytest.raises(ConfigError, match=r"data\.name must be a name, as run folders are called by it, got"):
            names_of(config, {})
