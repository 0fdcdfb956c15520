from typing import final

import pytest
import torch

from alpl.data.long_tail import StepImbalance
from alpl.data.sets import ImageSet, Splits
from alpl.data.source import AbstractSource
from alpl.errors import ConfigError
from alpl.pool import Pool


@final
class Synthetic(AbstractSource):
    """Shuffled balanced targets, images of one pixel."""

    def __init__(self, num_classes, per_class, excluded=None, reserved=None):
        targets = torch.arange(num_classes).repeat_interleave(per_class)
        targets = targets[torch.randperm(len(targets), generator=torch.Generator().manual_seed(0))]
        images = torch.zeros(len(targets), 1, 1, 1, dtype=torch.uint8)
        part = ImageSet(images, targets)
        self.splits = Splits(part, part, tuple(map(str, range(num_classes))), excluded, reserved)
        self.is_prepared = False

    def load(self):
        return self.splits

    def prepare(self):
        self.is_prepared = True


def _counts(splits, index):
    return splits.train.targets[index].bincount(minlength=len(splits.classes)).tolist()


def _taking_part(splits):
    kept = torch.ones(len(splits.train), dtype=torch.bool)
    kept[splits.excluded] = False
    return kept.nonzero().flatten()


@pytest.mark.parametrize("num_classes", [10, 100])
@pytest.mark.parametrize(("factor", "size"), [(0.3, 34_250), (0.1, 29_750), (1.0, 50_000)])
def test_sizes_are_those_of_the_released_files(num_classes, factor, size):
    source = Synthetic(num_classes, 50_000 // num_classes)
    splits = StepImbalance(source, factor, 5000, seed=0).load()
    full, left = 50_000 // num_classes, 45_000 // num_classes
    tail = 5000 // num_classes + round(left * factor)
    assert len(_taking_part(splits)) == size
    assert _counts(splits, _taking_part(splits)) == [full] * (num_classes // 2) + [tail] * (num_classes // 2)
    assert _counts(splits, splits.reserved) == [5000 // num_classes] * num_classes


def test_nothing_is_renumbered_and_the_pool_takes_it():
    source = Synthetic(4, 50)
    splits = StepImbalance(source, 0.2, "10%", seed=1).load()
    assert splits.train is source.splits.train and splits.test is source.splits.test
    assert not torch.isin(splits.reserved, splits.excluded).any()
    assert torch.equal(splits.reserved, splits.reserved.sort().values)
    pool = Pool.create(len(splits.train), splits.reserved, splits.excluded)
    assert pool.num_labeled == 20 and len(pool.unlabeled) == 2 * 45 + 2 * 9


def test_the_tail_of_an_odd_number_of_classes_leaves_the_middle_whole():
    splits = StepImbalance(Synthetic(5, 30), 0.5, 50, seed=0).load()
    assert _counts(splits, _taking_part(splits)) == [30, 30, 30, 20, 20]


@pytest.mark.parametrize(("factor", "kept"), [(0.25, 3), (0.24, 2), (0.29, 3), (0.04, 0)])
def test_halves_are_rounded_up(factor, kept):
    splits = StepImbalance(Synthetic(2, 11), factor, 2, seed=0).load()  # 10 images of each class are left
    assert _counts(splits, _taking_part(splits)) == [11, 1 + kept]


def test_seeds():
    def load(factor, seed):
        return StepImbalance(Synthetic(4, 100), factor, 40, seed).load()

    torch.manual_seed(5)
    first, again, other = load(0.3, 0), load(0.3, 0), load(0.3, 1)
    assert torch.equal(first.excluded, again.excluded) and torch.equal(first.reserved, again.reserved)
    assert not torch.equal(first.excluded, other.excluded) and not torch.equal(first.reserved, other.reserved)
    thinner = load(0.1, 0)
    assert torch.equal(first.reserved, thinner.reserved)
    assert torch.isin(first.excluded, thinner.excluded).all()


def test_what_the_source_excludes_stays_out():
    excluded = torch.arange(0, 200, 2)
    splits = StepImbalance(Synthetic(2, 100, excluded=excluded), 0.5, 10, seed=0).load()
    assert torch.isin(excluded, splits.excluded).all() and not torch.isin(splits.reserved, excluded).any()
    odd = Synthetic(2, 100).splits.train.targets[1::2].bincount().tolist()
    assert _counts(splits, _taking_part(splits)) == [odd[0], 5 + int((odd[1] - 5) * 0.5 + 0.5)]


def test_a_source_that_reserves_itself_is_refused():
    inner = StepImbalance(Synthetic(2, 20), 0.5, 4, seed=0)
    with pytest.raises(ConfigError, match="reserves no initial set itself, got StepImbalance"):
        StepImbalance(inner, 0.5, 4, seed=0).load()


@pytest.mark.parametrize("factor", [0, -0.1, 1.1, float("nan")])
def test_a_factor_outside_is_refused(factor):
    with pytest.raises(ConfigError, match=r"factor must lie in \(0, 1\], got"):
        StepImbalance(Synthetic(2, 4), factor, 2, seed=0)


def test_a_reserved_set_that_is_too_large_is_refused():
    with pytest.raises(ConfigError, match="reserved must come to 1 to 8 images, got 9"):
        StepImbalance(Synthetic(2, 4), 0.5, 9, seed=0).load()


def test_prepare_reaches_the_source():
    source = Synthetic(2, 4)
    StepImbalance(source, 0.5, 2, seed=0).prepare()
    assert source.is_prepared


# --- lists of others


def a_list(tmp_path, source, factor, name="IF_3.txt"):
    """Write what a draw keeps as the authors write it: what is left in any order, then the reserved set."""
    drawn = StepImbalance(source, factor, 40, seed=3).load()
    kept = _taking_part(drawn)
    rest = kept[~torch.isin(kept, drawn.reserved)].flip(0)
    path = tmp_path / name
    path.write_text("".join(f"{index}\n" for index in [*rest.tolist(), *drawn.reserved.flip(0).tolist()]))
    return drawn, path


def test_a_list_takes_the_place_of_the_draws(tmp_path):
    drawn, path = a_list(tmp_path, Synthetic(4, 100), 0.3)
    for given in (str(path), str(tmp_path / "IF_{inverse}.txt")):
        listed = StepImbalance(Synthetic(4, 100), 0.3, 40, seed=0, kept_file=given).load()
        assert torch.equal(listed.reserved, drawn.reserved) and torch.equal(listed.excluded, drawn.excluded)


def test_a_list_of_everything_drops_nothing(tmp_path):
    _, path = a_list(tmp_path, Synthetic(4, 100), 1.0, "IF_1.txt")
    listed = StepImbalance(Synthetic(4, 100), 1, 40, seed=0, kept_file=str(tmp_path / "IF_{inverse}.txt")).load()
    assert len(listed.excluded) == 0 and len(listed.reserved) == 40 and path.exists()


def test_images_that_take_no_part_may_not_be_listed(tmp_path):
    drawn, path = a_list(tmp_path, Synthetic(4, 100), 0.3)
    source = Synthetic(4, 100, excluded=drawn.reserved[:1])
    with pytest.raises(ConfigError, match=r"must name images that take part, .* has \[") as error:
        StepImbalance(source, 0.3, 40, seed=0, kept_file=str(path)).load()
    assert str(int(drawn.reserved[0])) in str(error.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "must be a text file with one index a line"),
        ("", "must name an image"),
        ("3\nx\n", "must be a text file with one index a line"),
        ("99999999999999999999\n", "must be a text file with one index a line"),
        ("3\n400\n-1\n", r"must name images that take part, .* has \[400, -1\]"),
        ("3\n5\n3\n", r"must name each image once, .* has \[3\] more than once"),
        ("3\n5\n", "must end with 40 reserved images, .* has 2"),
    ],
)
def test_what_is_no_list_is_refused(tmp_path, text, message):
    path = tmp_path / "list.txt"
    if text is not None:
        path.write_text(text)
    with pytest.raises(ConfigError, match=rf"data\.long_tail\.kept_file {message}"):
        StepImbalance(Synthetic(4, 100), 0.3, 40, seed=0, kept_file=str(path)).load()


def test_a_list_of_another_factor_is_refused(tmp_path):
    _, path = a_list(tmp_path, Synthetic(4, 100), 0.3)
    with pytest.raises(ConfigError, match=r"must keep 0\.1 of the tail \(data\.long_tail\.factor\), .* keeps 0\.3"):
        StepImbalance(Synthetic(4, 100), 0.1, 40, seed=0, kept_file=str(path)).load()
