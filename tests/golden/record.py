"""Runs the golden runs and writes down what they chose and found: one JSON file a run, beside this file.

    python tests/golden/record.py            # all of runs.yaml
    python tests/golden/record.py bald badge # some, and what they follow is run too

It uses the command line and the files of a run folder alone, so that it outlives every move of a module.
"""

from __future__ import annotations

import csv
import json
import platform
import sys
import tempfile
import time
from importlib import metadata
from pathlib import Path
from typing import Any

import torch
import yaml

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parent.parent))  # pytest puts it there itself

from command import alpl  # the one place that knows where the command's function lives

HERE = Path(__file__).parent
TABLE = "golden"
RUNS: dict[str, list[str]] = yaml.safe_load((HERE / "runs.yaml").read_text(encoding="utf-8"))


# --- running


def run(name: str, runs: Path) -> Path:
    """Run a golden run, and before it the one that it follows; give its folder.

    What is finished in ``runs`` already is not run again.
    """
    for override in RUNS[name]:
        key, _, value = override.partition("=")
        if key == "acquisition.row":
            run(value, runs)
    result = alpl(runs, *RUNS[name], f"table={TABLE}", f"row={name}", "seed=0", "gallery=0")
    assert result.status == 0, f"{name} ended with status {result.status}: {result.err}"
    (folder,) = (file.parent for file in (runs / TABLE / name).glob("*/run.json"))
    return folder


# --- reading


def observed(folder: Path) -> list[dict[str, Any]]:
    """What each cycle of a run folder holds, as JSON gives it back: floats are equal to the last bit, or not."""
    return [_cycle(path) for path in sorted(folder.glob("cycle_*"))]


def _cycle(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = {"pool": _pool(folder / "pool.csv")}
    for path in sorted(folder.glob("epochs*.csv")):  # where a difference begins: in training, or behind it
        found[path.stem] = [_numbers(row.values()) for row in _rows(path)]
    found["metrics"] = _json((folder / "metrics.json").read_text(encoding="utf-8"))
    if (folder / "query.csv").exists():
        found["query"] = [[int(row["index"]), _number(row["utility"])] for row in _rows(folder / "query.csv")]
    if (folder / "pseudo_labels.csv").exists():
        found["pseudo_labels"] = [_numbers(row.values()) for row in _rows(folder / "pseudo_labels.csv")]
    return found


def _pool(path: Path) -> dict[str, Any]:
    """Dataset indices by the cycle since which they are labeled, in the order of the file."""
    first, *_ = path.read_text(encoding="utf-8").splitlines()
    labeled: dict[str, list[int]] = {}
    for row in _rows(path):
        labeled.setdefault(row["cycle"], []).append(int(row["index"]))
    return {"sizes": first, "since": labeled}


def _rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(line for line in stream if not line.startswith("#")))


def _numbers(texts: Any) -> list[int | float | str]:
    return [_number(text) for text in texts]


def _number(text: str) -> int | float | str:
    """The number that a text is; NaN and the infinities stay text, as NaN is not equal to itself."""
    try:
        return int(text) if text.lstrip("-").isdigit() else _json(text)
    except json.JSONDecodeError:
        return text


def _json(text: str) -> Any:
    return json.loads(text, parse_constant=str)


# --- the machine

DECIDING = ("torch", "torchvision", "faiss-cpu", "cpu_capability", "processor", "machine")
"""What the last bits of a sum depend on."""


def environment() -> dict[str, str]:
    """What this is run with: versions, and the processor as its instructions and its caches choose the kernels."""
    packages = ("torch", "torchvision", "faiss-cpu", "lightning", "torchmetrics", "numpy", "scipy", "scikit-learn")
    return {
        **{package: _version(package) for package in packages},
        "python": platform.python_version(),
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "processor": _processor(),
        "machine": f"{platform.system()} {platform.machine()}",
    }


def differences() -> list[str]:
    """In what of all that decides about last bits this machine is another one than the recorded."""
    here, there = environment(), json.loads((HERE / "environment.json").read_text(encoding="utf-8"))
    return [f"{name} ({there[name]}, here {here[name]})" for name in DECIDING if here[name] != there[name]]


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "none"


def _processor() -> str:
    """Its name, with the numbers that tell apart the generations that share a name."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    named = {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in lines)}
    return ", ".join(f"{key} {named[key]}" for key in ("model name", "cpu family", "model") if key in named)


# --- writing


def recorded(name: str) -> list[dict[str, Any]]:
    """What was written down of a run."""
    cycles: list[dict[str, Any]] = json.loads((HERE / f"{name}.json").read_text(encoding="utf-8"))
    return cycles


def as_text(cycles: list[dict[str, Any]]) -> str:
    """JSON with a line for each thing of each cycle, so that a difference between commits is a line."""
    blocks = []
    for cycle in cycles:
        lines = (f"  {json.dumps(name)}: {json.dumps(value, allow_nan=False)}" for name, value in cycle.items())
        blocks.append("{\n" + ",\n".join(lines) + "\n}")
    return "[\n" + ",\n".join(blocks) + "\n]\n"


def main() -> None:
    names = sys.argv[1:] or list(RUNS)
    with tempfile.TemporaryDirectory() as runs:
        for name in names:
            start = time.perf_counter()
            text = as_text(observed(run(name, Path(runs))))
            (HERE / f"{name}.json").write_text(text, encoding="utf-8")
            print(f"{name}: {time.perf_counter() - start:.1f} s, {len(text) / 1000:.1f} kB", flush=True)
    (HERE / "environment.json").write_text(json.dumps(environment(), indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
