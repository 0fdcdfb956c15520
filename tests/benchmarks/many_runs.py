"""Seconds and peak memory of `alpl-report` and `alpl-status` over many run folders.

    python tests/benchmarks/many_runs.py [--rows 100] [--seeds 3]

One small real run (digits, two epochs) is copied into the folders of a sweep of that many rows: ten acquisitions times
as many learning rates as are needed, with other numbers and queries, and checksums of them in the journal.
A command is a process of its own: seconds by the clock, processor seconds, resident memory at the peak.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from alpl.commands.status import status_of
from alpl.machine.files import read_json, read_sealed, sealed, sha256_of, write_json, write_sealed, write_text
from alpl.runs.journal import read_journal
from alpl.runs.run_folder import content_key, metrics_table

ROOT = Path(__file__).parents[2]
ACQUISITIONS = (
    "random", "entropy", "margin", "least_confidence", "dispersion", "kcenter", "bald", "oracle", "core_set", "badge",
)  # fmt: skip
# the peak of the process itself: what wait4 tells is of this one where it is larger, as a child begins as its copy
COMMAND = """
import atexit, shutil
atexit.register(lambda: shutil.copyfile("/proc/self/status", "{told}"))
from {module} import cli
cli()
"""
SMALL = ("trainer.max_epochs=2", "table=many_runs", "num_threads=1")


def main() -> None:
    """Make the folders, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=100, help="a multiple of 10 (default: 100)")
    parser.add_argument("--seeds", type=int, default=3, help="of each row (default: 3)")
    parser.add_argument("--keep", type=Path, help="make the folders here, and leave them")
    options = parser.parse_args()
    if options.rows < 1 or options.rows % len(ACQUISITIONS):
        parser.error(f"--rows must be a positive multiple of {len(ACQUISITIONS)}, got {options.rows}")
    with tempfile.TemporaryDirectory() as temporary:
        place = options.keep or Path(temporary)
        sweep = [*SMALL, f"acquisition={','.join(ACQUISITIONS)}", f"seed=range({options.seeds})"]
        rates = ",".join(f"{0.01 * (number + 1):.2f}" for number in range(options.rows // len(ACQUISITIONS)))
        sweep = ["-m", *sweep, f"model.optimizer.lr={rates}", f"paths.runs={place / 'runs'}"]
        make_runs(sweep, place)
        for command in ("status", "report"):
            arguments = sweep if command == "status" else [str(place / "runs")]
            measure(f"alpl-{command}", f"alpl.commands.{command}", arguments)
        page = place / "runs" / "many_runs" / "report"
        print(f"the report's folder: {sum(path.stat().st_size for path in page.iterdir()) / 2**20:.1f} MiB")


def make_runs(sweep: list[str], place: Path) -> None:
    """Copy one real run into every folder of a sweep that is not there yet."""
    jobs = [job for job in status_of(sweep) if job.state == "missing"]
    if not jobs:
        return
    run([sys.executable, "-m", "alpl", *SMALL, f"paths.runs={place / 'model'}"])
    (model,) = (path.parent for path in (place / "model").rglob("run.json"))
    for job in jobs:
        assert job.folder is not None, job.detail
        values = dict(text.split("=", 1) for text in job.overrides if "=" in text)
        copy_run(model, job.folder, values["acquisition"], float(values["model.optimizer.lr"]), int(values["seed"]))


def copy_run(model: Path, folder: Path, row: str, rate: float, seed: int) -> None:
    """Copy a finished run as that of another row and seed."""
    shutil.copytree(model, folder, ignore=shutil.ignore_patterns("*.pt", "lock"))
    about = read_sealed(folder / "run.json")
    config: dict[str, Any] = about["config"]
    config["acquisition"] = {"_target_": row}
    config["model"]["optimizer"]["lr"], config["seed"] = rate, seed
    config["data"]["seed"] = config["schedule"]["initial"]["seed"] = seed
    about |= {"row": row, "seed": seed, "key": folder.name.rpartition("-")[2]}
    about["variant"] = content_key({"row": row, "rate": rate})
    write_sealed(folder / "run.json", about)
    quality = ACQUISITIONS.index(row) / 200 - 5 * (rate - 0.05) ** 2
    for cycle in range(about["num_cycles"]):
        change_cycle(folder / f"cycle_{cycle:02d}", np.random.default_rng([seed, cycle, *row.encode()]), quality)
    write_text(folder / "metrics.csv", metrics_table(folder, about["num_cycles"]))
    entries = read_journal(folder / "journal.jsonl")
    for entry in entries:
        names = [name for name in entry.get("files", ()) if (folder / name).exists()]
        entry["files"] = {name: sha256_of(folder / name) for name in names}
    write_text(folder / "journal.jsonl", "".join(json.dumps(sealed(entry)) + "\n" for entry in entries))


def change_cycle(folder: Path, random: np.random.Generator, quality: float) -> None:
    """Give a cycle another test accuracy and another query."""
    results = read_json(folder / "metrics.json")
    results["test/accuracy"] = float(np.clip(results["test/accuracy"] + quality + random.normal(0, 0.01), 0, 1))
    write_json(folder / "metrics.json", results)
    query = folder / "query.csv"
    if query.exists():
        with query.open(encoding="utf-8", newline="") as stream:
            head, *lines = csv.reader(stream)
        for line, index in zip(lines, random.choice(1000, len(lines), replace=False), strict=True):
            line[head.index("index")] = str(index)
        write_text(query, "\n".join(",".join(line) for line in [head, *lines]) + "\n")


def measure(name: str, module: str, arguments: list[str]) -> None:
    """Run a command and print what it took."""
    start = time.perf_counter()
    with tempfile.NamedTemporaryFile("r") as told:
        code = COMMAND.format(module=module, told=told.name)
        command = [sys.executable, "-c", code, *arguments]
        process = subprocess.Popen(command, env=environment(), stdout=subprocess.DEVNULL)
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            raise SystemExit(f"{name} ended with {process.returncode}")
        peak = next(int(line.split()[1]) for line in told if line.startswith("VmHWM"))  # in KiB
    seconds = time.perf_counter() - start
    processor = used.ru_utime + used.ru_stime
    print(f"{name}: {seconds:.1f} s, {processor:.1f} processor s, {peak / 2**20:.2f} GiB", flush=True)


def run(command: list[str]) -> None:
    """Run a command to its end."""
    subprocess.run(command, env=environment(), check=True, stdout=subprocess.DEVNULL)


def environment() -> dict[str, str]:
    """Give the environment of a command: this checkout's alpl, one thread."""
    return os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}


if __name__ == "__main__":
    main()
