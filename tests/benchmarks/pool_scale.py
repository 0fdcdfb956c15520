"""Predictions of a COCO-sized pool: written batch by batch, read memory-mapped, ranked; memory and seconds.

    python tests/benchmarks/pool_scale.py [--images 118000] [--detections 100] [--outputs 81] [--folder FOLDER]

Prints one line a step. "anonymous" is the process's own memory at its peak; "resident" counts the pages of mapped files
too, which the system takes back when somebody needs them. The posteriors are made up (a sharp class for one detection
in ten, as most detections of a trained network are far below the threshold), which is most of the time of "write".
The default writes 8 GB.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from alpl.acquisition import ConfidentObjects, DetectionUncertainty, FlipInconsistency, TopPerClass
from alpl.acquisition.base import Context
from alpl.pool import Pool
from alpl.predictions import Form, Need, Posterior, Predictions
from alpl.predictions.prediction_files import writing


def made_up(index: torch.Tensor, detections: int, outputs: int, needs: Need, draw: torch.Generator) -> Predictions:
    """Predictions of one batch, with the fields that the needs name."""
    number = len(index) * detections
    logits = torch.randn(number, outputs, generator=draw)
    sure = torch.randint(1, outputs, (number,), generator=draw)
    logits[torch.arange(number), sure] += 12.0 * (torch.rand(number, generator=draw) < 0.1)
    probs = logits.softmax(-1)
    best = probs[:, 1:].max(-1)
    corner = torch.rand(number, 2, generator=draw) * 400
    views = torch.stack([probs, logits.roll(1, 0).softmax(-1)]) if Need.FLIP in needs else None
    return Predictions(
        index=index,
        row=torch.arange(len(index)).repeat_interleave(detections),
        posterior=Posterior(probs, Form.BACKGROUND) if Need.POSTERIOR in needs else None,
        labels=best.indices,
        scores=best.values,
        boxes=torch.cat([corner, corner + 50], 1) if Need.BOXES in needs else None,
        views=None if views is None else Posterior(views, Form.BACKGROUND),
    )


class Memory(threading.Thread):
    """Samples the memory of this process every 20 ms."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.anonymous = self.resident = 0
        self.start()

    def run(self) -> None:
        """Sample until the process ends."""
        while True:
            fields = dict(line.split(":") for line in Path("/proc/self/status").read_text().splitlines())
            self.anonymous = max(self.anonymous, int(fields["RssAnon"].split()[0]))
            self.resident = max(self.resident, int(fields["VmRSS"].split()[0]))
            time.sleep(0.02)


@contextmanager
def step(name: str, memory: Memory) -> Iterator[None]:
    """Print what a step took; peaks are those of the step."""
    time.sleep(0.05)
    memory.anonymous = memory.resident = 0
    start = time.perf_counter()
    yield
    seconds = time.perf_counter() - start
    time.sleep(0.05)
    print(
        f"{name:38} {seconds:8.1f} s   {memory.anonymous / 2**20:5.2f} GiB anonymous, "
        f"{memory.resident / 2**20:5.2f} GiB resident",
        flush=True,
    )


def main() -> None:
    """Run all steps."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name, default in (("images", 118_000), ("detections", 100), ("outputs", 81), ("batch", 50)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--folder", type=Path)
    settings = parser.parse_args()
    folder = Path(tempfile.mkdtemp(dir=settings.folder))
    memory, draw = Memory(), torch.Generator().manual_seed(0)
    acquisition = FlipInconsistency()
    pool = Pool.create(settings.images + 100, torch.arange(100))
    try:
        with step("write, with made-up predictions", memory), writing(folder / "unlabeled") as writer:
            for index in pool.unlabeled.split(settings.batch):
                needs = acquisition.needs | Need.BOXES
                writer.append(made_up(index, settings.detections, settings.outputs, needs, draw))
        size = sum(path.stat().st_size for path in (folder / "unlabeled").iterdir())
        print(f"on disk: {size / 1e9:.1f} GB")

        def rank(acquisition: FlipInconsistency | DetectionUncertainty) -> Callable[[], None]:
            seen = Predictions.load(folder / "unlabeled", memory_map=True)
            return lambda: print("first:", acquisition.select(Context(pool, 1000, 0, seen)).index[:5].tolist())

        with step("select: product, tau1 = 0.5", memory):
            rank(acquisition)()
        with step("select: two_stage, tau1 = 0.5", memory):
            rank(FlipInconsistency("two_stage"))()
        with step("select: product, every detection", memory):
            rank(FlipInconsistency(score_thresh=0.0))()
        seen = Predictions.load(folder / "unlabeled", memory_map=True)
        light = Predictions(seen.index, seen.row, labels=seen.labels, scores=seen.scores, boxes=seen.boxes)
        sizes = torch.full((settings.images, 2), 480)
        for labeler in (ConfidentObjects(0.99), TopPerClass(0.3)):
            with step(f"pseudo-labels: {type(labeler).__name__}", memory):
                rest = light.take(torch.arange(1000, settings.images))
                context = Context(pool, 0, 0, unlabeled=rest, sizes=sizes[1000:])
                print(len(labeler.label(context).index), "images")
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
