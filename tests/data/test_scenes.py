"""Batches of scenes: objects of labeled images only, the same whoever reads them."""

import gc

import pytest
import torch

from alpl.boxes.objects import AbstractDetectionImages, AbstractDetectionSource, DetectionSplits, Objects
from alpl.data.keep_ratio import KeepRatioResize
from alpl.data.scene_batches import FlatObjects, pad_images
from alpl.data.scenes import SceneDataModule
from alpl.errors import ConfigError
from alpl.labeling.pseudo_labels import PseudoLabels
from alpl.pool import Pool

NUM_TRAIN, NUM_TEST = 20, 7


class Gray(AbstractDetectionImages):
    """Image i has the size (10 + i) x 20 and the gray level i."""

    def __init__(self, number):
        self.names = tuple(f"{i}.png" for i in range(number))
        self.sizes = torch.tensor([[10 + i, 20] for i in range(number)])

    def __getitem__(self, index):
        return torch.full((3, 10 + index, 20), index, dtype=torch.uint8)


def objects_of(index):
    """Image i has i % 3 objects, the first of them difficult."""
    number = index % 3
    boxes = torch.tensor([[float(k), 0.0, 10.0, 5.0 + index] for k in range(number)]).reshape(-1, 4)
    return Objects(boxes, torch.arange(number), torch.arange(number) == 0)


class Source(AbstractDetectionSource):
    def load(self):
        train, test = (tuple(map(objects_of, range(n))) for n in (NUM_TRAIN, NUM_TEST))
        return DetectionSplits(Gray(NUM_TRAIN), train, Gray(NUM_TEST), test, ("a", "b"), excluded=torch.tensor([3]))


def resize(image):
    return image[:, :4, :4].float()


def noise(image, objects, generator):
    """Half the boxes, as if the input were half the size."""
    return resize(image) + torch.rand(1, generator=generator), Objects(
        objects.boxes / 2, objects.labels, objects.difficult
    )


def module(**options):
    settings = {"batch_size": 4, "eval_batch_size": 5, "seed": 0} | options
    data = SceneDataModule(Source(), noise, resize, **settings)
    data.setup("fit")
    return data


def with_pool(data, labeled=(4, 5, 7, 8, 10, 11)):
    _, lookup = data.take_targets()
    pool = Pool.create(NUM_TRAIN, torch.tensor(labeled), data.excluded)
    return data.with_pool(pool, lookup[pool.labeled])


def test_what_it_says_of_the_data():
    data = module()
    assert data.num_images == NUM_TRAIN and data.classes == ("a", "b") and data.excluded.tolist() == [3]
    assert data.module_arguments == {"num_classes": 2}
    candidates, lookup = data.take_targets()
    assert 3 not in candidates.index and len(candidates.index) == NUM_TRAIN - 1
    assert [len(objects) for objects in lookup[torch.tensor([5, 0, 4])]] == [2, 0, 1]
    with pytest.raises(RuntimeError, match="taken once"):
        data.take_targets()


def test_its_name_is_the_one_given():
    assert module().name is None and module(name="mine").name == "mine"


@pytest.mark.parametrize("fraction", [1.0, 0.5, "random"])
def test_training_batches_hold_the_objects_of_labeled_images_only(fraction):
    view = with_pool(module(labeled_fraction=fraction))
    seen = 0
    for batch in view.train_dataloader():
        assert batch.augment and batch.images.shape[1:] == (3, 4, 4)
        rows = batch.labeled.nonzero().flatten()
        for number, row in enumerate(rows.tolist()):
            index = int(batch.index[row])
            expected = objects_of(index)
            expected = expected[~expected.difficult]  # left out of training
            found = batch.targets.of(number)
            torch.testing.assert_close(found.boxes * 2, expected.boxes)
            assert torch.equal(found.labels, expected.labels)
            seen += 1
        assert set(batch.targets.row.tolist()) <= set(range(len(rows)))
    assert seen >= 6


