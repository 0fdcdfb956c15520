import pytest
import torch
from sklearn.datasets import load_digits

from alpl.data.digits import Digits
from alpl.errors import ConfigError


def test_every_image_is_in_exactly_one_split_with_its_label():
    splits = Digits().load()
    values, labels = load_digits(return_X_y=True)
    expected = sorted(
        (tuple(round(v * 255 / 16) for v in row), label) for row, label in zip(values, labels, strict=True)
    )
    found = [
        (tuple(image.flatten().tolist()), int(target))
        for part in (splits.train, splits.test)
        for image, target in zip(part.images, part.targets, strict=True)
    ]
    assert sorted(found) == expected


def test_values_span_the_bytes():
    images = Digits().load().train.images
    assert images.dtype == torch.uint8 and images.shape[1:] == (1, 8, 8)
    assert len(images.unique()) == 17 and images.min() == 0 and images.max() == 255


def test_the_split_is_stratified():
    splits = Digits(test_fraction=0.25).load()
    test, train = splits.test.targets.bincount(), splits.train.targets.bincount()
    assert test.tolist() == [round(0.25 * int(n)) for n in test + train]


def test_the_split_depends_on_its_own_seed_only():
    torch.manual_seed(1)
    first = Digits().load()
    torch.manual_seed(2)
    state = torch.get_rng_state()
    again, other = Digits().load(), Digits(seed=1).load()
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(first.test.images, again.test.images)
    assert not torch.equal(first.test.images, other.test.images)


@pytest.mark.parametrize("fraction", [0.0, 1.0, -0.1])
def test_a_fraction_outside_is_refused(fraction):
    with pytest.raises(ConfigError, match=r"test_fraction must lie in \(0, 1\), got"):
        Digits(test_fraction=fraction)
