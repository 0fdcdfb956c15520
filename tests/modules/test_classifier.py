from functools import partial

import pytest
import torch
import torch.nn.functional as F
from lightning.pytorch import LightningModule, Trainer
from torch import nn

from alpl.data.augment import Normalize
from alpl.data.batch import Batch
from alpl.data.datamodule import ImageDataModule
from alpl.data.digits import Digits
from alpl.errors import ConfigError
from alpl.machine.files import write_tensors
from alpl.modules.base import no_loss
from alpl.modules.classifier import Classifier, dropouts
from alpl.networks.classification import ClassificationNetwork
from alpl.networks.small_cnn import SmallCnn
from alpl.pool import Pool
from alpl.predictions import Form, Need

SMALL = partial(SmallCnn, widths=(4, 8))
EVERYTHING = Need.POSTERIOR | Need.IMAGE_FEATURES | Need.VIEWS


class DroppingBackbone(nn.Module):
    """A backbone with batch norm and dropout of its own."""

    def __init__(self, in_channels):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(in_channels, 6, 3),
            nn.BatchNorm2d(6),
            nn.ReLU(),
            nn.Dropout2d(0.4),
            nn.Flatten(),
            nn.LazyLinear(8),
        )
        self.layers(torch.zeros(1, in_channels, 8, 8))
        self.num_features = 8

    def forward(self, images):
        return self.layers(images)


class FlatBackbone(nn.Sequential):
    """Pixels are features."""

    def __init__(self, in_channels):
        super().__init__(nn.Flatten())
        self.num_features = in_channels * 64


def _module(dropout=0.0, num_classes=5, backbone=SMALL, seed=0, **options):
    torch.manual_seed(seed)
    network = partial(ClassificationNetwork, backbone, dropout=dropout)
    module = Classifier(network, num_classes, 2, **{"optimizer": partial(torch.optim.SGD, lr=0.1), **options})
    module.log = lambda *args, **kwargs: None  # there is no trainer
    return module


def _batch(labeled=(1, 0, 1, 1, 0, 0), targets=(4, 0, 2), seed=9):
    labeled = torch.tensor(labeled, dtype=torch.bool)
    images = torch.randn(len(labeled), 2, 8, 8, generator=torch.Generator().manual_seed(seed))
    return Batch(images, torch.arange(len(labeled)) * 3, labeled, torch.tensor(targets, dtype=torch.long), False)


# --- training


class NormedBackbone(FlatBackbone):
    """Its batch norm is over images alone, as that of a network whose last map has one pixel."""

    def __init__(self, in_channels):
        super().__init__(in_channels)
        self.norm = nn.BatchNorm1d(self.num_features)

    def forward(self, images):
        return self.norm(super().forward(images))


def test_batch_norm_is_not_given_the_one_labeled_image_that_it_cannot_take():
    one, two, alone = _batch((0, 1, 0), (2,)), _batch((0, 1, 1), (2, 0)), _batch((1,), (2,))
    loss = _module(backbone=NormedBackbone).training_step(one, 0)
    loss.backward()  # under DDP every process must come to it
    assert loss == 0 and _module(backbone=NormedBackbone).training_step(two, 0) > 0
    with pytest.raises(ValueError, match="more than 1 value per channel"):  # a fit says what to do about it
        _module(backbone=NormedBackbone).training_step(alone, 0)
    for backbone in (SMALL, FlatBackbone):  # whose maps have more pixels, and which has no batch norm
        assert _module(backbone=backbone).training_step(one, 0) > 0


def test_the_loss_is_the_mean_cross_entropy_of_the_labeled_images():
    module, batch = _module().eval(), _batch()  # eval: batch norm then knows no neighbors
    probs = module.network(batch.images)[0].softmax(1)
    expected = -(probs[0, 4].log() + probs[2, 0].log() + probs[3, 2].log()) / 3
    torch.testing.assert_close(module.training_step(batch, 0), expected)


