"""The golden runs choose and find what was written down: to the last bit on the machine that wrote it."""

from pathlib import Path
from typing import Any

import pytest
from golden.record import HERE, RUNS, differences, observed, recorded, run

Cycles = list[dict[str, Any]]


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One folder for all, so that a replay finds the run that it follows."""
    return tmp_path_factory.mktemp("runs")


SLOW = {
    "ssd_elezi",
    "ssd_mixture",
    "retinanet_entropy_then_ccms",
    "fcos_entropy",
    "ssd_predicted_loss",
    "faster_rcnn_mixture",
    "retinanet_noris_objects",
    "entropy_balanced",
    "core_set",
}


@pytest.mark.sample(2)
@pytest.mark.parametrize("name", [pytest.param(n, marks=[pytest.mark.slow] if n in SLOW else []) for n in RUNS])
def test_a_golden_run_is_as_it_was(runs: Path, name: str) -> None:
    found, expected = observed(run(name, runs)), recorded(name)
    assert structure(found) == structure(expected)
    for one, other in zip(found, expected, strict=True):
        assert set(one["metrics"]) >= set(other["metrics"])
    if others := differences():
        pytest.skip(f"sums may differ in their last bits: recorded with another {', '.join(others)}")
    for cycle, (one, other) in enumerate(zip(found, expected, strict=True)):
        one["metrics"] = _of_then(one["metrics"], other["metrics"])
        for thing in other:  # in the order of the loop: the first that differs is where to look
            assert one[thing] == other[thing], f"{name}, cycle {cycle}: {thing}"


def test_every_record_is_of_a_run() -> None:
    files = {path.stem for path in HERE.glob("*.json")} - {"environment"}
    assert files == set(RUNS)


def _of_then(metrics: dict[str, Any], recorded: dict[str, Any]) -> dict[str, Any]:
    """Those metrics that there were when the runs were recorded: more may be measured since."""
    return {name: value for name, value in metrics.items() if name in recorded}


def structure(cycles: Cycles) -> list[Any]:
    """What does not depend on floating point: the initial pool, the number of cycles, names and sizes."""
    return [
        {
            "things": list(cycle),
            "sizes": cycle["pool"]["sizes"],
            "since": {since: len(index) for since, index in cycle["pool"]["since"].items()},
            "initial": [index for since, index in cycle["pool"]["since"].items() if int(since) <= 0],
            "num_epochs": len(cycle["epochs"]),
            "num_queried": len({index for index, _ in cycle.get("query", [])}),
        }
        for cycle in cycles
    ]
