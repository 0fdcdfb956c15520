"""What a partner sees that looks at pixels: squares, half of them labeled, and no task."""

import pytest
import torch
from test_datamodule import _view

from alpl.boxes.objects import Objects
from alpl.data.batch import BalancedSampler
from alpl.data.digit_scenes import DigitScenes
from alpl.data.scenes import SceneDataModule
from alpl.data.squares import MirroredSquares, Squares
from alpl.data.ssd_augment import PhotometricAugmentation, SsdPreprocess
from alpl.errors import ConfigError
from alpl.labeling.pseudo_labels import ImagePseudoLabels
from alpl.pool import Pool


def test_bytes_become_numbers_around_zero():
    images = torch.tensor([0, 255, 51], dtype=torch.uint8).view(3, 1, 1, 1)
    torch.testing.assert_close(Squares(1)(images).flatten(), torch.tensor([-1.0, 1.0, -0.6]))
    assert torch.equal(Squares(1)(images)[0], Squares(1)(images[0]))


def test_other_shapes_are_resized_without_their_ratio():
    left_dark = torch.cat([torch.zeros(3, 8, 20), torch.full((3, 8, 20), 255.0)], 2).byte()
    shown = Squares(4)(left_dark)
    assert shown.shape == (3, 4, 4)
    torch.testing.assert_close(shown[0, 0, [0, 3]], torch.tensor([-1.0, 1.0]))
    for probability in (0, 1):
        mirrored, objects = MirroredSquares(Squares(4), probability)(left_dark, Objects.none(), torch.Generator())
        assert torch.equal(mirrored, shown.flip(-1) if probability else shown) and len(objects) == 0
    with pytest.raises(ConfigError, match="size must be an int >= 1, got 0"):
        Squares(0)


def test_an_epoch_is_as_long_as_it_is_told():
    sampler = BalancedSampler(torch.arange(3), torch.arange(3, 30), 4, 0.5, pass_over=21, seed=0)
    batches = list(sampler)
    assert len(sampler) == len(batches) == 11
    assert all((batch < 3).sum() == 2 and len(batch) == 4 for batch in batches)
    assert torch.cat(batches).bincount(minlength=30)[:3].tolist() in ([8, 7, 7], [7, 8, 7], [7, 7, 8])


def test_images_of_a_classifier():
    view, _ = _view([3, 8, 41, 50], augment=[lambda images: images + 7])
    view._pseudo = ImagePseudoLabels(torch.tensor([5]), torch.tensor([1]), torch.tensor([0.9]))
    squares = view.squares(6, flip=0.0, batch_size=8, passes=2)
    pool, raw = view.pool, view.splits.train.images
    batches = list(squares.train_dataloader())
    assert len(batches) == -(-2 * (pool.num_labeled + len(pool.unlabeled)) // 4)
    for batch in batches:
        assert int(batch.labeled.sum()) == 4 and batch.pseudo is None
        shown = squares.on_after_batch_transfer(batch, 0).images
        torch.testing.assert_close(shown, Squares(6)(raw[batch.index]))
    (asked,) = squares.observing(pool.unlabeled[:3]).predict_dataloader()
    torch.testing.assert_close(squares.on_after_batch_transfer(asked, 0).images, Squares(6)(raw[pool.unlabeled[:3]]))
    assert (view.batch_size, view.labeled_fraction, len(view.augment)) == (8, 1.0, 1)


def test_scenes_of_a_detector(caplog):
    data = SceneDataModule(
        DigitScenes(num_train=20, num_test=2), PhotometricAugmentation(96), SsdPreprocess(96), batch_size=4, seed=0,
        eval_batch_size=6, pad_to=32,
    )  # fmt: skip
    data.setup()
    _, objects = data.take_targets()
    pool = Pool.create(20, torch.arange(5))
    view = data.with_pool(pool, objects[pool.labeled])
    squares = view.squares(16, flip=1.0, batch_size=4, passes=1)
    batches = list(squares.train_dataloader())
    assert len(batches) == 10 and not caplog.records
    for batch in batches:
        assert batch.images.shape == (4, 3, 16, 16) and int(batch.labeled.sum()) == 2
        assert set(batch.index[batch.labeled].tolist()) <= set(range(5))
        assert not len(batch.targets.boxes) and batch.shapes is None and batch.second is None
        expected = torch.stack([Squares(16)(data.training_images[i]).flip(-1) for i in batch.index.tolist()])
        torch.testing.assert_close(batch.images, expected)
    asked = next(iter(squares.observing(pool.unlabeled).predict_dataloader()))
    torch.testing.assert_close(asked.images[0], Squares(16)(data.training_images[5]))
    assert len(view._labeled_objects[0]) > 0 and view.labeled_fraction == 1.0
