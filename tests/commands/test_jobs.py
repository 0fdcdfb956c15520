"""The jobs of a sweep by number: the same that the sweep runs."""

import sys
from pathlib import Path
from unittest import mock

import pytest
from command import TINY, Result, alpl

from alpl.commands import jobs
from alpl.commands.run_names import run_path_of
from alpl.commands.sweep import compose_job, jobs_of
from alpl.errors import ConfigError
from alpl.runs.run_folder import RunFolder


def alpl_jobs(capsys: pytest.CaptureFixture[str], *arguments: str) -> Result:
    status = 0
    with mock.patch.object(sys, "argv", ["alpl-jobs", *arguments]), mock.patch.dict("os.environ"):
        try:
            jobs.cli(arguments)
        except SystemExit as end:
            status = int(end.code or 0)
    said = capsys.readouterr()
    return Result(status, said.out, said.err, Path())


def test_jobs_in_the_order_of_the_sweep() -> None:
    """A hand-written table: the parameters of the file first, changed by the command line, the last one fastest."""
    found = jobs_of(["+experiment=thesis/table3_1", "method=random,margin", "data=cifar10"])
    expected = [
        [f"method={method}", "data=cifar10", f"seed={seed}", "experiment=thesis/table3_1", "hydra.mode=RUN"]
        for method in ("random", "margin")
        for seed in (0, 1, 2)
    ]
    assert found == expected


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        (["seed=3"], [["seed=3", "hydra.mode=RUN"]]),
        (["-m", "seed=range(0,2)"], [["seed=0", "hydra.mode=RUN"], ["seed=1", "hydra.mode=RUN"]]),
        (["hydra.mode=MULTIRUN", "seed=4,5"], [["seed=4", "hydra.mode=RUN"], ["seed=5", "hydra.mode=RUN"]]),
        (
            ["-m", "hydra.searchpath=[/tmp]", "seed=1"],
            [["hydra.searchpath=[/tmp]", "seed=1", "hydra.mode=RUN"]],
        ),
    ],
)
def test_other_command_lines(overrides: list[str], expected: list[list[str]]) -> None:
    assert jobs_of(overrides) == expected


def test_several_values_without_a_sweep_are_no_job(capsys: pytest.CaptureFixture[str]) -> None:
    said = alpl_jobs(capsys, "seed=0,1")
    assert (said.status, said.out) == (2, "")
    assert said.err == "alpl-jobs: error: seed must have one value outside a sweep, got 0,1; -m makes a sweep\n"
    assert alpl_jobs(capsys, "-m", "seed=0,1").out.count("\n") == 2


def test_another_sweeper_has_no_list(tmp_path: Path) -> None:
    (tmp_path / "hydra" / "sweeper").mkdir(parents=True)
    (tmp_path / "hydra" / "sweeper" / "mine.yaml").write_text("_target_: mine.Sweeper\n")
    with pytest.raises(ConfigError, match=r"hydra.sweeper must be Hydra's basic sweeper, as mine.Sweeper decides"):
        jobs_of(["-m", f"hydra.searchpath=[file://{tmp_path}]", "hydra/sweeper=mine"])


@pytest.mark.slow
def test_paths_are_those_of_the_runs(tmp_path: Path) -> None:
    sweep = ["-m", *TINY, "acquisition=random,margin", "seed=0,1"]
    result = alpl(tmp_path, *sweep)
    listed = [run_path_of(job) for job in jobs_of([*sweep, f"paths.runs={tmp_path}"])]
    assert sorted(listed) == result.run_folders()
    assert [path.parent.name for path in listed] == ["random", "random", "margin", "margin"]


@pytest.mark.slow
def test_a_cluster_is_no_part_of_the_run() -> None:
    """So that the sweep's command finishes anywhere what a cluster began."""
    paths = {run_path_of(["seed=1", *more]) for more in ([], ["slurm=cpu"], ["slurm=gpu"], ["slurm=a100"])}
    assert len(paths) == 1


@pytest.mark.parametrize(("slurm", "gpus"), [("cpu", None), ("gpu", 1), ("a100", 1)])
def test_clusters_compose(slurm: str, gpus: int | None) -> None:
    launcher = compose_job([f"slurm={slurm}", "hydra.launcher.partition=mine"]).hydra.launcher
    assert launcher._target_.endswith(".SlurmLauncher") and launcher.partition == "mine"
    assert launcher.gpus_per_node == gpus and launcher.max_num_timeout > 10 and launcher.additional_parameters.requeue
    assert launcher.signal_delay_s > compose_job([]).grace_s


@pytest.mark.slow
def test_the_command_lists_runs_and_says_what_is_left(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sweep = ["-m", *TINY, "acquisition=random", "seed=0,1,2,3", f"paths.runs={tmp_path}"]
    listed = alpl_jobs(capsys, *sweep).out.splitlines()
    assert [line.split()[0] for line in listed] == ["0", "1", "2", "3"] and "seed=2" in listed[2]
    assert alpl_jobs(capsys, "--range", *sweep).out == "0-3\n"
    done = alpl_jobs(capsys, "--run", "1", *sweep)
    (folder,) = [path.parent for path in tmp_path.rglob("run.json")]
    assert done.status == 0 and folder.name.startswith("digits-seed1-") and RunFolder(folder).is_finished
    assert alpl_jobs(capsys, "--range", *sweep).out == "0,2-3\n"
    alpl(tmp_path, *sweep[:-1])
    left = alpl_jobs(capsys, "--range", *sweep)
    assert left.status == 1 and left.out == "" and "all runs are done or at work" in left.err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--run", "2", "-m", "seed=0,1"], "--run must be the number of one of 2 jobs, from 0, got 2"),
        (["--run", "-1", "seed=0"], "--run must be the number of one of 1 jobs, from 0, got -1"),
        (["+experiment=none"], "Could not find 'experiment/none'"),
    ],
)
def test_refused_in_one_line(arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    result = alpl_jobs(capsys, *arguments)
    assert result.status == 2 and message in result.err and result.err.count("\n") == 1


@pytest.mark.parametrize(
    ("numbers", "text"),
    [([], ""), ([0], "0"), ([0, 1, 2], "0-2"), ([1, 3, 4, 9], "1,3-4,9")],
)
def test_as_range(numbers: list[int], text: str) -> None:
    assert jobs.as_range(numbers) == text
