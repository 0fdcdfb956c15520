"""Views by passes in training mode: BALD as the released code of thesis ch. 4 has it."""

from functools import partial

import pytest
import torch
import torch.nn.functional as F
from command import TINY, alpl

from alpl.data.augment import Normalize, PadCrop
from alpl.data.batch import Batch
from alpl.data.datamodule import ImageDataModule
from alpl.data.digits import Digits
from alpl.errors import ConfigError
from alpl.modules.classifier import Classifier
from alpl.networks.classification import ClassificationNetwork
from alpl.networks.small_cnn import SmallCnn
from alpl.predictions import Need


def classifier(**options):
    torch.manual_seed(0)
    network = partial(ClassificationNetwork, partial(SmallCnn, widths=(4, 8)))
    return Classifier(network, 5, 2, optimizer=partial(torch.optim.SGD, lr=0.1), **options)


def drawable(number=6):
    images = torch.randn(number, 2, 8, 8, generator=torch.Generator().manual_seed(9))
    none = torch.zeros(number, dtype=torch.bool)
    redraw = lambda: images + torch.rand(number, 1, 1, 1)  # noqa: E731  (a field of the batch)
    return Batch(images, torch.arange(number), none, none[:0].long(), True, redraw=redraw)


def by_hand(network, images):
    """The small network with the statistics of the batch, its layers one after the other."""
    for layer in network.backbone.modules():
        if isinstance(layer, torch.nn.BatchNorm2d):
            layer.running_var.fill_(torch.nan)  # whoever reads it sees it
    return network.train()(images)[0].softmax(1)


def test_each_pass_has_the_statistics_of_its_own_batch_and_new_images():
    module, batch = classifier(views="training", num_passes=3).eval(), drawable()
    before = {name: value.clone() for name, value in module.state_dict().items()}
    with torch.inference_mode():
        torch.manual_seed(4)
        found = module.predict_batch(batch, Need.POSTERIOR | Need.VIEWS)
    assert not any(part.training for part in module.modules())
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())
    with torch.no_grad():
        torch.testing.assert_close(found.posterior.probs, module.network(batch.images)[0].softmax(1))
        torch.manual_seed(4)
        expected = torch.stack([by_hand(module.network, batch.redraw()) for _ in range(3)])
    assert expected.isfinite().all() and found.views.probs.shape == (3, 6, 5)
    torch.testing.assert_close(found.views.probs, expected)
    assert not torch.equal(expected[0], expected[1])


def test_a_frozen_backbone_passes_as_it_is_trained_on():
    module, batch = classifier(views="training", num_passes=2, frozen=True).eval(), drawable()
    batch = batch._replace(redraw=lambda: batch.images)
    with torch.inference_mode():
        found = module.predict_batch(batch, Need.POSTERIOR | Need.VIEWS)
    torch.testing.assert_close(found.views.probs, found.posterior.probs.expand(2, -1, -1))


def test_one_image_alone_has_no_statistics():
    module, batch = classifier(views="training", num_passes=2).eval(), drawable(1)
    with torch.no_grad():
        torch.manual_seed(4)
        found = module.predict_batch(batch, Need.VIEWS).views.probs
        torch.manual_seed(4)
        expected = torch.stack([F.softmax(module.network(batch.redraw())[0], 1) for _ in range(2)])
    torch.testing.assert_close(found, expected)


def test_views_are_there_without_dropout():
    assert Need.VIEWS in classifier(views="training").provides and Need.VIEWS not in classifier().provides
    with pytest.raises(ConfigError, match=r"model\.views must be dropout or training, got 'train'"):
        classifier(views="train")


@pytest.mark.parametrize("shown", ["evaluation", "training"])
def test_the_pool_must_be_shown_as_in_training(shown):
    data = ImageDataModule(Digits, Normalize([0.5], [0.5]), [PadCrop(1)], batch_size=4, seed=0, pool_transform=shown)
    if shown == "training":
        classifier(views="training").check_data(data)
    else:
        classifier().check_data(data)
        with pytest.raises(ConfigError, match=r"data\.pool_transform must be training where model\.views is"):
            classifier(views="training").check_data(data)


def test_the_data_module_draws_anew():
    data = ImageDataModule(
        Digits, Normalize([0.0], [1.0]), [PadCrop(2)], batch_size=4, seed=0, pool_transform="training"
    )
    data.setup()
    loader = data.observing(torch.arange(8)).predict_dataloader()
    raw = next(iter(loader))
    torch.manual_seed(1)
    shown = data.on_after_batch_transfer(raw, 0)
    again = shown.redraw()
    torch.manual_seed(1)
    assert torch.equal(shown.images, data.normalize(PadCrop(2)(raw.images)))
    assert torch.equal(again, data.normalize(PadCrop(2)(raw.images))) and not torch.equal(again, shown.images)
    plain = data.on_after_batch_transfer(next(iter(data.observing(torch.arange(8), "test").predict_dataloader())), 0)
    assert plain.redraw is None


@pytest.mark.slow
def test_a_run_as_released(tmp_path):
    overrides = [*TINY, "data=digits", "method=bald_as_released", "model.network.dropout=0"]
    crops = "data.augment=[{_target_: alpl.data.augment.PadCrop, padding: 1}]"
    result = alpl(tmp_path, *overrides, crops)
    assert result.status == 0, result.err
    one = (result.run_folder() / "cycle_00" / "query.csv").read_text()
    assert (alpl(tmp_path / "again", *overrides, crops).run_folder() / "cycle_00" / "query.csv").read_text() == one
    refused = alpl(tmp_path, *overrides, "data.pool_transform=evaluation")
    assert refused.status == 2 and "data.pool_transform must be training" in refused.err
