"""Workers that cannot hand their batches over, or give none, say so; nobody waits for ever."""

import os
import time
from collections import namedtuple

import pytest
import torch
from test_scenes import module, with_pool
from torch.utils.data import DataLoader, Dataset, SequentialSampler

from alpl.data import batch
from alpl.data.batch import batch_loader
from alpl.errors import ConfigError
from alpl.machine import shared_memory

IMAGE_BYTES = 3 * 4 * 4 * 4  # of what test_scenes.resize gives


class Waits(Dataset):
    def __init__(self, seconds=0.0):
        self.seconds = seconds

    def __len__(self):
        return 2

    def __getitem__(self, place):
        time.sleep(self.seconds)
        return torch.full((3,), place), (torch.zeros(0), None, torch.ones(2))


def _loader(num_workers, seconds=0.0):
    data = Waits(seconds)
    return batch_loader(data, SequentialSampler(data), num_workers=num_workers)


def _free(monkeypatch, folder, num_bytes):
    monkeypatch.setattr(shared_memory, "SHARED_MEMORY", folder)
    monkeypatch.setattr(os, "statvfs", lambda path: namedtuple("Free", "f_bavail f_frsize")(num_bytes, 1))


def test_batches_of_workers_come_in_shared_memory():
    by_workers, own = list(_loader(2)), list(_loader(0))
    for (first, others), (expected, _) in zip(by_workers, own, strict=True):
        assert torch.equal(first, expected) and others[1] is None and others[2].tolist() == [1, 1]
        assert first.is_shared() and not expected.is_shared()


@pytest.mark.parametrize(("num_workers", "num_processes", "batches"), [(1, 1, 2), (3, 1, 6), (2, 2, 8)])
def test_workers_without_room_for_a_few_batches_are_refused(tmp_path, monkeypatch, num_workers, num_processes, batches):
    data = module(batch_size=2, eval_batch_size=5, num_workers=num_workers)
    _free(monkeypatch, tmp_path, batches * 5 * IMAGE_BYTES)
    data.check_workers(torch.tensor([4]), num_processes)
    _free(monkeypatch, tmp_path, batches * 5 * IMAGE_BYTES - 1)
    with pytest.raises(
        ConfigError, match=rf"data\.num_workers must be 0, .* got {num_workers}: .* need about 0\.0 MiB"
    ):
        data.check_workers(torch.tensor([4]), num_processes)


def test_no_workers_need_no_room(tmp_path, monkeypatch):
    _free(monkeypatch, tmp_path, 0)
    module(num_workers=0).check_workers(torch.tensor([4]), 1)


def test_where_no_folder_tells_what_is_free_nothing_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(shared_memory, "SHARED_MEMORY", tmp_path / "none")
    module(num_workers=2).check_workers(torch.tensor([4]), 1)


def test_a_batch_that_does_not_fit_ends_the_pass(monkeypatch):
    def full(tensor):
        raise RuntimeError("unable to allocate shared memory(shm) for file </torch_1_0>: No space left on device (28)")

    monkeypatch.setattr(torch.Tensor, "share_memory_", full)  # also in the workers, which are forked
    view = with_pool(module(num_workers=2))
    with pytest.raises(ConfigError, match=r"data\.num_workers must be 0, .* got 2: .* need more, and .* are free"):
        list(view.train_dataloader())


def test_a_worker_that_gives_nothing_is_named(monkeypatch):
    def hangs(loader):
        raise RuntimeError("DataLoader timed out after 600 seconds")

    monkeypatch.setattr(DataLoader, "__iter__", hangs)
    with pytest.raises(ConfigError, match=r"data\.num_workers=1 gave no batch in 600 s"):
        next(iter(_loader(1)))


@pytest.mark.slow
def test_a_worker_that_hangs_is_not_waited_for(monkeypatch):
    monkeypatch.setattr(batch, "WORKER_TIMEOUT_S", 1)
    with pytest.raises(ConfigError, match=r"data\.num_workers=1 gave no batch in 1 s: reading images hangs"):
        next(iter(_loader(1, seconds=3.0)))


def test_other_errors_of_a_worker_stay_what_they_are(monkeypatch):
    def broken(self, place):
        raise RuntimeError("another fault")

    monkeypatch.setattr(Waits, "__getitem__", broken)
    with pytest.raises(RuntimeError, match="another fault"):
        list(_loader(1))
