from itertools import chain

import pytest
import torch

from alpl.data.augment import Normalize
from alpl.data.datamodule import ImageDataModule
from alpl.data.device_pool import DevicePool
from alpl.data.digits import Digits
from alpl.errors import ConfigError
from alpl.pool import Pool

META = torch.device("meta")  # a device that is not the CPU, and is everywhere
IMAGES = torch.arange(24, dtype=torch.uint8).view(2, 3, 2, 2)


def test_a_set_goes_to_the_device_once():
    pool = DevicePool(24)
    there = pool.of("train", IMAGES, META)
    assert there.device == META and pool.of("train", IMAGES, META) is there


def test_on_a_cpu_images_stay_where_they_are():
    assert DevicePool(24).of("train", IMAGES, torch.device("cpu")) is IMAGES


def test_beyond_the_limit_a_set_stays_where_it_is():
    pool = DevicePool(47)
    assert pool.of("train", IMAGES, META).device == META
    assert pool.of("test", IMAGES, META) is IMAGES
    assert DevicePool(23).of("train", IMAGES, META) is IMAGES
    assert DevicePool(0).of("train", IMAGES, META) is IMAGES
    assert DevicePool(48).of("test", IMAGES, META).device == META


@pytest.mark.parametrize("limit", [-1, 1.5, True])
def test_the_limit_is_a_number_of_bytes(limit):
    with pytest.raises(ConfigError, match=r"data\.device_pool_bytes must be an int >= 0, got"):
        DevicePool(limit)


def test_batches_are_the_samplers_wherever_the_images_lie(monkeypatch):
    data = ImageDataModule(Digits, Normalize([0.3], [0.4]), batch_size=16, seed=0)
    data.setup()
    images, (_, targets) = data.splits.train.images, data.take_targets()
    view = data.with_pool(Pool.create(1198, torch.arange(40)), targets[:40]).observing(torch.arange(100, 200))
    plain = [list(view.train_dataloader()), list(view.predict_dataloader()), list(view.test_dataloader())]
    names = []

    def elsewhere(self, name, images, device):
        names.append(name)
        return images.clone()

    monkeypatch.setattr(DevicePool, "of", elsewhere)
    moved = [list(view.train_dataloader()), list(view.predict_dataloader()), list(view.test_dataloader())]
    assert names == ["train", "train", "test"]
    for ours, theirs in zip(chain(*moved), chain(*plain), strict=True):
        assert torch.equal(ours.images, theirs.images) and torch.equal(ours.index, theirs.index)
        assert ours.complete == theirs.complete
    assert all(batch.complete for batch in plain[0]) and not any(batch.complete for batch in plain[1])
    assert torch.equal(plain[0][0].images, images[plain[0][0].index])
