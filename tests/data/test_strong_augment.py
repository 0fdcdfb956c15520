"""Strong views: what is seen is where the matrix says, and each change is one that can be told by hand."""

import math
from unittest.mock import patch

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from test_pair import KEEP, SSD, Pixels, center_of, spot
from test_scenes import NUM_TRAIN, Source, module, noise, pseudo_of, resize

from alpl.boxes.warped import warp_points
from alpl.data.pair import SecondView
from alpl.data.scenes import SceneDataModule
from alpl.data.strong_augment import COLORS, StrongAugment, centered, rotation, sheared
from alpl.errors import ConfigError
from alpl.pool import Pool

STILL = {"flip": 0, "translate": 0, "rotate": 0, "shear": 0, "patches": (0, 0)}


def moved_by_hand(x, y, degrees, across, down, width, height):
    """Turned about the center, then sheared in x, then in y, one step after the other."""
    x, y = x - width / 2, y - height / 2
    radius, angle = math.hypot(x, y), math.atan2(y, x) + math.radians(degrees)
    x, y = radius * math.cos(angle), radius * math.sin(angle)
    x += y * math.tan(math.radians(across))
    y += x * math.tan(math.radians(down))
    return x + width / 2, y + height / 2


@pytest.mark.parametrize(("degrees", "across", "down"), [(30, 0, 0), (-17, 0, 0), (0, 30, 0), (0, -20, 25), (9, 8, 7)])
def test_points_go_where_trigonometry_says(degrees, across, down):
    warp = centered(sheared(across, down) @ rotation(degrees), 60, 40).float()
    for point in ((30.0, 20.0), (0.0, 0.0), (51.0, 7.0)):
        expected = torch.tensor(moved_by_hand(*point, degrees, across, down, 60, 40))
        torch.testing.assert_close(warp_points(torch.tensor([point]), warp)[0], expected)


@settings(max_examples=15)
@given(seed=st.integers(0, 10_000), x=st.floats(24, 36), y=st.floats(17, 23))
def test_the_matrix_moves_what_is_seen(seed, x, y):
    view = StrongAugment(Pixels(), patches=(0, 0))
    with patch.dict(COLORS, {"identity": COLORS["identity"]}, clear=True):
        second, warp = view(255 * spot(40, 60, x, y), torch.Generator().manual_seed(seed))
    assert second.shape == (3, 40, 60) and second.dtype == warp.dtype == torch.float32
    torch.testing.assert_close(center_of(second), warp_points(torch.tensor([[x, y]]), warp)[0], atol=0.1, rtol=0)


def test_the_ranges_of_the_draws():
    view = StrongAugment(KEEP, translate=0.1, rotate=30, shear=20, patches=(0, 0))
    warps = [view(torch.zeros(3, 20, 30), torch.Generator().manual_seed(s))[1] for s in range(240)]
    assert 0.4 < sum(warp[:2, :2].det() < 0 for warp in warps) / 240 < 0.6
    ways, angles, shears = [], [], []
    for warp in warps:
        linear = warp[:2, :2] * torch.tensor([1.0 if warp[:2, :2].det() > 0 else -1.0, 1.0])  # less the mirror
        way = warp_points(torch.tensor([[15.0, 10.0]]), warp)[0] - torch.tensor([15.0, 10.0])
        if torch.equal(linear, torch.eye(2)):
            assert not way.all()  # in x or in y
            ways.append(way)
        elif torch.allclose(linear @ linear.T, torch.eye(2), atol=1e-5):
            angles.append(math.degrees(math.atan2(linear[1, 0], linear[0, 0])))
        else:
            shears.append(math.degrees(math.atan(linear[0, 1])))
            assert linear[0, 0].item() == pytest.approx(1)
        assert linear.det().item() == pytest.approx(1, abs=1e-5)
    assert min(len(ways) / 2, len(angles), len(shears)) > 40
    far = torch.stack(ways).abs().amax(0)
    assert 2.7 < far[0] <= 3 + 1e-4 and 1.75 < far[1] <= 2 + 1e-4
    assert 26 < max(map(abs, angles)) <= 30.001 and 17 < max(map(abs, shears)) <= 20.001