def test_unlabeled_images_do_not_touch_training():
    results = []
    for scale in (1.0, 100.0):
        module, batch = _module(), _batch()
        images = torch.where(batch.labeled.view(-1, 1, 1, 1), batch.images, batch.images * scale)
        module.training_step(batch._replace(images=images), 0).backward()
        results.append([p.grad for p in module.parameters()] + list(module.buffers()))
    assert all(torch.equal(one, other) for one, other in zip(*results, strict=True))


@pytest.mark.parametrize("size", [0, 4])
def test_a_batch_without_labels_gives_zero_loss_and_zero_gradients(size):
    module = _module(dropout=0.5)
    before = {name: value.clone() for name, value in module.state_dict().items()}
    loss = module.training_step(_batch([0] * size, []), 0)
    loss.backward()
    assert loss.item() == 0
    assert all(p.grad is not None and p.grad.eq(0).all() for p in module.parameters())
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())


def test_no_loss_leaves_frozen_parameters_alone():
    module = _module()
    module.network.head.requires_grad_(False)
    no_loss(module).backward()
    assert module.network.head.weight.grad is None
    assert all(p.grad is not None for p in module.network.backbone.parameters())


# --- prediction


def test_predictions_are_a_plain_forward_pass():
    module, batch = _module(dropout=0.5).eval(), _batch()
    with torch.no_grad():
        features = module.network.backbone(batch.images)
        probs = F.linear(features, module.network.head.weight, module.network.head.bias).softmax(1)
        found = module.predict_batch(batch, EVERYTHING)
    assert torch.equal(found.posterior.probs, probs) and found.posterior.form is Form.SOFTMAX
    assert torch.equal(found.image_features, features)
    assert torch.equal(found.labels, probs.argmax(1)) and torch.equal(found.scores, probs.amax(1))
    assert torch.equal(found.index, batch.index) and found.row.tolist() == [0, 1, 2, 3, 4, 5]


@pytest.mark.parametrize(
    ("needs", "given"),
    [
        (Need.NOTHING, []),
        (Need.POSTERIOR, ["posterior"]),
        (Need.IMAGE_FEATURES, ["image_features"]),
        (Need.VIEWS, ["views"]),
        (EVERYTHING | Need.LABELED | Need.HISTORY, ["posterior", "image_features", "views"]),
    ],
)
def test_nothing_is_given_that_was_not_asked_for(needs, given):
    found = _module(dropout=0.5).eval().predict_batch(_batch(), needs)
    assert [n for n in ("posterior", "image_features", "views") if getattr(found, n) is not None] == given
    assert found.labels is not None


@pytest.mark.parametrize(("dropout", "backbone", "views"), [
    (0.0, SMALL, False),
    (0.3, SMALL, True),
    (0.0, DroppingBackbone, True),
])  # fmt: skip
def test_views_are_provided_where_something_drops(dropout, backbone, views):
    module = _module(dropout=dropout, backbone=backbone)
    assert module.provides == Need.POSTERIOR | Need.LOGITS | Need.IMAGE_FEATURES | (
        Need.VIEWS if views else Need.NOTHING
    )
    assert len(dropouts(module.network)) == (dropout > 0) + (backbone is DroppingBackbone)


@pytest.mark.parametrize("backbone", [SMALL, DroppingBackbone])
def test_only_dropout_is_active_in_the_views(backbone):
    module, batch = _module(dropout=0.4, backbone=backbone, num_passes=3).eval(), _batch()
    before = {name: value.clone() for name, value in module.state_dict().items()}
    modes = []
    for layer in module.network.modules():
        layer.register_forward_pre_hook(lambda layer, inputs: modes.append((type(layer).__name__, layer.training)))
    with torch.no_grad():
        module.predict_batch(batch, Need.VIEWS)
    assert {name for name, training in modes if training} <= {"Dropout", "Dropout2d"}
    assert any(training for _, training in modes) and ("BatchNorm2d", False) in modes
    assert not any(layer.training for layer in module.modules())
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())


