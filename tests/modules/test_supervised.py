"""The training step that detectors share: who is asked about what, and what is logged."""

from functools import partial

import pytest
import torch
from padded_scenes import batch_of, images_of, objects_of

from alpl.errors import ConfigError
from alpl.losses.positives import Losses
from alpl.metrics.voc_ap import VOCAveragePrecision
from alpl.modules.detector import Suppression
from alpl.modules.supervised import AbstractSupervisedDetector
from alpl.modules.training_means import TrainingMeans
from alpl.predictions import Need


class Detector(AbstractSupervisedDetector):
    """Its losses are a weight by the mean pixel and by the number of objects."""

    loss_names = {"theirs_a": "pixels_loss", "theirs_b": "objects_loss"}  # noqa: RUF012
    provides = Need.NOTHING

    def __init__(self, **options):
        suppression = Suppression()
        options |= {"metric": VOCAveragePrecision, "evaluation": suppression, "acquisition": suppression}
        super().__init__(num_classes=3, optimizer=partial(torch.optim.SGD, lr=0.1), **options)
        self.weight, self.unused = (torch.nn.Parameter(torch.tensor(value)) for value in (2.0, 5.0))
        self.seen, self.logged = [], []

    def losses_of(self, images, sizes, objects):
        self.seen.append((images, sizes, objects))
        number = sum(len(each) for each in objects)
        return Losses({"theirs_b": self.weight * number, "theirs_a": self.weight * images.mean()}, None, None)

    def log(self, name, value, **options):
        assert options == {"on_step": False, "on_epoch": True}
        self.logged.append((name, value))

    def detect(self, batch, suppression, needs):
        raise NotImplementedError

    @classmethod
    def ensemble(cls, members):
        raise NotImplementedError


PSEUDO = torch.tensor([False, False, False, True])


def test_the_images_with_targets_are_asked_about_with_their_sizes_and_objects():
    module, objects = Detector(), [objects_of(2, 0), objects_of(3, 1)]
    batch = batch_of(images_of(), [False, True, False, False], objects, PSEUDO)
    loss = module.training_step(batch, 0)["loss"]
    ((images, sizes, seen),) = module.seen
    assert torch.equal(images, batch.images[[1, 3]]) and torch.equal(sizes, batch.shapes[[1, 3]])
    assert sizes.tolist() == [[200, 66], [90, 200]]  # of a padded input of 224 x 224
    for one, other in zip(seen, objects, strict=True):
        assert torch.equal(one.boxes, other.boxes) and torch.equal(one.labels, other.labels)
    torch.testing.assert_close(loss, 2 * images.mean() + 2 * 5)
    loss.backward()
    torch.testing.assert_close(module.weight.grad, images.mean() + 5)


def test_images_that_fill_the_input_have_its_size():
    module = Detector()
    batch = batch_of(images_of([(96, 64)] * 2), objects=[objects_of(1, 0)] * 2, resize=lambda image: image / 255)
    assert batch.shapes is None
    module.training_step(batch, 0)
    assert module.seen[0][1].tolist() == [[96, 64]] * 2


def test_the_means_of_the_losses_are_logged_in_every_step():
    """Also in a step without a target: Lightning counts the steps of all processes."""
    module = Detector()
    batches = [batch_of(images_of(), objects=[objects_of(number, 0)] * 4) for number in (1, 3)]
    batches.insert(1, batch_of(images_of(), [False] * 4))
    losses = [module.training_step(batch, 0)["loss"] for batch in batches]
    assert [name for name, _ in module.logged] == ["train/pixels_loss", "train/objects_loss"] * 3
    assert all(value is module.means[name.removeprefix("train/")] for name, value in module.logged)
    assert module.means["objects_loss"].compute() == (2 * 4 + 2 * 12) / 2
    pixels = sum(2 * float(batch.images.mean()) for batch in batches[::2]) / 2
    assert float(module.means["pixels_loss"].compute()) == pytest.approx(pixels, rel=1e-5)
    losses[1].backward()
    assert losses[1] == 0 and module.weight.grad == module.unused.grad == 0 and len(module.seen) == 2


def test_means_may_be_left_out_of_the_log():
    means, logged = TrainingMeans(["a", "b"]), []
    for value in (1.0, 4.0):
        means.note("a", torch.tensor(value))
    assert means["a"].compute() == 2.5
    module = Detector()
    module.log = lambda name, value, **options: logged.append(name)
    means.log(module, but=["a"])
    assert logged == ["train/b"]
    assert not means.state_dict()  # a model's file holds weights alone
    with pytest.raises(KeyError):
        means.note("c", torch.tensor(0.0))


def test_several_passes_are_asked_for():
    with pytest.raises(ConfigError, match=r"model\.num_passes must be >= 1, got 0"):
        Detector(num_passes=0)
    module, layers = Detector(num_passes=4).eval(), torch.nn.Sequential(torch.nn.Dropout(0.5), torch.nn.BatchNorm1d(8))
    layers.eval()
    values = torch.ones(16, 8)
    torch.manual_seed(0)
    found = module.dropout_passes(lambda: layers(values), layers)
    assert found.shape == (4, 16, 8) and not torch.equal(found[0], found[1])
    assert sorted(round(value, 3) for value in found.unique().tolist()) == [0.0, 2.0]  # batch norm is the identity
    assert not any(layer.training for layer in layers.modules())