def test_no_object_of_an_unlabeled_image_can_be_reached():
    view = with_pool(module(labeled_fraction=0.5))
    gc.collect()
    found, stack, visited = [], [view, view.train_dataloader(), view.tracking_dataloader()], set()
    while stack:
        item = stack.pop()
        if id(item) in visited or isinstance(item, (type, type(gc))):
            continue
        visited.add(id(item))
        if isinstance(item, Objects):
            found.append(item)
        if not callable(item) or isinstance(item, torch.nn.Module):
            stack.extend(gc.get_referents(item))
    labeled = {5.0 + i for i in (4, 5, 7, 8, 10, 11)}
    test = {5.0 + i for i in range(NUM_TEST)}
    for objects in found:
        assert set(objects.boxes[:, 3].tolist()) <= labeled | test
    assert found


def test_an_epoch_s_augmentation_follows_from_seed_and_epoch():
    def epoch(number, workers=0, seed=0):
        loader = with_pool(module(num_workers=workers, seed=seed)).train_dataloader()
        loader.sampler.set_epoch(number)
        return torch.cat([batch.images for batch in loader])

    assert torch.equal(epoch(3), epoch(3)) and torch.equal(epoch(3), epoch(3, workers=2))
    assert not torch.equal(epoch(3), epoch(4)) and not torch.equal(epoch(3), epoch(3, seed=1))


def test_evaluation_gives_all_objects_in_pixels_and_no_augmentation():
    batches = list(module().test_dataloader())
    assert torch.cat([batch.index for batch in batches]).tolist() == list(range(NUM_TEST))
    for batch in batches:
        assert not batch.augment and bool(batch.labeled.all())
        assert batch.sizes.tolist() == [[10 + i, 20] for i in batch.index.tolist()]
        for row, index in enumerate(batch.index.tolist()):
            torch.testing.assert_close(batch.targets.of(row).boxes, objects_of(index).boxes)
            assert torch.equal(batch.targets.of(row).difficult, objects_of(index).difficult)
            assert torch.equal(batch.images[row], torch.full((3, 4, 4), float(index)))


def test_observed_and_tracked_images_have_no_objects():
    view = with_pool(module())
    tracked = list(view.tracking_dataloader())
    assert torch.equal(torch.cat([batch.index for batch in tracked]), view._pool.unlabeled)
    observed = list(view.observing(torch.tensor([11, 2])).predict_dataloader())
    assert observed[0].index.tolist() == [11, 2]
    of_test = list(view.observing(torch.tensor([3, 0]), "test").predict_dataloader())
    assert of_test[0].index.tolist() == [3, 0] and of_test[0].sizes.tolist() == [[13, 20], [10, 20]]
    for batch in tracked + observed + of_test:
        assert not batch.labeled.any() and len(batch.targets.labels) == 0


def test_flat_objects_keep_rows_of_images_without_objects():
    flat = FlatObjects.join([objects_of(0), objects_of(2), objects_of(0), objects_of(1)])
    assert flat.row.tolist() == [1, 1, 3]
    assert [len(flat.of(row)) for row in range(4)] == [0, 2, 0, 1]
    assert len(FlatObjects.join([]).labels) == 0


@pytest.mark.parametrize(
    "setting",
    [{"batch_size": 0}, {"num_workers": -1}, {"pad_to": 0}, {"labeled_fraction": 2.0}, {"eval_batch_size": True}],
)
def test_settings_out_of_range_are_named(setting):
    with pytest.raises(ConfigError, match=f"data.{next(iter(setting))} must be"):
        module(**setting)


def pseudo_of(index):
    """One object on each image."""
    image = torch.tensor(index)
    boxes = torch.tensor([[1.0, 2.0, 3.0, 4.0]]).repeat(len(index), 1) + image[:, None]
    return PseudoLabels(image, torch.full((len(index),), 1), torch.full((len(index),), 0.99), boxes)


