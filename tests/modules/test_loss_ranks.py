"""Losses predicted beside every network: what is ranked, what of a batch counts, and whom the gradient reaches."""

from functools import partial
from types import SimpleNamespace

import pytest
import torch
from modules.test_classifier import EVERYTHING, SMALL, FlatBackbone, _batch, _module
from modules.test_dense import fcos, retinanet
from modules.test_faster_rcnn import detector as faster_rcnn
from padded_scenes import batch_of, images_of, objects_of
from torch.nn.functional import cross_entropy

from alpl.errors import ConfigError
from alpl.losses.loss_ranking import ranking_loss
from alpl.machine.files import write_tensors
from alpl.modules.padding import pooled_maps
from alpl.networks.backbones import cifar_resnet
from alpl.networks.faster_rcnn import FasterRcnn
from alpl.networks.loss_prediction import LossPrediction
from alpl.predictions import Need

DETECTORS = {"retinanet": retinanet, "fcos": fcos, "faster_rcnn": faster_rcnn}
EACH = pytest.mark.parametrize("kind", DETECTORS)
LABELED = [True, False, True, False, True]
PSEUDO = torch.tensor([False, True, False, False, False])  # the images with targets are 0, 1, 2 and 4


def made(kind, share=0.25, **options):
    module = DETECTORS[kind](loss_prediction=partial(LossPrediction, width=8, **options)).eval()
    return in_a_fit(module, share)


def in_a_fit(module, share=0.25):
    """A share of it is done, and nobody listens."""
    module.log = lambda *arguments, **options: None
    module._trainer = SimpleNamespace(global_step=int(40 * share), estimated_stepping_batches=40)
    return module


def padded(labeled=LABELED, pseudo=PSEUDO):
    images = images_of([(96, 90), (60, 96), (96, 96), (50, 50), (96, 70)])
    objects = [objects_of(number, number, 60, 60, most=20) for number in (3, 2, 1, 4)]
    return batch_of(images, labeled, objects, pseudo, resize=lambda image: image.float() / 255 - 0.5)


def gradients(module, loss):
    module.zero_grad(set_to_none=True)
    loss.backward()
    return [p.grad.clone() if p.grad is not None else None for p in module.network.parameters()]


# --- detectors


@EACH
def test_the_ranking_loss_of_a_detector_is_that_of_its_labeled_images(kind):
    module, given = made(kind, weight=0.5, margin=3.0), padded()
    chosen = given.has_targets
    torch.manual_seed(3)
    found = module.losses_of(given.images[chosen], given.shapes[chosen], [given.targets.of(n) for n in range(4)])
    maps = list(module.network.backbone(given.images).values())
    predicted = module.loss_prediction(pooled_maps(maps, given))
    expected = ranking_loss(predicted[[0, 2]], found.per_image[[0, 2]], 3.0)  # image 4 is odd, 1 is pseudo-labeled
    torch.manual_seed(3)
    loss = module.training_step(given, 0)["loss"]
    torch.testing.assert_close(loss, sum(found.parts.values()) + 0.5 * expected)
    assert expected > 0 and module.means["ranking_loss"].compute() == pytest.approx(expected.item())


@EACH
@pytest.mark.parametrize(("share", "reaches"), [(0.5, True), (0.75, False)])
def test_the_gradient_reaches_a_detector_until_it_is_detached(kind, share, reaches):
    module, given = made(kind, share), padded()
    torch.manual_seed(3)
    ranked = gradients(module, module.training_step(given, 0)["loss"])
    assert all(p.grad is not None for p in module.loss_prediction.parameters())
    prediction, module.loss_prediction = module.loss_prediction, None
    torch.manual_seed(3)
    plain = gradients(module, module.training_step(given, 0)["loss"])
    pairs = [(a, b) for a, b in zip(ranked, plain, strict=True) if b is not None]
    assert prediction is not None and reaches != all(torch.allclose(a, b, 1e-4, 1e-6) for a, b in pairs)


@EACH
def test_a_batch_without_a_pair_has_a_zero_ranking_loss(kind):
    for labeled, pseudo in (([False] * 5, torch.tensor([True, True, True, False, True])), ([False] * 5, None)):
        module, given = made(kind), padded(labeled, pseudo)
        module.training_step(given, 0)["loss"].backward()
        assert all(p.grad is not None and not p.grad.any() for p in module.loss_prediction.parameters())