@pytest.mark.parametrize("backbone", [SMALL, DroppingBackbone])
def test_views_are_full_passes_with_dropout(backbone):
    """By construction: the same seed gives the same masks, with the backbone run again in every pass or not."""
    module, batch = _module(dropout=0.4, backbone=backbone, num_passes=4).eval(), _batch()
    with torch.no_grad():
        torch.manual_seed(3)
        found = module.predict_batch(batch, Need.VIEWS).views
        for layer in dropouts(module.network):
            layer.train()
        torch.manual_seed(3)
        expected = torch.stack([module.network(batch.images)[0].softmax(1) for _ in range(4)])
    assert found.form is Form.SOFTMAX and found.probs.shape == (4, 6, 5)
    torch.testing.assert_close(found.probs, expected)
    assert not torch.equal(found.probs[0], found.probs[1])


@pytest.mark.parametrize(("backbone", "passes"), [(SMALL, 1), (DroppingBackbone, 1 + 7)])
def test_dropout_in_the_head_alone_does_not_run_the_backbone_again(backbone, passes):
    module, calls = _module(dropout=0.4, backbone=backbone, num_passes=7).eval(), []
    module.network.backbone.register_forward_hook(lambda *args: calls.append(1))
    module.predict_batch(_batch(), Need.VIEWS)
    assert len(calls) == passes


@pytest.mark.slow
def test_the_views_of_a_linear_head_have_the_moments_of_dropout():
    """Logits under inverted dropout: mean w x, variance p / (1 - p) sum (w x)^2."""
    module, batch = _module(dropout=0.25, num_passes=20_000, num_classes=2).eval(), _batch()
    torch.manual_seed(0)
    with torch.no_grad():
        probs = module.predict_batch(batch, Need.VIEWS).views.probs.double()
        _, features = module.network(batch.images)
    margin = (probs[..., 0] / probs[..., 1]).log()
    weight = (module.network.head.weight[0] - module.network.head.weight[1]).double()
    products = features.double() * weight
    bias = module.network.head.bias[0] - module.network.head.bias[1]
    variance = products.square().sum(1) * 0.25 / 0.75
    error = (variance / 20_000).sqrt()
    assert ((margin.mean(0) - products.sum(1) - bias).abs() < 5 * error).all()
    torch.testing.assert_close(margin.var(0), variance, rtol=0.1, atol=1e-6)


def test_fewer_than_one_pass_is_refused():
    with pytest.raises(ConfigError, match=r"model\.num_passes must be >= 1, got 0"):
        _module(num_passes=0)


def test_an_unknown_interval_is_refused():
    with pytest.raises(ValueError, match="scheduler_interval must be 'epoch' or 'step', got 'batch'"):
        _module(scheduler_interval="batch")


# --- results


def test_results_are_accuracies_over_all_batches_since_the_last():
    module, batch = _module().eval(), _batch([1] * 6, [0] * 6)
    labels = module.predict_batch(batch, Need.NOTHING).labels
    targets = torch.where(torch.arange(6) < 2, labels, (labels + 1) % 5)
    for _ in range(2):  # the second time shows that the first was forgotten
        for part in (slice(0, 1), slice(1, 6)):
            module.test_step(Batch(batch.images[part], batch.index[part], batch.labeled[part], targets[part], False), 0)
        results = module.test_results()
        assert results["test/accuracy"] == pytest.approx(2 / 6)
        expected = [
            float((labels == targets)[targets == c].float().mean()) if (targets == c).any() else 0.0 for c in range(5)
        ]
        assert results["test/accuracy_per_class"] == pytest.approx(expected)


# --- weights


@pytest.mark.parametrize("whole", [True, False])
def test_weights_are_loaded_from_a_network_or_a_module(tmp_path, whole):
    source = _module(seed=1)
    write_tensors(tmp_path / "w.pt", source.state_dict() if whole else source.network.state_dict())
    loaded = _module(seed=2, weights=str(tmp_path / "w.pt"))
    for name, value in loaded.state_dict().items():
        assert torch.equal(value, source.state_dict()[name]), name
    assert not torch.equal(_module(seed=2).network.head.weight, source.network.head.weight)


