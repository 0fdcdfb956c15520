"""A batch of one image, which batch norm cannot take: none is made, or it is said."""

import pytest
import torch
from torch import nn

from alpl.data.batch_norm import least_batch, single_images_told
from alpl.errors import ConfigError


def test_frozen_norm_and_norm_over_an_image_take_single_images():
    from torchvision.ops import FrozenBatchNorm2d

    assert [least_batch(part) for part in (FrozenBatchNorm2d(2), nn.GroupNorm(1, 2), nn.InstanceNorm2d(2))] == [1] * 3
    assert [least_batch(nn.Sequential(part)) for part in (nn.BatchNorm2d(2), nn.SyncBatchNorm(2))] == [2, 2]


def test_a_single_image_is_told_in_one_line():
    refused = pytest.raises(ConfigError, match=r"^data\.batch_size, .* must be >= 2 .* got a batch of one image")
    with refused, single_images_told():
        nn.BatchNorm2d(3)(torch.zeros(1, 3, 1, 1))


def test_other_errors_stay_what_they_are():
    with pytest.raises(ValueError, match=r"^expected 4D input"), single_images_told():
        nn.BatchNorm2d(3)(torch.zeros(3))