@EACH
@torch.no_grad()
def test_what_is_predicted_of_an_image_is_of_its_content(kind):
    module, given = made(kind), padded()
    found = module.predict_batch(given, Need.PREDICTED_LOSS)
    maps = list(module.network.backbone(given.images).values())
    for image, (height, width) in enumerate(given.shapes.tolist()):
        hidden = []
        for branch, map_ in zip(module.loss_prediction.branches, maps, strict=True):
            high, wide = (-(-side * map_.shape[2] // given.images.shape[2]) for side in (height, width))
            hidden.append(branch(map_[image, :, :high, :wide].mean((1, 2))).relu())
        expected = module.loss_prediction.head(torch.cat(hidden)).item()
        assert found.predicted_loss[image].item() == pytest.approx(expected, abs=1e-5)
    assert Need.PREDICTED_LOSS in module.provides and Need.PREDICTED_LOSS not in DETECTORS[kind]().provides
    assert module.predict_batch(given, Need.POSTERIOR).predicted_loss is None


@torch.no_grad()
def test_each_image_has_the_loss_of_a_faster_rcnn_that_it_has_alone():
    module, given = made("faster_rcnn"), padded()
    network: FasterRcnn = module.network
    for sampler in (network.rpn.fg_bg_sampler, network.roi_heads.fg_bg_sampler):
        sampler.batch_size_per_image = 10**6  # all of them: nothing is drawn
    chosen = given.has_targets
    images, sizes, objects = given.images[chosen], given.shapes[chosen], [given.targets.of(n) for n in range(4)]
    per_image = module.losses_of(images, sizes, objects).per_image
    for n in range(4):
        alone = module.losses_of(images[[n]], sizes[[n]], objects[n : n + 1])
        torch.testing.assert_close(per_image[n], sum(alone.parts.values()), rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(alone.per_image[0], per_image[n])


# --- classifiers


def classifier(share=0.25, backbone=SMALL, **options):
    return in_a_fit(_module(backbone=backbone, loss_prediction=partial(LossPrediction, width=8, **options)), share)


def maps_of(module, images):
    """Of SmallCnn: what its last layer of each stage gives, walked layer by layer."""
    maps, ends = [], [int(name.removeprefix("layers.")) for name in module.network.stages]
    for place, layer in enumerate(module.network.backbone.layers):
        images = layer(images)
        maps += [images] if place in ends else []
    return maps


def test_the_loss_of_a_classifier_is_cross_entropy_and_ranking_loss_of_its_labeled_images():
    module = classifier(weight=0.5, margin=2.0).eval()
    given = _batch(labeled=(1, 0, 1, 1, 0, 0), targets=(4, 0, 2, 1))._replace(
        pseudo=torch.tensor([False, True, False, False, False, False])
    )
    images = given.images[:4]
    each = cross_entropy(module.network(images)[0], given.targets, reduction="none")
    predicted = module.loss_prediction(maps_of(module, images))
    expected = ranking_loss(predicted[[0, 2]], each[[0, 2]], 2.0)  # image 3 is odd, 1 is pseudo-labeled
    torch.testing.assert_close(module.training_step(given, 0), each.mean() + 0.5 * expected)
    assert expected > 0


@pytest.mark.parametrize(("share", "reaches"), [(0.5, True), (0.75, False)])
def test_the_gradient_reaches_a_classifier_until_it_is_detached(share, reaches):
    module, given = classifier(share).eval(), _batch()
    ranked = gradients(module, module.training_step(given, 0))
    assert all(p.grad is not None for p in module.loss_prediction.parameters())
    module.loss_prediction = None
    pairs = zip(ranked, gradients(module, module.training_step(given, 0)), strict=True)
    assert reaches != all(torch.allclose(a, b, 1e-4, 1e-6) for a, b in pairs)


def test_a_classifier_predicts_the_losses_of_a_batch():
    module, given = classifier().eval(), _batch()
    with torch.no_grad():
        found = module.predict_batch(given, EVERYTHING | Need.PREDICTED_LOSS)
        torch.testing.assert_close(found.predicted_loss, module.loss_prediction(maps_of(module, given.images)))
        plain = _module().eval().predict_batch(given, EVERYTHING)
    assert torch.equal(found.posterior.probs, plain.posterior.probs)  # the module changes no weight of the network
    assert plain.predicted_loss is None and Need.PREDICTED_LOSS in module.provides


def test_one_image_and_none_have_a_zero_ranking_loss():
    for labeled, targets in (((1, 0, 0), (4,)), ((0, 0, 0), ())):
        module = classifier().eval()
        module.training_step(_batch(labeled, targets), 0).backward()
        assert all(p.grad is not None and not p.grad.any() for p in module.loss_prediction.parameters())


def test_a_resnet_shows_its_four_stages():
    torch.manual_seed(0)
    module = in_a_fit(_module(backbone=cifar_resnet, loss_prediction=LossPrediction)).eval()
    assert list(module.network.stages.values()) == [64, 128, 256, 512]
    body, images = module.network.backbone, _batch().images
    with torch.no_grad():
        *_, maps = module.network.with_maps(images)
        expected = [body.layer1(body.relu(body.bn1(body.conv1(images))))]
        expected += [body.layer2(expected[0])]
    assert all(torch.equal(one, other) for one, other in zip(maps[:2], expected, strict=True))
    assert [map_.shape[1:] for map_ in maps] == [(64, 8, 8), (128, 4, 4), (256, 2, 2), (512, 1, 1)]
    assert not any(layer._forward_hooks for layer in body.modules())
    assert list(cifar_resnet(3, depth=50).stages.values()) == [256, 512, 1024, 2048]


def test_a_backbone_without_stages_cannot():
    with pytest.raises(ConfigError, match=r"model\.loss_prediction needs a backbone that names its stages.*FlatBackb"):
        _module(backbone=FlatBackbone, loss_prediction=LossPrediction)


def test_weights_of_such_a_module_start_a_network(tmp_path):
    first = classifier()
    write_tensors(tmp_path / "model.pt", first.state_dict())
    second = _module(seed=1, weights=str(tmp_path / "model.pt"))
    assert torch.equal(second.network.head.weight, first.network.head.weight)
