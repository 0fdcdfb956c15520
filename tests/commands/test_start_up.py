"""What needs no training starts without what training needs."""

import subprocess
import sys
from pathlib import Path

import pytest

TRAINING = ("torch", "lightning", "torchmetrics", "torchvision", "sklearn", "scipy", "matplotlib", "wandb")

IMPORTED = f"""
import importlib, sys
sys.argv[0] = "alpl"
try:
    importlib.import_module(sys.argv.pop(1)).cli()
except SystemExit:
    pass
print("imported:", *[name for name in {TRAINING} if name in sys.modules])
"""


def imported(*arguments: str) -> tuple[str, str]:
    """What a command says, and which of the libraries it has imported by its end."""
    command = [sys.executable, "-c", IMPORTED, *arguments]
    result = subprocess.run(command, capture_output=True, text=True, check=True, cwd=Path(__file__).parents[2])
    said, _, names = result.stdout.rpartition("imported:")
    return said + result.stderr, names.strip()


def test_help_names_the_choices_of_all_groups() -> None:
    said, names = imported("alpl.commands.main", "--help")
    assert not names
    assert "\nacquisition: almdn_box_aleatoric, " in said and "\nslurm: a100, cpu, gpu\n" in said
    assert (
        "\nexperiment: noris_batch_size, noris_scenes, quickstart, " in said
        and "\nexperiment/thesis: figure3_8, " in said
    )


@pytest.mark.sample(3)
@pytest.mark.parametrize(
    "arguments, told",
    [
        (["alpl.commands.main", "--cfg", "job"], "_target_: alpl.acquisition.RandomSampling"),
        (["alpl.commands.main", "--cfg", "job", "+experiment=elezi/table1"], "table: elezi/table1"),
        (["alpl.commands.main", "acquisition=zzz"], "Available options in 'acquisition'"),
        (["alpl.commands.jobs", "+experiment=quickstart"], "experiment=quickstart"),
        (["alpl.commands.status", "paths.runs=/nowhere"], "paths.runs must hold run folders"),
        (["alpl.commands.matrix", "--help"], "every acquisition against every model"),
        (["alpl.commands.query", "--help"], "usage: alpl-query"),
        (["alpl.commands.report", "--help"], "usage: alpl-report"),
        (["alpl.commands.tables", "--help"], "usage: alpl-tables"),
    ],
)
def test_what_trains_nothing_imports_nothing_that_trains(arguments: list[str], told: str) -> None:
    said, names = imported(*arguments)
    assert told in said
    assert not names
