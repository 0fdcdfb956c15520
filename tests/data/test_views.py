"""Other views of small images: two at once, other pixels, cut out after a resize."""

import pytest
import torch
import torch.nn.functional as F
from lightning.pytorch import LightningModule
from test_datamodule import NUM_IMAGES, Tiles, _data, _quiet_trainer, _view, normalize
from torchvision.transforms.v2 import CenterCrop, Resize

from alpl.data.augment import HorizontalFlip, Normalize
from alpl.data.datamodule import ImageDataModule
from alpl.data.views import ResizeCrop, TwoViews
from alpl.errors import ConfigError


def noise(images):
    return images + torch.randint(100, (len(images), 1, 1, 1), dtype=torch.uint8)


def test_two_views_are_drawn_independently_and_fixed_by_the_seed():
    images = torch.zeros(50, 3, 4, 4, dtype=torch.uint8)
    views = TwoViews([noise])
    torch.manual_seed(3)
    both = views(images)
    assert both.shape == (50, 2, 3, 4, 4) and both.dtype == torch.uint8
    assert (both[:, 0] != both[:, 1]).flatten(1).all(1).float().mean() > 0.9
    torch.manual_seed(3)
    assert torch.equal(views(images), both)
    torch.manual_seed(3)
    assert torch.equal(torch.stack([noise(images), noise(images)], 1), both)  # one after the other


def test_two_views_need_a_transform():
    with pytest.raises(ConfigError, match="augment must hold a transform"):
        TwoViews([])


def test_resize_and_crop_are_torchvision_s():
    images = torch.randint(256, (5, 3, 32, 40), dtype=torch.uint8)
    expected = CenterCrop(32)(Resize(36, antialias=True)(images))
    assert torch.equal(ResizeCrop(36, 32)(images), expected) and expected.shape == (5, 3, 32, 32)
    with pytest.raises(ConfigError, match=r"crop must be in 1 to resize \(30\), got 32"):
        ResizeCrop(30, 32)


# --- copies of a data module


def test_a_viewed_copy_shows_the_same_labels_otherwise():
    view, targets = _view([3, 8, 41, 50], augment=[noise])
    raw = view.viewed(augment=[HorizontalFlip()], normalize=Normalize([0.0], [1.0]), batch_size=4, labeled_fraction=0.5)
    assert raw.pool is view.pool and (view.batch_size, view.labeled_fraction) == (8, 1.0)
    for batch in raw.train_dataloader():
        assert len(batch.index) == 4 and int(batch.labeled.sum()) == 2
        assert torch.equal(batch.targets, targets[batch.index[batch.labeled]])  # and of no other image
        shown = raw.on_after_batch_transfer(batch, 0).images
        torch.testing.assert_close(shown, batch.index.view(-1, 1, 1, 1).expand(-1, 1, 3, 3) / 255)
    same = view.viewed()
    assert (same.augment, same.normalize, same.batch_size) == (view.augment, view.normalize, view.batch_size)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batch_size": 0}, r"data\.batch_size must be an int >= 1, got 0"),
        ({"batch_size": 2, "labeled_fraction": 0.1}, r"data\.labeled_fraction must leave room"),
        ({"augment": [TwoViews([noise]), noise]}, "TwoViews as its last transform"),
    ],
)
def test_a_viewed_copy_is_checked(options, message):
    view, _ = _view([3, 8])
    with pytest.raises(ConfigError, match=message):
        view.viewed(**options)


class TwoViewConsistency(LightningModule):
    """Cross-entropy of labeled images in both views, and the distance of the two views of every image."""

    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(9, 4)
        self.shapes = []

    def training_step(self, batch, batch_idx):
        self.shapes.append((tuple(batch.images.shape), len(batch.targets), batch.images.dtype))
        logits = self.layer(batch.images.flatten(0, 1).flatten(1)).unflatten(0, (-1, 2))
        supervised = F.cross_entropy(logits[batch.labeled].flatten(0, 1), batch.targets.repeat_interleave(2))
        return supervised + (logits[:, 0] - logits[:, 1]).square().mean()

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_a_module_trains_on_two_views(tmp_path):
    view, _ = _view([3, 8, 41])
    module = TwoViewConsistency()
    start = module.layer.weight.clone()
    two = view.viewed(augment=[TwoViews([noise, HorizontalFlip()])], batch_size=6, labeled_fraction=0.5)
    _quiet_trainer(tmp_path, "cpu").fit(module, datamodule=two)
    assert set(module.shapes) == {((6, 2, 1, 3, 3), 3, torch.float32)}
    assert not torch.equal(module.layer.weight, start) and torch.isfinite(module.layer.weight).all()


# --- how the pool and the test are shown


def _shown(view, loader):
    return torch.cat([view.on_after_batch_transfer(batch, 0).images for batch in loader])


def test_the_pool_is_predicted_as_evaluation_shows_it_or_as_training_does():
    index = torch.arange(20, 40)
    images = Tiles().load().train.images[index]
    for kind, expected in (("evaluation", images), ("training", images + 100)):
        view, _ = _view([3, 8], augment=[lambda images: images + 100], pool_transform=kind)
        view = view.observing(index)
        batches = list(view.predict_dataloader())
        assert not any(len(batch.targets) or batch.labeled.any() for batch in batches)
        torch.testing.assert_close(_shown(view, batches), normalize(expected))
        # tracking, test and labeled images are always shown as in evaluation
        for loader in (view.tracking_dataloader(), view.test_dataloader(), view.labeled_dataloader()):
            raw = torch.cat([batch.images for batch in loader])
            torch.testing.assert_close(_shown(view, loader), normalize(raw))


def test_evaluation_has_a_transform_of_its_own():
    view, _ = _view([3, 8], evaluation_transform=[ResizeCrop(3, 1)], augment=[noise])
    assert _shown(view, view.test_dataloader()).shape[1:] == (1, 1, 1)
    assert _shown(view, view.train_dataloader()).shape[1:] == (1, 3, 3)


def test_pool_transform_is_checked():
    with pytest.raises(ConfigError, match=r"data\.pool_transform must be 'evaluation' or 'training', got 'train'"):
        _data(pool_transform="train")
    with pytest.raises(ConfigError, match="two views"):
        ImageDataModule(Tiles, normalize, [TwoViews([noise])], batch_size=NUM_IMAGES, seed=0, pool_transform="training")
