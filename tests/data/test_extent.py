"""Objects without extent in the network's input are trained on by no detector, and that is said."""

import logging

import pytest
import torch

from alpl.boxes.objects import AbstractDetectionImages, AbstractDetectionSource, DetectionSplits, Objects
from alpl.data.keep_ratio import KeepRatioAugmentation, KeepRatioResize
from alpl.data.scene_batches import PartlyLabeledScenes, Place
from alpl.data.scenes import SceneDataModule
from alpl.data.ssd_augment import PhotometricAugmentation, SsdAugmentation, SsdPreprocess
from alpl.pool import Pool

HEIGHT, WIDTH = 216, 384
BOXES = torch.tensor([[100.0, 60, 180, 150], [256, 60, 256.0001220703125, 100], [30, 80, 60, 80.01]])
OBJECTS = Objects(BOXES, torch.tensor([0, 1, 2]), torch.zeros(3, dtype=torch.bool))


class Noise(AbstractDetectionImages):
    names = ("wide.png", "other.png")
    sizes = torch.tensor([[HEIGHT, WIDTH]] * 2)

    def __getitem__(self, index):
        return torch.randint(256, (3, HEIGHT, WIDTH), generator=torch.Generator().manual_seed(index), dtype=torch.uint8)


class Source(AbstractDetectionSource):
    def load(self):
        return DetectionSplits(Noise(), (OBJECTS, OBJECTS[:0]), Noise(), (OBJECTS, OBJECTS), ("a", "b", "c"))


@pytest.mark.parametrize("has_pseudo", [False, True], ids=["labeled", "pseudo-labeled"])
@pytest.mark.parametrize(
    "augment",
    [SsdAugmentation(96), SsdAugmentation(96, crop="as_released"), PhotometricAugmentation(96),
     KeepRatioAugmentation(96, 160)],
    ids=["ssd", "ssd as released", "photometric", "keep ratio"],
)  # fmt: skip
def test_whatever_the_augmentation_boxes_have_extent(augment, has_pseudo):
    one = {0: OBJECTS}
    scenes = PartlyLabeledScenes(Noise(), {} if has_pseudo else one, one if has_pseudo else None, augment)
    seen = [scenes[Place(torch.tensor([0]), seed)].targets for seed in range(8)]
    boxes = torch.cat([targets.boxes for targets in seen])
    assert ((boxes[:, 2:] - boxes[:, :2]) >= 0.1).all()
    assert len(boxes) > 1 and torch.cat([targets.labels for targets in seen]).unique().tolist() == [0]


@pytest.mark.parametrize(
    ("box", "expected"),
    [
        ([0, 0, 0.5, 0.5], True),
        ([0, 0, 0.05, 9], False),
        ([0, 0, 9, 0.05], False),
        ([5, 5, 4, 9], False),
        ([0, 0, float("nan"), 9], False),
    ],
)
def test_which_objects_have_extent(box, expected):
    objects = Objects(torch.tensor([box], dtype=torch.float32), torch.tensor([0]), torch.tensor([False]))
    assert objects.extended.tolist() == [expected]


@pytest.mark.parametrize(("labeled", "is_told"), [(0, True), (1, False)])
@pytest.mark.parametrize("resize", [SsdPreprocess(96), KeepRatioResize(96, 160)], ids=["ssd", "keep ratio"])
def test_the_warning_names_the_images(resize, labeled, is_told, caplog):
    data = SceneDataModule(Source(), PhotometricAugmentation(96), resize, batch_size=2, seed=0)
    data.setup()
    _, lookup = data.take_targets()
    pool = Pool.create(2, torch.tensor([labeled]))
    view = data.with_pool(pool, lookup[pool.labeled])
    with caplog.at_level(logging.WARNING, "alpl"):
        view.train_dataloader()
    told = [record.getMessage() for record in caplog.records]
    assert [text.split(" labeled")[0] for text in told] == (["2"] if is_told else [])
    assert all(text.endswith("not trained on: of wide.png") for text in told)
