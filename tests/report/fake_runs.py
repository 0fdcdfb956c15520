"""Makes run folders with the layout of real ones. By hand: ``python tests/report/fake_runs.py FOLDER``."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from fake_files import hash_of, write_progress

from alpl.acquisition import Query
from alpl.machine.files import write_array, write_json, write_text
from alpl.pool import Pool

NUM_IMAGES, INITIAL, BUDGET = 400, 40, 20
EPOCHS = 20
GAIN = {"random": 0.0, "entropy": 0.012, "dispersion": 0.02, "kcenter": 0.006, "oracle": 0.03}


def accuracy(row: str, cycle: int, seed: int) -> float:
    """A formula, so that tests can compute what the report must say."""
    noise = np.random.default_rng([seed, cycle, len(row)]).normal(0, 0.008)
    return round(float(0.62 + 0.05 * cycle**0.8 + GAIN.get(row, 0.0) * (cycle + 0.3) + noise), 6)


def make_run(
    root: Path,
    table: str,
    row: str,
    data: str = "digits",
    seed: int = 0,
    *,
    num_cycles: int = 5,
    done: int | None = None,
    lr: float = 0.02,
    report: dict[str, Any] | None = None,
    error: str | None = None,
    all_data: bool = False,
    informativeness: bool = False,
    changes: tuple[str, ...] = (),
    planned: dict[str, list[str]] | None = None,
) -> Path:
    done = num_cycles if done is None else done
    model = {"optimizer": {"lr": lr}}
    config = {"data": {"name": data}, "model": model, "acquisition": {"_target_": row}, "seed": seed}
    key, variant = hash_of(config), hash_of({**config, "seed": None})
    folder = root / table / row / f"{data}-seed{seed}-{key[:8]}"
    write_json(folder / "run.json", {
        "table": table, "row": row, "data": data, "seed": seed, "key": key, "variant": variant,
        "num_cycles": num_cycles, "report": report, "config": config,
        "changes": list(changes), "planned": planned or {},
    })  # fmt: skip
    write_json(folder / "environment.json", {
        "alpl": "0.1.0", "git_commit": "0123456789abcdef0123456789abcdef01234567", "git_dirty": False,
        "python": "3.11", "device": "cpu", "packages": {"torch": "2.15.0", "numpy": "2.4.0"},
    })  # fmt: skip
    lines, journal = ["cycle,num_labeled,test/accuracy,test/loss"], []
    for cycle in range(done):
        labeled = NUM_IMAGES if all_data else INITIAL + BUDGET * cycle
        value = 0.93 + 0.001 * seed if all_data else accuracy(row, cycle, seed)
        lines.append(f"{cycle},{labeled},{value!r},{1 - value!r}")
        stages = ("fit", "test") if all_data else ("fit", "test", "predict", "select")
        seconds = enumerate(stages, 1)
        journal += [{"cycle": cycle, "stage": stage, "seconds": n * (seed + 1) / 2} for n, stage in seconds]
        Pool.create(NUM_IMAGES, torch.arange(labeled)).save(folder / f"cycle_{cycle:02d}" / "pool.csv")
        if informativeness and cycle < num_cycles - 1:
            write_informativeness(folder / f"cycle_{cycle:02d}" / "informativeness", row, seed, cycle)
    write_progress(folder, lines, journal, finished=done == num_cycles, error=error)
    return folder


def write_informativeness(folder: Path, row: str, seed: int, cycle: int) -> None:
    """Harder images get a higher utility (but random), and are wrong more often."""
    random = np.random.default_rng([seed, cycle, 7])
    num = NUM_IMAGES - INITIAL - BUDGET * cycle
    hard = random.beta(1.6, 3.0, num)
    correct = random.random(num) > 0.15 + 0.8 * hard * (1 - 0.1 * cycle)
    utility = {
        "random": random.random(num), "entropy": hard + random.normal(0, 0.2, num),
        "dispersion": np.rint(hard * EPOCHS) / EPOCHS, "kcenter": hard, "oracle": (~correct).astype(float),
    }.get(row, hard)  # fmt: skip
    write_array(folder / "correct.npy", correct)
    write_array(folder / "chosen.npy", np.argsort(-utility, kind="stable")[:BUDGET].astype(np.int64))
    if row != "kcenter":
        write_array(folder / "utility.npy", utility)


def make_paper(experiments: Path) -> dict[str, Any]:
    """Write a paper's table and give the ``report`` of its runs."""
    write_text(experiments / "thesis" / "table3_1.paper.csv", (
        "row,column,mean,std\nAll data,Digits acc,93.61,\nAll data,Digits rel%,100,\n"
        "Dispersion,Digits acc,90.74,0.31\nDispersion,Letters acc,60.66,\nCoreSet,Digits acc,89.45,\n"
        "VAAL,Digits acc,87.88,\nRandom sampling,Digits acc,87.65,\n"
    ))  # fmt: skip
    return {
        "paper": "thesis/table3_1.paper.csv",
        "rows": {
            "all_data": "All data",
            "dispersion": "Dispersion",
            "vaal": "VAAL",
            "random": "Random sampling",
        },
        "columns": {"digits": "Digits acc", "letters": "Letters acc"},
        "scale": 100,
        "missing": {"CoreSet": "needs a mixed-integer solver"},
        "caption": "Accuracy with 30% of the images labeled.",
    }


def make_sweep(root: Path, table: str = "thesis/table3_1", report: dict[str, Any] | None = None) -> Path:
    """A sweep in which one run is unfinished, one failed, and one row was run with two learning rates."""
    for seed in range(3):
        make_run(root, table, "all_data", seed=seed, num_cycles=1, all_data=True, report=report)
        for row in ("random", "dispersion", "kcenter", "oracle"):
            make_run(root, table, row, seed=seed, report=report, informativeness=True)
    make_run(root, table, "entropy", seed=0, done=3, report=report, informativeness=True)
    make_run(root, table, "entropy", seed=1, report=report, informativeness=True)
    make_run(root, table, "dispersion", seed=0, lr=0.1, report=report)
    make_run(root, table, "bald", done=0, report=report, error="ValueError: p must be in (0, 1), got <2>")
    return root


def save_query(folder: Path, cycle: int, index: Sequence[int]) -> None:
    """Write a query, and take away the pools of later cycles: others were labeled there."""
    for pool in folder.glob("cycle_*/pool.csv"):
        if pool.parent.name > f"cycle_{cycle:02d}":
            pool.unlink()
    Query(torch.tensor(index), torch.zeros(len(index))).save(folder / f"cycle_{cycle:02d}" / "query.csv")


if __name__ == "__main__":
    target = Path(sys.argv[1])
    make_sweep(target / "runs", report=make_paper(target / "experiments"))
