"""Where a run lies: one folder whatever is housekeeping; many are composed once where they share groups."""

from collections.abc import Sequence

import pytest
from omegaconf import open_dict

from alpl.commands import run_names
from alpl.commands.run_names import names_of, run_of, run_path, runs_of
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


def test_where_own_folders_lie_is_no_part_of_a_run(tmp_path):
    def config_at(root, *overrides):
        own = ["data=coco_folder", "model=ssd_tiny", f"data.source.root={root}", *overrides, f"paths.runs={tmp_path}"]
        config = compose_job(own)
        with open_dict(config):
            del config["hydra"]
        return config

    here, there = config_at("/data/here"), config_at("/data/there")
    now = run_path(here)
    assert run_path(there) == now != run_path(config_at("/data/here", "data.source.name=mine"))
    earlier = _as_before(here, "places")
    assert earlier == run_path(config_at("/data/there", "data.source.name=/data/here")), "so it was called"
    earlier.mkdir(parents=True)
    assert run_path(here) == earlier and run_path(there) == now
    now.mkdir()
    assert run_path(here) == now


def test_what_was_trained_in_float32_is_found(tmp_path):
    """``auto`` computes as before on a CPU; on a GPU, a run that is finished counts, and one that is not is refused."""

    def config_at(*overrides):
        config = compose_job(["data=cifar10", *overrides, f"paths.runs={tmp_path}"])
        with open_dict(config):
            del config["hydra"]
        return config

    automatic = config_at()
    assert automatic.trainer.precision == "auto"
    now, earlier = run_path(automatic), run_path(config_at("trainer.precision=32-true"))
    assert now != earlier
    earlier.mkdir(parents=True)
    assert run_path(automatic) == earlier
    assert run_path(config_at("trainer.precision=bf16-mixed")) not in (now, earlier)


def test_a_run_goes_on_in_the_precision_that_it_began_in(tmp_path, monkeypatch):
    from alpl.commands import one_run
    from alpl.machine.files import write_sealed
    from alpl.runs.run_folder import RunFolder

    monkeypatch.setattr(one_run, "settled_precision", lambda precision, accelerator: "bf16-mixed")
    config = compose_job(["data=cifar10"])
    folder = RunFolder(tmp_path)
    one_run._check_precision(folder, config)
    folder.mark_done({"cycle": 0, "stage": "fit", "seconds": 1.0})
    for told in ({"precision": "32-true"}, {"config": {"trainer": {"precision": "32-true"}}}):
        write_sealed(tmp_path / "run.json", told)
        with pytest.raises(ConfigError, match=r"begun in 32-true.*in bf16-mixed: trainer\.precision=32-true goes on"):
            one_run._check_precision(folder, config)
    for told in ({"precision": "bf16-mixed"}, {"config": {"trainer": {"precision": "auto"}}}, {}):
        write_sealed(tmp_path / "run.json", told)
        one_run._check_precision(folder, config)


def _as_before(config, before="workers"):
    from alpl.config.compose import content_of
    from alpl.runs.run_folder import content_key

    usual = run_path(config)
    return usual.with_name(f"{usual.name.rpartition('-')[0]}-{content_key(content_of(config, before=before))}")


def test_data_are_called_by_their_name(tmp_path):
    names = names_of(config_of(tmp_path, "data.name=cats"), {"data": "digit_scenes", "acquisition": "random"})
    assert names == {"table": "cats", "row": "random", "data": "cats"}
    for wrong in ("a/b", ".a", "..", "a\\b"):
        config = config_of(tmp_path)
        config.data.name = wrong
        with pytest.raises(ConfigError, match=r"data\.name must be a name, as run folders are called by it, got"):
            names_of(config, {})


JOBS: tuple[list[str], ...] = (
    ["acquisition=random", "seed=0"],
    ["acquisition=random", "seed=1", "model.optimizer.lr=0.1"],
    ["acquisition=random", "seed=1", "num_threads=0"],
    ["acquisition=random", "seed=x"],
    ["acquisition=random", "seed=1", "schedule.budgt=3"],
    ["acquisition=random", "seed=1", "model.optimizer=???"],
    ["acquisition=random", "seed=1", "acquisition._target_=alpl.acquisition.Entropy"],
    ["acquisition=random", "seed=1", "acquisition._target_=nothing.there"],
    ["acquisition=random", "seed=1", "row=mine", "table=of/mine", "paths.runs=elsewhere"],
    ["acquisition=random", "seed=1", "+acquisition.unknown=2"],
    ["acquisition=none", "seed=1"],
)


def answer(job: Sequence[str]) -> str:
    try:
        return str(run_of(job)[0])
    except Exception as error:
        return f"{type(error).__name__}: {error}"


@pytest.mark.slow
def test_many_jobs_lie_where_each_does_alone() -> None:
    jobs = [*JOBS, *JOBS[:3]]
    found = list(runs_of(jobs))
    told = [f"{type(one).__name__}: {one}" if isinstance(one, Exception) else str(one[0]) for one in found]
    assert told == [answer(job) for job in jobs]
    assert sum(isinstance(one, tuple) for one in found) == 6  # the refused ones are really refused


def test_jobs_that_differ_in_values_are_composed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    composed = []
    compose = run_names.compose_job
    monkeypatch.setattr(run_names, "compose_job", lambda overrides: composed.append(overrides) or compose(overrides))
    jobs = [
        ["hydra.mode=RUN", "acquisition=random", f"seed={seed}", f"schedule.budget={seed + 1}"] for seed in range(5)
    ]
    assert len({folder for folder, _ in runs_of(jobs)}) == 5
    assert composed == [("hydra.mode=RUN", "acquisition=random")]
