"""Runs sections, the one of most worth first, each within its share of the time; each ends in a JSON line.

    tests/gpu/check [--device cuda] [--tiny] [--limit 480] [--out gpu_out] [--data data] [SECTION ...]

Sections: tests, throughput, selection, table. The line's ``status`` says what it is worth: ``measured`` only of a GPU,
at full size, to the end; ``dry_run`` of what ran to its end elsewhere or tiny; ``failed``; ``out_of_time``, also where
some rows are finished, which ``rows`` then tells. All lines lie in ``OUT/check.jsonl``, what was printed in
``OUT/SECTION.log``. The table goes on where ``OUT/runs`` stopped: carry that folder to the next machine.
"""

from __future__ import annotations

import argparse
import csv
import io
import json
import os
import signal
import subprocess
import sys
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
TABLE, ROWS = "thesis/table3_1", ("random", "dispersion", "margin", "kcenter")
LIMIT = 480.0
SHARES = {"tests": 90.0, "throughput": 90.0, "selection": 80.0, "table": LIMIT}  # seconds; the last takes what is left
GRACE_S = 20.0  # a run leaves at the end of its epoch


def command_of(section: str, given: argparse.Namespace) -> list[str]:
    """What a section runs."""
    size = ["--tiny"] if given.tiny else []
    if section == "tests":
        places = sorted({str(path) for path in (ROOT / "tests").rglob("test_*.py") if "mark.gpu" in path.read_text()})
        places = [str(ROOT / "tests" / "gpu" / "test_on_gpu.py")] if given.tiny else places
        options = ["-q", "-m", "gpu", "-p", "no:cacheprovider", f"--basetemp={given.out / 'pytest'}"]
        return [sys.executable, "-m", "pytest", *options, *places]
    if section == "throughput":
        return [sys.executable, "tests/benchmarks/throughput.py", "--device", given.device, *size]
    if section == "selection":
        return [sys.executable, "tests/gpu/same_picks.py", "--device", given.device, *size]
    rows = ROWS[:1] if given.tiny else ROWS
    scale = ["scale=smoke_digits", "trainer.max_epochs=1", "schedule.cycles=1"] if given.tiny else ["data=cifar10"]
    places = [f"paths.runs={given.out / 'runs'}", f"paths.data={given.data}", f"trainer.accelerator={given.device}"]
    return [
        sys.executable,
        "-m",
        "alpl",
        "-m",
        f"+experiment={TABLE}",
        f"method={','.join(rows)}",
        "seed=0",
        *scale,
        *places,
    ]


def run(command: list[str], log: Path, limit: float) -> tuple[int | None, str, float]:
    """Run it; exit status (None where the time was up), what it printed, seconds."""
    begin = time.monotonic()
    with log.open("w") as stream:
        child = subprocess.Popen(
            command, cwd=ROOT, stdout=stream, stderr=subprocess.STDOUT, start_new_session=True, text=True
        )
        status: int | None
        try:
            status = child.wait(max(limit, 0.1))
        except subprocess.TimeoutExpired:
            status = None
            for number in (signal.SIGTERM, signal.SIGKILL):  # alpl leaves what the same command goes on with
                try:
                    os.killpg(child.pid, number)
                    child.wait(GRACE_S)
                    break
                except (ProcessLookupError, subprocess.TimeoutExpired):
                    continue
    return status, log.read_text(errors="replace"), time.monotonic() - begin


def told_by(section: str, text: str, given: argparse.Namespace) -> dict[str, Any]:
    """What a section found: the last line of JSON, the counts of pytest, or the finished rows."""
    lines = text.splitlines()
    if section == "tests":
        summary = next((line for line in reversed(lines) if " in " in line and any(c.isdigit() for c in line)), "")
        words = summary.replace(",", "").split()
        counts = {name.rstrip("s"): int(n) for n, name in pairwise(words) if n.isdigit()}
        return {name: counts.get(name, 0) for name in ("passed", "failed", "error", "skipped")}
    if section == "table":
        return {"rows": finished_rows(given)}
    found = next((line for line in reversed(lines) if line.startswith("{")), "{}")
    return dict(json.loads(found))