@pytest.mark.parametrize("fraction", [1.0, 0.5, "random"])
def test_pseudo_labels_are_the_only_targets_of_their_images(fraction):
    data = module(labeled_fraction=fraction)
    _, lookup = data.take_targets()
    pool = Pool.create(NUM_TRAIN, torch.tensor([4, 5, 7, 8]), data.excluded)
    view = data.with_pool(pool, lookup[pool.labeled], pseudo_of([2, 9, 14]))
    seen, loader = set(), view.train_dataloader()
    for epoch in range(8):
        loader.sampler.set_epoch(epoch)
        for batch in loader:
            assert not (batch.labeled & batch.pseudo).any()
            row = 0
            for index, labeled, pseudo in zip(*(t.tolist() for t in batch[1:3]), batch.pseudo.tolist(), strict=True):
                assert labeled == (index in (4, 5, 7, 8)) and pseudo == (index in (2, 9, 14))
                seen.add(index)
                if labeled:
                    expected = objects_of(index)
                    torch.testing.assert_close(batch.targets.of(row).boxes, expected.boxes[~expected.difficult] / 2)
                elif pseudo:
                    assert batch.targets.of(row).boxes.tolist() == [[(index + k) / 2 for k in (1, 2, 3, 4)]]
                row += labeled or pseudo
            assert int(batch.has_targets.sum()) == row
    everything = set(range(NUM_TRAIN)) - {3}
    assert seen == ({4, 5, 7, 8, 2, 9, 14} if fraction == 1.0 else everything)


def test_without_pseudo_labels_the_batch_says_so():
    batch = next(iter(with_pool(module()).train_dataloader()))
    assert batch.pseudo is None and torch.equal(batch.has_targets, batch.labeled)


def test_a_labeled_image_has_no_pseudo_labels():
    data = module()
    _, lookup = data.take_targets()
    pool = Pool.create(NUM_TRAIN, torch.tensor([4, 5]), data.excluded)
    with pytest.raises(ValueError, match=r"pseudo must not hold labeled images, got \[5\]"):
        data.with_pool(pool, lookup[pool.labeled], pseudo_of([5, 6])).train_dataloader()


def test_images_of_several_sizes_are_padded():
    """Here the transform leaves the sizes (10 + i) x 20."""
    data = SceneDataModule(Source(), noise, torch.Tensor.float, batch_size=4, eval_batch_size=3, pad_to=8, seed=0)
    data.setup("fit")
    for batch in data.test_dataloader():
        assert batch.shapes.tolist() == [[10 + i, 20] for i in batch.index.tolist()]
        assert batch.images.shape[2:] == (16, 24)
        for image, (height, width), index in zip(batch.images, batch.shapes, batch.index, strict=True):
            assert (image[:, :height, :width] == index).all()
            assert image.sum() == index * 3 * height * width  # zeros elsewhere


def test_padding_is_as_black_as_what_training_sees_beyond_an_image():
    """Where the pre-processing says so: its black is not 0, as pixels are normalized."""
    black = KeepRatioResize(16, 16, black=True)
    data = SceneDataModule(Source(), noise, black, batch_size=4, eval_batch_size=2, pad_to=16, seed=0)
    data.setup("fit")
    batch = next(iter(data.test_dataloader()))
    assert batch.shapes.tolist()[0] == [8, 16]
    of_black = black(torch.zeros(3, 16, 16))
    assert torch.allclose(batch.images[0, :, 8:], of_black[:, 8:], atol=1e-6) and of_black.max() < -1.5
    assert KeepRatioResize(16, 16).fill is None


def test_nothing_to_pad_is_no_shapes():
    assert pad_images([torch.ones(3, 8, 4), torch.ones(3, 8, 4)], multiple=4)[1] is None
    assert pad_images([torch.ones(3, 8, 4)], multiple=3)[0].shape == (1, 3, 9, 6)
