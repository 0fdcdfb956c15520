"""What looking in stages saves: entropy, then CCMS, with features of the candidates alone and of the whole pool.

    python tests/benchmarks/stages.py [--images 1000] [--budget 20] [--ratio 4]

Both choose the same images; printed are the bytes of the cycle's predictions and the seconds of its stages.
"""

from __future__ import annotations

import argparse
import csv
import json
import sys
import tempfile
from pathlib import Path
from typing import Any
from unittest import mock

sys.path.insert(0, str(Path(__file__).parents[1]))

from command import alpl

from alpl.acquisition import Stage, Then

STAGES = ("predict", "narrow", "predict_1", "select")


def measure(runs: Path, options: argparse.Namespace) -> tuple[int, dict[str, float], list[int]]:
    """Bytes of predictions, seconds of stages, and the query of a run with one cycle."""
    result = alpl(
        runs,
        "scale=smoke",
        "model=retinanet_tiny",
        "acquisition=entropy_then_ccms",
        f"acquisition.ratio={options.ratio}",
        f"data.source.num_train={options.images}",
        f"schedule.budget={options.budget}",
        "trainer.max_epochs=1",
        "gallery=0",
        "keep_predictions=true",
        "num_threads=1",
    )
    if result.status:
        raise SystemExit(result.err)
    folder = result.run_folder()
    files = (folder / "cycle_00" / "predictions").rglob("*.npy")
    entries: list[dict[str, Any]] = [json.loads(line) for line in (folder / "journal.jsonl").read_text().splitlines()]
    seconds = {entry["stage"]: entry["seconds"] for entry in entries if entry.get("cycle") == 0}
    with (folder / "cycle_00" / "query.csv").open() as stream:
        query = [int(row["index"]) for row in csv.DictReader(stream)]
    return sum(file.stat().st_size for file in files), {name: seconds.get(name, 0.0) for name in STAGES}, query


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=1000)
    parser.add_argument("--budget", type=int, default=20)
    parser.add_argument("--ratio", type=float, default=4.0)
    options = parser.parse_args()
    one_look = property(lambda self: (Stage(self),))  # all that it needs is predicted for the whole pool
    with tempfile.TemporaryDirectory() as temporary:
        staged = measure(Path(temporary) / "staged", options)
        with mock.patch.object(Then, "stages", one_look):
            whole = measure(Path(temporary) / "whole", options)
    if staged[2] != whole[2]:
        raise SystemExit("the two chose other images")
    for name, (size, seconds, _) in (("in stages", staged), ("in one look", whole)):
        parts = ", ".join(f"{stage} {taken:.2f} s" for stage, taken in seconds.items() if taken)
        print(f"{name}: {size / 2**20:.2f} MiB, {sum(seconds.values()):.2f} s ({parts})")
    print(f"one look / stages: {whole[0] / staged[0]:.2f} x bytes, "
          f"{sum(whole[1].values()) / sum(staged[1].values()):.2f} x seconds")  # fmt: skip


if __name__ == "__main__":
    main()