def test_a_head_for_other_classes_is_left_out(tmp_path):
    source = _module(seed=1, num_classes=7)
    write_tensors(tmp_path / "w.pt", source.state_dict())
    loaded, fresh = _module(seed=2, weights=str(tmp_path / "w.pt")), _module(seed=2)
    for name, value in loaded.network.backbone.state_dict().items():
        assert torch.equal(value, source.network.backbone.state_dict()[name]), name
    assert torch.equal(loaded.network.head.weight, fresh.network.head.weight)
    assert torch.equal(loaded.network.head.bias, fresh.network.head.bias)


def test_weights_without_a_head_are_enough(tmp_path):
    state = {n: v for n, v in _module(seed=1).network.state_dict().items() if not n.startswith("head.")}
    write_tensors(tmp_path / "w.pt", state)
    loaded = _module(seed=2, weights=str(tmp_path / "w.pt"))
    assert torch.equal(loaded.network.backbone.layers[0].weight, state["backbone.layers.0.weight"])


@pytest.mark.parametrize("change", ["missing", "unknown", "shape"])
def test_every_other_difference_is_an_error(tmp_path, change):
    state = _module(seed=1).network.state_dict()
    if change == "missing":
        del state["backbone.layers.0.weight"]
    elif change == "unknown":
        state["backbone.layers.99.weight"] = torch.zeros(1)
    else:
        state["backbone.layers.0.weight"] = torch.zeros(4, 3, 3, 3)
    write_tensors(tmp_path / "w.pt", state)
    with pytest.raises(
        ConfigError, match=r"model\.weights must fit .*w\.pt differs in 1 tensors: \['backbone\.layers\."
    ):
        _module(weights=str(tmp_path / "w.pt"))


def test_missing_weights_are_named(tmp_path):
    with pytest.raises(ConfigError, match=r"does not exist: .*nowhere\.pt"):
        _module(weights=str(tmp_path / "nowhere.pt"))


# --- precision


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_bfloat16_trains_and_gives_float32(tmp_path):
    data = ImageDataModule(Digits, Normalize([0.3], [0.4]), batch_size=16, eval_batch_size=500, seed=0)
    data.setup()
    _, targets = data.take_targets()
    view = data.with_pool(Pool.create(1198, torch.arange(32)), targets[:32]).observing(torch.arange(100, 130))
    torch.manual_seed(0)
    network = partial(ClassificationNetwork, partial(SmallCnn, widths=(4, 8)), dropout=0.3)
    module = Classifier(network, 10, 1, optimizer=partial(torch.optim.SGD, lr=0.1))
    maps, logits = set(), set()
    module.network.head.register_forward_hook(lambda layer, inputs, output: logits.add(output.dtype))
    (conv, *_) = (layer for layer in module.network.modules() if isinstance(layer, torch.nn.Conv2d))
    conv.register_forward_hook(lambda layer, inputs, output: maps.add(output.dtype))
    trainer = partial(
        Trainer, accelerator="cpu", devices=1, precision="bf16-mixed", max_epochs=1, logger=False,
        enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False, num_sanity_val_steps=0,
        use_distributed_sampler=False, default_root_dir=tmp_path,
    )  # fmt: skip
    before = module.network.head.weight.clone()
    trainer(limit_val_batches=0).fit(module, datamodule=view)
    module.needs = EVERYTHING
    (part,) = trainer().predict(module, datamodule=view)
    assert maps == {torch.bfloat16} and logits == {torch.float32}  # bfloat16 makes equals of classes
    assert not torch.equal(before, module.network.head.weight)
    for values in (part.posterior.probs, part.views.probs, part.image_features, part.scores):
        assert values.dtype == torch.float32 and values.isfinite().all()
    torch.testing.assert_close(part.posterior.probs.sum(1), torch.ones(30))
    trainer().test(module, datamodule=view, verbose=False)
    assert 0 <= module.results["test/accuracy"] <= 1


def test_it_is_a_lightning_module():
    assert isinstance(_module(), LightningModule)