@pytest.mark.parametrize("preprocess", [KEEP, SSD])
def test_without_place_only_colors_change(preprocess):
    image = torch.randint(40, 200, (3, 40, 40), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    shown, views = preprocess(image), []
    for seed in range(60):
        second, warp = StrongAugment(preprocess, **STILL)(shown, torch.Generator().manual_seed(seed))
        assert torch.equal(warp, torch.eye(3))
        views.append(preprocess.pixels(second).round().to(torch.uint8))
    same = [torch.equal(view, image) for view in views]
    assert 0 < sum(same) < 25 and len({tuple(view.flatten().tolist()) for view in views}) > 20


@pytest.mark.parametrize("level", [1, 9])
def test_colors_by_hand(level):
    image = torch.tensor([[[10, 200]], [[60, 120]], [[250, 30]]], dtype=torch.uint8)
    made = {name: change(image, level) for name, change in COLORS.items()}
    assert len(made) == 9 and all(each.dtype == torch.uint8 and each.shape == image.shape for each in made.values())
    factor, threshold, bits = {1: (0.28, 25, 4), 9: (1.72, 230, 1)}[level]
    assert torch.equal(made["identity"], image)
    torch.testing.assert_close(made["brightness"].float(), (image * factor).clamp(max=255).floor(), atol=1, rtol=0)
    assert torch.equal(made["solarize"], torch.where(image >= threshold, 255 - image, image))
    assert torch.equal(made["posterize"], image // 2 ** (8 - bits) * 2 ** (8 - bits))
    gray = image.float().mul(torch.tensor([0.2989, 0.587, 0.114]).view(3, 1, 1)).sum(0).floor()
    blended = (factor * image + (1 - factor) * gray).clamp(0, 255)
    torch.testing.assert_close(made["saturation"].float(), blended, atol=1, rtol=0)


def test_patches_are_erased_to_the_mean_pixel():
    image = torch.ones(3, 40, 60)
    shares = []
    for seed in range(40):
        view = StrongAugment(Pixels(), **STILL | {"patches": (1, 5), "patch_size": (0.1, 0.2)})
        erased = view(image, torch.Generator().manual_seed(seed)).image[0] == 0
        whole = StrongAugment(Pixels(), **STILL)(image, torch.Generator().manual_seed(seed)).image[0] == 0
        if not whole.any():  # some colors make all of it black
            shares.append(erased.float().mean().item())
    assert len(shares) > 20 and min(shares) > 0.009 and 0.04 < max(shares) <= 5 * 0.04


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"flip": 1.5}, r"flip must be in \[0, 1\]"),
        ({"translate": 1}, r"translate must be in \[0, 1\), got 1"),
        ({"rotate": -1}, r"rotate must be in \[0, 180\), got -1"),
        ({"shear": 90}, r"shear must be in \[0, 90\), got 90"),
        ({"patches": [3, 1]}, "patches must be two numbers 0 <= fewest <= most"),
        ({"patch_size": [0.2, 1.2]}, "patch_size must be two shares"),
    ],
)
def test_settings_are_checked(options, message):
    with pytest.raises(ConfigError, match=message):
        StrongAugment(KEEP, **options)


# --- in batches


def adds(number):
    return lambda first, generator: SecondView(first + number, torch.eye(3))


def test_images_with_targets_have_a_view_of_their_own():
    data = module(labeled_fraction="random", pair=adds(1), labeled_pair=adds(2))
    _, lookup = data.take_targets()
    pool = Pool.create(NUM_TRAIN, torch.tensor([4, 5, 7, 8]), data.excluded)
    seen = set()
    for batch in data.with_pool(pool, lookup[pool.labeled], pseudo_of([2, 9])).train_dataloader():
        for first, second, has_targets in zip(batch.images, batch.second, batch.has_targets.tolist(), strict=True):
            torch.testing.assert_close(second, first + (2 if has_targets else 1))
            seen.add(has_targets)
    assert seen == {True, False}


def test_a_view_for_labeled_images_alone_is_refused():
    with pytest.raises(ConfigError, match=r"data\.pair must be given beside data\.labeled_pair"):
        SceneDataModule(Source(), noise, resize, batch_size=4, seed=0, labeled_pair=adds(1))
