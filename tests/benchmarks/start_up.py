"""Processor seconds until `alpl` answers, and until its first training step, beside an empty Hydra app's.

    python tests/benchmarks/start_up.py [--turns 3]

Processor seconds (user and system) of the whole process, the least of the turns. The first step is that of the default
experiment (digits), less what comes after it; the imports that no run is without are told beside it.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[2]

EMPTY = """
import hydra

@hydra.main(version_base="1.3", config_path=None)
def run(config):
    pass

run()
"""

COMMAND = """
from alpl.commands.main import cli
cli()
"""

FIRST_STEP = """
import os
from alpl.callbacks.epoch_log import EpochLog
from alpl.commands.main import cli

EpochLog.on_train_batch_end = lambda *arguments: os._exit(0)
cli()
"""

RUN = ("trainer.max_epochs=1", "schedule.cycles=1", "num_threads=1")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--turns", type=int, default=3, help="of which the least counts (default: 3)")
    turns = parser.parse_args().turns
    print(f"{'':34}{'seconds':>8}{'x empty app':>13}")
    for flags in (("--help",), ("--cfg", "job")):
        empty = least(turns, EMPTY, *flags)
        tell(f"empty Hydra app {' '.join(flags)}", empty, empty)
        tell(f"alpl {' '.join(flags)}", least(turns, COMMAND, *flags), empty)
    empty = least(turns, EMPTY, "hydra.run.dir=.", "hydra.output_subdir=null", "hydra/job_logging=none")
    tell("empty Hydra app, a run", empty, empty)
    tell("import torch", least(turns, "import torch"), empty)
    tell("import lightning.pytorch", least(turns, "import lightning.pytorch"), empty)
    tell("alpl, first training step", least(turns, FIRST_STEP, *RUN), empty)


def tell(name: str, seconds: float, empty: float) -> None:
    """Print a line."""
    print(f"{name:34}{seconds:8.2f}{seconds / empty:13.1f}", flush=True)


def least(turns: int, code: str, *arguments: str) -> float:
    """Give the processor seconds of the turn that took least."""
    return min(seconds(code, *arguments) for _ in range(turns))


def seconds(code: str, *arguments: str) -> float:
    """Give the processor seconds that Python takes for some code, its start and end included."""
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    with tempfile.TemporaryDirectory() as folder:
        own = [f"paths.runs={folder}"] if code is FIRST_STEP else []
        command = [sys.executable, "-c", code, *arguments, *own]
        child = subprocess.Popen(command, cwd=folder, env=environment, stdout=subprocess.DEVNULL)
        _, status, used = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        raise SystemExit(f"{' '.join(command[3:])} ended with {child.returncode}")
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    main()
