"""Second views: the returned matrix moves what the image shows, and is drawn by the data module's seeds."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from test_scenes import NUM_TRAIN, Source, module, noise, objects_of, pseudo_of, resize, with_pool

from alpl.boxes.warped import warp_boxes, warp_points
from alpl.data.keep_ratio import KeepRatioResize
from alpl.data.pair import SecondView, StrongView, about_center, warped
from alpl.data.scenes import SceneDataModule
from alpl.data.ssd_augment import SsdPreprocess
from alpl.errors import ConfigError
from alpl.pool import Pool

KEEP, SSD = KeepRatioResize(40, 80), SsdPreprocess(40)


def spot(height, width, x, y):
    """Black but for a bright blob around (x, y), whose pixel centers lie at 1/2."""
    ys, xs = torch.meshgrid(torch.arange(height) + 0.5, torch.arange(width) + 0.5, indexing="ij")
    return (-((xs - x) ** 2 + (ys - y) ** 2) / 8).exp().expand(3, -1, -1)


def center_of(image):
    ys, xs = torch.meshgrid(torch.arange(image.shape[1]) + 0.5, torch.arange(image.shape[2]) + 0.5, indexing="ij")
    return torch.stack([(xs * image[0]).sum(), (ys * image[0]).sum()]) / image[0].sum()


@settings(max_examples=30)
@given(seed=st.integers(0, 10_000), x=st.floats(20, 40), y=st.floats(16, 24))
def test_the_matrix_moves_what_is_seen(seed, x, y):
    view = StrongView(KEEP, photometric=False)
    second, warp = view(spot(40, 60, x, y), torch.Generator().manual_seed(seed))
    assert second.shape == (3, 40, 60) and second.dtype == warp.dtype == torch.float32
    torch.testing.assert_close(center_of(second), warp_points(torch.tensor([[x, y]]), warp)[0], atol=0.05, rtol=0)


@settings(max_examples=30)
@given(seed=st.integers(0, 10_000))
def test_boxes_are_mapped_as_their_points_one_by_one(seed):
    generator = torch.Generator().manual_seed(seed)
    _, warp = StrongView(KEEP)(torch.zeros(3, 40, 60), generator)
    start = torch.rand(4, 2, generator=generator) * 30
    boxes = torch.cat([start, start + 5], 1)
    for box, moved in zip(boxes.tolist(), warp_boxes(boxes, warp).tolist(), strict=True):
        x1, y1, x2, y2 = box
        points = [
            [sum(warp[row, k].item() * (x, y, 1)[k] for k in range(3)) for row in range(2)]
            for x, y in ((x1, y1), (x1, y2), (x2, y1), (x2, y2))
        ]
        xs, ys = zip(*points, strict=True)
        assert moved == pytest.approx([min(xs), min(ys), max(xs), max(ys)], abs=1e-4)


def test_the_ranges_of_the_draws():
    view = StrongView(KEEP, translate=0.1, scale=(0.9, 1.1))
    warps = torch.stack([view(torch.zeros(3, 20, 30), torch.Generator().manual_seed(s))[1] for s in range(300)])
    factor, mirrored = warps[:, 1, 1], warps[:, 0, 0] < 0
    assert torch.equal(warps[:, 0, 0].abs(), factor) and 0.9 <= factor.min() < 0.92 and 1.08 < factor.max() <= 1.1
    assert 0.4 < mirrored.float().mean() < 0.6
    way = torch.stack([warp_points(torch.tensor([[15.0, 10.0]]), warp)[0] for warp in warps]) - torch.tensor([15, 10])
    assert 2.8 < way[:, 0].abs().max() <= 3 + 1e-4 and 1.8 < way[:, 1].abs().max() <= 2 + 1e-4
    assert torch.equal(warps[:, 2], torch.tensor([0.0, 0, 1]).expand(300, 3))


def test_no_change_is_the_same_image():
    image = torch.rand(3, 7, 9)
    torch.testing.assert_close(warped(image, about_center(9, 7, (1.0, 1.0), (0.0, 0.0))), image)
    flipped = warped(image, about_center(9, 7, (-1.0, 1.0), (0.0, 0.0)))
    torch.testing.assert_close(flipped, image.flip(-1))
    moved = warped(image, about_center(9, 7, (1.0, 1.0), (2.0, 0.0)))
    torch.testing.assert_close(moved[:, :, 2:], image[:, :, :-2])
    assert not moved[:, :, :2].any()  # the mean pixel
    still = StrongView(KEEP, flip=0, translate=0, scale=(1, 1), photometric=False)
    torch.testing.assert_close(still(image, torch.Generator().manual_seed(0)).image, image)


@pytest.mark.parametrize("preprocess", [KEEP, SSD])
def test_colors_change_in_pixels_of_the_image(preprocess):
    image = torch.randint(256, (3, 40, 40), dtype=torch.uint8)
    shown = preprocess(image)
    torch.testing.assert_close(preprocess.pixels(shown), image.float(), atol=1e-3, rtol=0)
    torch.testing.assert_close(preprocess.normalized(preprocess.pixels(shown)), shown, atol=1e-4, rtol=0)
    view = StrongView(preprocess, flip=0, translate=0, scale=(1, 1))
    pixels = torch.stack(
        [preprocess.pixels(view(shown, torch.Generator().manual_seed(seed)).image) for seed in range(40)]
    )
    assert (pixels - image).abs().flatten(1).amax(1).gt(5).float().mean() > 0.7
    assert pixels.mean() == pytest.approx(image.float().mean(), abs=25)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"flip": 2}, r"flip must be in \[0, 1\]"),
        ({"translate": -0.1}, r"translate must be in \[0, 1\)"),
        ({"scale": [0, 1]}, "scale must be two numbers 0 < low <= high"),
    ],
)
def test_settings_are_checked(options, message):
    with pytest.raises(ConfigError, match=message):
        StrongView(KEEP, **options)


# --- in batches


class Pixels:
    """The images of the fake source are no detector's input."""

    def pixels(self, shown):
        return shown

    def normalized(self, pixels):
        return pixels


