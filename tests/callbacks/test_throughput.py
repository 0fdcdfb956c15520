import json
from types import SimpleNamespace

import pytest
import torch
from command import TINY, alpl
from torch.utils.data import SequentialSampler

from alpl.callbacks.throughput import Throughput
from alpl.data.batch import batch_loader
from alpl.pool import Pool


class Clock:
    """Counts the seconds that it is told."""

    now = 0.0

    def __call__(self):
        return self.now


def test_a_loader_knows_how_long_its_batches_were_waited_for(monkeypatch):
    clock = Clock()
    monkeypatch.setattr("alpl.data.batch.time.perf_counter", clock)

    class Slow:
        def __len__(self):
            return 3

        def __getitem__(self, index):
            clock.now += 2.0
            return index

    loader = batch_loader(Slow(), SequentialSampler(Slow()), pin=False)
    for _ in loader:
        clock.now += 5.0  # the work on a batch is no waiting
    assert loader.take_waited() == 6.0
    assert loader.take_waited() == 0.0


@pytest.mark.parametrize(
    ("images", "seconds", "waited", "memory", "note"),
    [
        (0, 1.0, 0.0, None, {}),
        (10, 0.0, 0.0, None, {}),
        (100, 4.0, 1.0, None, {"images": 100, "images_per_second": 25.0, "waiting": 0.25}),
        (100, 4.0, 0.0, 7, {"images": 100, "images_per_second": 25.0, "waiting": 0.0, "gpu_bytes": 7}),
    ],
)
def test_the_note(images, seconds, waited, memory, note):
    throughput = Throughput()
    throughput.images, throughput.seconds, throughput.waited, throughput.memory = images, seconds, waited, memory
    assert throughput.note == note


def test_a_run_notes_what_went_through_its_fits_and_predictions(tmp_path):
    folder = alpl(tmp_path, *TINY, "acquisition=margin", "data.validation=10").run_folder()
    entries = [json.loads(line) for line in (folder / "journal.jsonl").read_text().splitlines()]
    stages = {(entry.get("cycle"), entry["stage"]): entry for entry in entries}
    labeled = [len(Pool.load(folder / f"cycle_{cycle:02d}" / "pool.csv").labeled) for cycle in (0, 1)]
    for cycle in (0, 1):
        fit = stages[cycle, "fit"]
        assert fit["images"] == 2 * labeled[cycle]  # two epochs
        assert fit["images"] / fit["images_per_second"] < fit["seconds"] and 0 <= fit["waiting"] < 1
        assert "gpu_bytes" not in fit
    predicted = stages[0, "predict"]
    assert predicted["images"] >= 1000 and predicted["images_per_second"] > 0


def test_time_goes_on_after_a_validation_within_an_epoch(monkeypatch):
    clock = Clock()
    monkeypatch.setattr("alpl.callbacks.throughput.time.perf_counter", clock)
    trainer = SimpleNamespace(
        strategy=SimpleNamespace(root_device=torch.device("cpu")), world_size=1, train_dataloader=None
    )
    throughput, batch = Throughput(), SimpleNamespace(index=range(5))
    throughput.on_train_epoch_start(trainer, None)
    for number in range(4):
        throughput.on_train_batch_start(trainer, None, batch, number)
        clock.now += 1.0
        throughput.on_train_batch_end(trainer, None, None, batch, number)
        if number == 1:
            throughput.on_validation_start(trainer, None)
            clock.now += 100.0
    throughput.on_train_epoch_end(trainer, None)
    assert throughput.note["images_per_second"] == 5.0
