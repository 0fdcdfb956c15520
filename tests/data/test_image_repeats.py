"""Images in memory with the same bytes are found, within a split and across both."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from alpl.config.versions import upgraded
from alpl.data.augment import Normalize
from alpl.data.datamodule import ImageDataModule
from alpl.data.image_repeats import repeated_images, tell_repeats
from alpl.data.sets import ImageSet, Splits
from alpl.errors import ConfigError, DataError
from alpl.runs.run_folder import content_key


def splits_of(train, test, excluded=None, shape=(1, 12, 12)):
    """Image k differs from the others in bytes that few samples see."""

    def images(values):
        found = torch.zeros(len(values), *shape, dtype=torch.uint8)
        found.view(len(values), -1)[:, 1] = torch.tensor(values, dtype=torch.uint8)
        return ImageSet(found, torch.zeros(len(values), dtype=torch.long))

    return Splits(images(train), images(test), ("a",), None if excluded is None else torch.tensor(excluded))


def slow_groups(splits):
    """Compare every image with every other."""
    out = [] if splits.excluded is None else splits.excluded.tolist()
    images = [("train", row, splits.train.images[row]) for row in range(len(splits.train)) if row not in out]
    images += [("test", row, splits.test.images[row]) for row in range(len(splits.test))]
    alike = [[(s, r) for s, r, other in images if torch.equal(one, other)] for _, _, one in images]
    return {tuple(group) for group in alike if len(group) > 1}


@given(st.lists(st.integers(0, 5), min_size=1, max_size=9), st.lists(st.integers(0, 5), min_size=1, max_size=5))
def test_they_are_those_of_a_slow_search(train, test):
    splits = splits_of(train, test, excluded=[0])
    assert {tuple(group) for group in repeated_images(splits)} == slow_groups(splits)


def test_images_of_other_shapes_are_others():
    train, test = splits_of([0], [0]).train, splits_of([0], [0], shape=(1, 9, 16)).test
    assert repeated_images(Splits(train, test, ("a",))) == []


def test_they_are_told_by_their_indices_or_refused(caplog):
    splits = splits_of([1, 2, 1, 3], [4, 3])
    text = "Mine: images with the same bytes (2, of which 1 in train and in test): train 0 = train 2; train 3 = test 1"
    tell_repeats("Mine", splits, "warn")
    assert caplog.messages == [text]
    with pytest.raises(DataError) as caught:
        tell_repeats("Mine", splits, "error")
    assert str(caught.value) == f"{text}; data.repeats=warn goes on with them"
    caplog.clear()
    tell_repeats("Mine", splits_of([1, 2], [3]), "error")
    tell_repeats("Mine", splits_of([7] * 9, [1]), "warn")
    assert caplog.messages[0].endswith("train 3 = train 4 = 4 more")


class Twice:
    def load(self):
        return splits_of([1, 1], [2])


def test_the_data_module_looks_for_them():
    data = ImageDataModule(Twice, Normalize([0.5], [0.25]), batch_size=1, seed=0, repeats="error")
    with pytest.raises(DataError, match=r"^Twice: images with the same bytes .* train 0 = train 1;"):
        data.setup()
    with pytest.raises(ConfigError, match=r"data\.repeats must be one of error, warn, got 'tell'"):
        ImageDataModule(Twice, Normalize([0.5], [0.25]), batch_size=1, seed=0, repeats="tell")


def test_runs_from_before_keep_their_keys():
    old = {"data": {"_target_": "alpl.data.datamodule.ImageDataModule"}}
    assert upgraded(old)["data"]["repeats"] == "warn" and content_key(upgraded(old)) == content_key(old)