def epoch(number, **options):
    loader = with_pool(module(**({"pair": StrongView(Pixels())} | options))).train_dataloader()
    loader.sampler.set_epoch(number)
    batches = list(loader)
    return [torch.cat([getattr(batch, name) for batch in batches]) for name in ("images", "second", "warp")]


def test_second_views_follow_from_seed_and_epoch():
    views = epoch(3)
    assert views[0].shape == views[1].shape and views[2].shape == (6, 3, 3)
    for same in (epoch(3), epoch(3, num_workers=2)):
        assert all(torch.equal(one, other) for one, other in zip(views, same, strict=True))
    for other in (epoch(4), epoch(3, seed=1)):
        assert not torch.equal(views[1], other[1]) and not torch.equal(views[2], other[2])
    assert len({tuple(warp.flatten().tolist()) for warp in views[2]}) == 6  # each image's own


def test_first_views_are_the_same_without_a_second():
    loader = with_pool(module()).train_dataloader()
    loader.sampler.set_epoch(3)
    batches = list(loader)
    assert torch.equal(torch.cat([batch.images for batch in batches]), epoch(3)[0])
    assert all(batch.second is None and batch.warp is None for batch in batches)


class Spy:
    """Keeps what a pair transform is told."""

    def __init__(self):
        self.told = []

    def __call__(self, *told):
        self.told.append(told)
        return SecondView(told[0] + 1, torch.eye(3))


def test_a_pair_transform_is_told_an_image_and_no_objects():
    data = module(labeled_fraction="random", pair=Spy())
    spy = data.pair
    _, lookup = data.take_targets()
    pool = Pool.create(NUM_TRAIN, torch.tensor([4, 5, 7, 8]), data.excluded)
    for batch in data.with_pool(pool, lookup[pool.labeled], pseudo_of([2, 9])).train_dataloader():
        torch.testing.assert_close(batch.second, batch.images + 1)
        for number, row in enumerate(batch.has_targets.nonzero().flatten().tolist()):
            index = int(batch.index[row])
            if batch.labeled[row]:  # in the pixels of the first view
                expected = objects_of(index)
                torch.testing.assert_close(batch.targets.of(number).boxes * 2, expected.boxes[~expected.difficult])
    assert len(spy.told) == NUM_TRAIN - 1
    assert all([type(part) for part in told] == [torch.Tensor, torch.Generator] for told in spy.told)


def test_evaluation_has_one_view():
    view = with_pool(module(pair=StrongView(Pixels())))
    for loader in (view.test_dataloader(), view.tracking_dataloader()):
        assert all(batch.second is None for batch in loader)


def test_both_views_are_padded_alike():
    def full(image, objects, generator):
        return image.float(), objects

    data = SceneDataModule(Source(), full, resize, batch_size=4, pad_to=8, seed=0, pair=Spy())
    data.setup("fit")
    for batch in with_pool(data).train_dataloader():
        assert batch.second.shape == batch.images.shape
        for first, second, (height, width) in zip(batch.images, batch.second, batch.shapes, strict=True):
            assert torch.equal(second[:, :height, :width], first[:, :height, :width] + 1)
            assert not second[:, height:].any() and not second[:, :, width:].any()


def test_a_second_view_of_another_size_is_refused():
    data = SceneDataModule(
        Source(), noise, resize, batch_size=4, seed=0, pair=lambda first, _: SecondView(first[:, 1:], torch.eye(3))
    )
    data.setup("fit")
    with pytest.raises(ValueError, match="second views must be as large as the first"):
        next(iter(with_pool(data).train_dataloader()))
