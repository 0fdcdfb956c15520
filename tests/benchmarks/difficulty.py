"""Whether PPAL's difficulty finds the class that is hard: digit scenes in which one digit is a quarter as frequent.

    python tests/benchmarks/difficulty.py [--seeds 3] [--rare 3] [--steps 800]

One training of `retinanet_tiny` on 150 scenes a seed, tested on scenes of all digits alike. Prints for each seed the
difficulty of the rare digit and its rank (1: the hardest), and Spearman's rho of difficulty and 1 - AP over the digits.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from unittest import mock

import numpy as np

from alpl.boxes.objects import AbstractDetectionSource, DetectionSplits
from alpl.data import digit_scenes
from alpl.data.digit_scenes import DigitScenes
from alpl.report.read.difficulty import rank_correlation
from alpl.runs.results import find_runs

RUN = ("data=digit_scenes", "data.source._target_=difficulty.RareDigit", "model=retinanet_tiny", "acquisition=dcus",
       "schedule.budget=null", "schedule.cycles=null")  # fmt: skip


class RareDigit(AbstractDetectionSource):
    """Digit scenes whose training part has one digit a quarter as often as each of the others."""

    def __init__(self, rare: int, most_digits: int) -> None:
        self.rare, self.most_digits = rare, most_digits

    def load(self) -> DetectionSplits:
        """Make both parts twice, and take the training part of the scenes with the rare digit."""
        fair, rare = DigitScenes(num_train=1, most_digits=self.most_digits), self.rare

        class Artist(digit_scenes.Artist):  # type: ignore[misc]
            def __init__(self, *arguments: object) -> None:
                super().__init__(*arguments)  # type: ignore[arg-type]
                self.frequency[rare] /= 4

        with mock.patch.object(digit_scenes, "Artist", Artist):
            uneven = DigitScenes(num_test=1, most_digits=self.most_digits).load()
        whole = fair.load()
        return replace(uneven, test=whole.test, test_objects=whole.test_objects)


def main() -> None:
    """Train, read, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--rare", type=int, default=3, help="the digit (default: 3)")
    parser.add_argument("--steps", type=int, default=800, help="of a training (default: 800)")
    options = parser.parse_args()
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), *sys.path[1:]])}
    with tempfile.TemporaryDirectory() as folder:
        for seed in range(options.seeds):
            settings = [f"+data.source.rare={options.rare}", f"trainer.max_steps={options.steps}", f"seed={seed}"]
            command = [sys.executable, "-m", "alpl.commands.main", *RUN, *settings, f"paths.runs={folder}"]
            subprocess.run(command, env=environment, check=True, stdout=subprocess.DEVNULL)
        for run in find_runs([folder]):
            hard = np.array(run.difficulty(0))
            precision = np.array([np.nan if value is None else value for value in run.per_class(0)])
            rank = int((hard > hard[options.rare]).sum()) + 1
            others = np.delete(hard, options.rare)
            print(
                f"seed {run.seed}: digit {options.rare} has {hard[options.rare]:.3f}, rank {rank} of {len(hard)} "
                f"(others {others.min():.3f} to {others.max():.3f}); rho of difficulty and 1 - AP "
                f"{rank_correlation(hard, 1 - precision):.2f}; mAP {100 * precision.mean():.1f} %"
            )


if __name__ == "__main__":
    main()
