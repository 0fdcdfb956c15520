"""The golden runs: small experiments whose picks must not change when the code does. See README.md."""

import csv
import hashlib
import json
import platform
import re
from pathlib import Path
from typing import Any

import torch
import torchvision

FOLDER = Path(__file__).parent

_IMAGES = (
    "data=digits",
    "schedule.initial.size=40",
    "schedule.budget=20",
    "schedule.cycles=2",
    "trainer.max_epochs=3",
)
_LONG_TAILED = ("data=digits_long_tailed", "schedule.budget=20", "schedule.cycles=2", "trainer.max_epochs=3")
_SCENES = ("scale=smoke", "trainer.max_epochs=2")
_PSEUDO = (
    "method=elezi",
    "data.labeled_fraction=0.5",
    "pseudo_labels.score_thresh=0.1",
    "acquisition.score_thresh=0.05",
    "model.consistency.pairing=as_released",
)

RUNS: dict[str, tuple[str, ...]] = {
    "entropy": (*_IMAGES, "acquisition=entropy"),
    "dispersion": (*_IMAGES, "acquisition=dispersion"),
    "mc_dropout": (*_IMAGES, "method=bald"),
    "ensemble": (*_IMAGES, "method=ensemble_bald", "num_members=2"),
    "class_balanced": (*_LONG_TAILED, "acquisition=entropy_balanced"),
    "balanced_kcenter": (*_LONG_TAILED, "acquisition=kcenter_balanced"),
    "kcenter": (*_IMAGES, "acquisition=kcenter"),
    "core_set": (*_IMAGES, "acquisition=core_set", "warm_start=true"),
    "badge": (*_IMAGES, "acquisition=badge", "data.labeled_fraction=0.5"),
    "noris": (*_IMAGES, "acquisition=noris"),
    "replay": (*_IMAGES, "acquisition=replay", "acquisition.table=golden", "acquisition.row=entropy"),
    "detection_entropy": (*_SCENES, "method=detection_entropy_sum"),
    "pseudo_labels": (*_SCENES, *_PSEUDO, "schedule.cycles=1"),
    "predicted_loss": (*_SCENES, "method=llal"),
    "mixture_heads": (*_SCENES, "method=almdn_gmm"),
    "noris_objects": (*_SCENES, "acquisition=noris_objects", "model=retinanet_tiny"),
    "entropy_then_ccms": (*_SCENES, "acquisition=entropy_then_ccms", "model=retinanet_tiny"),
    "two_stage": (*_SCENES, "acquisition=ccms", "model=faster_rcnn_tiny"),
    "centerness": (*_SCENES, "acquisition=entropy_then_global", "model=fcos_tiny"),
}
"""Name -> overrides. A run that follows another one stands behind it."""


def overrides_of(name: str) -> tuple[str, ...]:
    """All overrides of a run: one thread, so that sums do not depend on how many cores there are."""
    return (*RUNS[name], "table=golden", f"row={name}", "seed=1", "num_threads=1", "gallery=0")


def environment() -> dict[str, str]:
    """What the bits of a training depend on."""
    return {
        "torch": torch.__version__,
        "torchvision": torchvision.__version__,
        "machine": platform.machine(),
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "processor": _processor(),
    }


def record_of(folder: Path) -> dict[str, Any]:
    """What a run chose and reached, read from the files that it leaves."""
    cycles = []
    for cycle in sorted(folder.glob("cycle_*")):
        labeled = [row for row in _rows(cycle / "pool.csv") if int(row["cycle"]) >= 0]
        record: dict[str, Any] = {
            "labeled": [int(row["index"]) for row in labeled],
            "metrics": _metrics(cycle),
        }
        if (cycle / "query.csv").exists():
            query = _rows(cycle / "query.csv")
            record["query"] = [int(row["index"]) for row in query]
            record["utility"] = [row["utility"] for row in query]
        if (cycle / "pseudo_labels.csv").exists():
            data = (cycle / "pseudo_labels.csv").read_bytes()  # thousands of boxes
            record["pseudo_labels"] = {"lines": data.count(b"\n"), "sha256": hashlib.sha256(data).hexdigest()}
        cycles.append(record)
    return {"cycles": cycles}


def structure_of(record: dict[str, Any]) -> list[dict[str, Any]]:
    """What of a record does not depend on the last bits of a training: sizes, and the initial set."""
    found = []
    for number, cycle in enumerate(record["cycles"]):
        found.append(
            {
                "labeled": len(cycle["labeled"]) if number else cycle["labeled"],
                "query": len(set(cycle.get("query", ()))),
                "metrics": sorted(cycle["metrics"]),
                "has_pseudo_labels": "pseudo_labels" in cycle,
            }
        )
    return found


def _metrics(cycle: Path) -> dict[str, Any]:
    """The results, less the counts of classes: they follow from what is labeled, and old runs have none."""
    results = json.loads((cycle / "metrics.json").read_text())
    return {name: value for name, value in results.items() if not name.startswith("class_counts")}


def _rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(line for line in stream if not line.startswith("#")))


def _processor() -> str:
    try:
        found = re.search(r"^model name\s*: (.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    except OSError:
        found = None
    return found[1] if found else platform.processor()