def finished_rows(given: argparse.Namespace) -> list[dict[str, Any]]:
    """Rows whose runs ended, with the metric of the last cycle and what it was computed with."""
    from alpl.runs.results import find_runs

    runs = find_runs([given.out / "runs"]) if (given.out / "runs").is_dir() else []
    return [
        {
            "row": each.row, "data": each.data, "seed": each.seed, "num_labeled": each.cycles[-1].num_labeled,
            "accuracy": each.cycles[-1].metrics["test/accuracy"], "seconds": round(sum(each.seconds.values()), 1),
            "device": each.environment.get("device"), "commit": each.environment.get("git_commit"),
            "precision": each.network_cost.precision if each.network_cost else "",
        }
        for each in runs if each.status == "finished"
    ]  # fmt: skip


def measured_csv(rows: list[dict[str, Any]], commit: str) -> str:
    """The text of ``experiments/<paper>/<table>.measured.csv``, which :mod:`alpl.report.read.measured` reads."""
    import yaml

    report = yaml.safe_load((ROOT / "experiments" / f"{TABLE}.yaml").read_text())["report"]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["row", "column", "mean", "std", "seeds", "device", "precision", "commit", "seconds"])
    for each in rows:
        value = f"{report['scale'] * each['accuracy']:.2f}"
        names = [report["rows"][each["row"]], report["columns"][each["data"]]]
        place = [each["device"], each["precision"], each["commit"] or commit, each["seconds"]]
        writer.writerow([*names, value, "", 1, *place])
    return text.getvalue()


def status_of(section: str, status: int | None, told: dict[str, Any], *, is_real: bool) -> str:
    """What the section is worth; nothing is measured that was not."""
    if status is None:
        return "out_of_time"
    if section == "tests" and (status != 0 or told["failed"] or told["error"] or (is_real and not told["passed"])):
        return "failed"
    if status != 0 or (section == "table" and not told["rows"]) or (section != "table" and not told):
        return "failed"
    return "measured" if is_real else "dry_run"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda", choices=["cpu", "cuda"])
    parser.add_argument("--tiny", action="store_true", help="the smallest sizes: a trial, nothing is measured")
    parser.add_argument("--limit", type=float, default=LIMIT, help="seconds of all sections together")
    parser.add_argument("--out", type=Path, default=Path("gpu_out"))
    parser.add_argument("--data", type=Path, default=Path("data"), help="holds cifar-10-batches-py")
    parser.add_argument("--commit", default="", help="of the tree, where it has no .git")
    parser.add_argument("sections", nargs="*", metavar="SECTION", help=", ".join(SHARES))
    given = parser.parse_args()
    if unknown := sorted(set(given.sections) - set(SHARES)):
        parser.error(f"sections are {', '.join(SHARES)}, got {', '.join(unknown)}")
    given.out, given.data = given.out.resolve(), given.data.resolve()
    import torch

    if given.device == "cuda" and not torch.cuda.is_available():
        parser.error(
            "there is no CUDA device, so nothing can be measured; --device cpu --tiny is a trial of the sections"
        )
    if given.tiny:
        os.environ.setdefault("OMP_NUM_THREADS", "1")  # threads gain nothing at such sizes
    given.out.mkdir(parents=True, exist_ok=True)
    from alpl.runs.environment import describe_environment

    environment, begin, worst = describe_environment(), time.monotonic(), 0
    commit = given.commit or environment["git_commit"] or ""
    is_real = given.device == "cuda" and not given.tiny
    for section in [name for name in SHARES if name in (given.sections or SHARES)]:
        left = given.limit - (time.monotonic() - begin) - (GRACE_S if section == "table" else 0)
        share = min(SHARES[section] / LIMIT * given.limit, left)
        status, text, seconds = run(command_of(section, given), given.out / f"{section}.log", share)
        told = told_by(section, text, given)
        line = {
            "section": section, "status": status_of(section, status, told, is_real=is_real),
            "seconds": round(seconds, 1), "device": environment["device"] if given.device == "cuda" else "cpu",
            "torch": torch.__version__, "commit": commit, **told,
        }  # fmt: skip
        with (given.out / "check.jsonl").open("a") as stream:
            stream.write(json.dumps(line) + "\n")
        print(json.dumps(line), flush=True)
        if section == "table" and is_real and told["rows"]:
            (given.out / f"{Path(TABLE).name}.measured.csv").write_text(measured_csv(told["rows"], commit))
        worst = max(worst, int(line["status"] in ("failed", "out_of_time")))
    return worst


if __name__ == "__main__":
    raise SystemExit(main())
