"""Mixture heads: the order of their values, what they say, and the printed numbers of parameters."""

from functools import partial

import mixture_reference as reference
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from alpl.boxes.box_coding import VARIANCES
from alpl.boxes.priors import COCO_300, VOC_300
from alpl.errors import ConfigError
from alpl.losses.multibox import cross_entropy, smooth_l1
from alpl.networks.faster_rcnn import FasterRcnn
from alpl.networks.fpn import TorchvisionFpn
from alpl.networks.heads import Heads, PointBoxes, SoftmaxClasses
from alpl.networks.mixture_heads import EfficientMixtureClasses, MixtureBoxes, MixtureClasses
from alpl.networks.ssd import Ssd, TinySsd
from alpl.networks.vgg import Vgg16ReducedFc

NUM_OUTPUTS = 4
COMPONENTS = st.integers(1, 4)
CHOICES = st.sampled_from(["as_written", "as_released"])


def values_of(seed, width, number=5):
    return 1.5 * torch.randn(number, width, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def labels_of(seed, lowest, number=5):
    return torch.randint(lowest, NUM_OUTPUTS, (number,), generator=torch.Generator().manual_seed(seed))


# --- the equations, from the flat values of a prior


@given(st.integers(0, 10_000), COMPONENTS, CHOICES)
def test_classes_of_gmm(seed, components, epistemic):
    head = MixtureClasses(components, noise="as_released", epistemic=epistemic)
    width = head.num_values(NUM_OUTPUTS)
    assert width == 2 * components * NUM_OUTPUTS + (components if components > 1 else 0)
    values, labels = values_of(seed, width), labels_of(seed, 0)
    torch.manual_seed(seed)
    losses = head.losses(values, labels)
    torch.manual_seed(seed)
    gamma = torch.randn(5, components, NUM_OUTPUTS, dtype=torch.float64)
    said = head.uncertainties(values, labels)
    assert said.shape == (5, 2) and said.dtype == torch.float32
    for n, label in enumerate(labels.tolist()):
        weights, means, raw = reference.class_values(values[n].tolist(), components)
        noisy = reference.noisy(means, raw, gamma[n].tolist())
        assert losses[n].item() == pytest.approx(reference.cross_entropy(weights, noisy, label))
        probs = head.logits(values)[n].softmax(-1).tolist()
        assert probs == pytest.approx(reference.posterior(weights, means))
        variances = [reference.sigmoid(row[label]) for row in raw]
        column = [(row if epistemic == "as_written" else reference.softmax(row))[label] for row in means]
        expected = [reference.mean(weights, variances), reference.spread(weights, column)]
        assert said[n].tolist() == pytest.approx(expected, rel=1e-5, abs=1e-7)


@given(st.integers(0, 10_000), COMPONENTS, CHOICES)
def test_classes_of_eff(seed, components, epistemic):
    head = EfficientMixtureClasses(components, epistemic)
    width = head.num_values(NUM_OUTPUTS)
    assert width == components * NUM_OUTPUTS + (components if components > 1 else 0)
    values, labels = values_of(seed, width), labels_of(seed, 0)
    losses, said = head.losses(values, labels), head.uncertainties(values, labels)
    for n, label in enumerate(labels.tolist()):
        weights, means, _ = reference.class_values(values[n].tolist(), components, variances=False)
        assert losses[n].item() == pytest.approx(reference.cross_entropy(weights, means, label))
        assert head.logits(values)[n].softmax(-1).tolist() == pytest.approx(reference.posterior(weights, means))
        probs = [reference.softmax(row)[label] for row in means]
        column = probs if epistemic == "as_released" else [row[label] for row in means]
        expected = [reference.mean(weights, [p - p * p for p in probs]), reference.spread(weights, column)]
        assert said[n].tolist() == pytest.approx(expected, rel=1e-5, abs=1e-7)


@given(st.integers(0, 10_000), COMPONENTS, CHOICES, CHOICES, st.sampled_from(["max", "mean"]))
def test_boxes(seed, components, density, encoding, coordinates):
    head = MixtureBoxes(components, density, encoding, coordinates)
    assert head.num_values == (12 * components if components > 1 else 8)
    values, aims = values_of(seed, head.num_values), values_of(seed + 1, 4)
    losses, deltas, said = head.losses(values, aims), head.deltas(values), head.uncertainties(values)
    units = [VARIANCES[0]] * 2 + [VARIANCES[1]] * 2 if encoding == "as_written" else [1.0] * 4
    for n in range(5):
        columns = list(zip(*reference.box_values(values[n].tolist(), components), strict=True))
        wanted = [aim * unit for aim, unit in zip(aims[n].tolist(), units, strict=True)]
        terms = [reference.nll(*column, g, density) for column, g in zip(columns, wanted, strict=True)]
        assert losses[n].item() == pytest.approx(sum(terms) / 2)
        means = [reference.mean(weights, mu) / unit for (weights, mu, _), unit in zip(columns, units, strict=True)]
        assert deltas[n].tolist() == pytest.approx(means)
        noises = [reference.mean(weights, [reference.sigmoid(v) for v in raw]) for weights, _, raw in columns]
        spreads = [reference.spread(weights, mu) for weights, mu, _ in columns]
        noise, spread = (max(v) if coordinates == "max" else sum(v) / 4 for v in (noises, spreads))
        assert said[n].tolist() == pytest.approx([noise, spread], rel=1e-5, abs=1e-7)


def test_a_single_gaussian_of_eff_is_plain():
    values, labels = values_of(0, NUM_OUTPUTS), labels_of(0, 0)
    head = EfficientMixtureClasses(1)
    torch.testing.assert_close(head.losses(values, labels), SoftmaxClasses().losses(values, labels))
    torch.testing.assert_close(head.logits(values).softmax(-1), values.softmax(-1))
    assert not head.uncertainties(values, labels)[:, 1].any()  # nobody disagrees


def test_plain_heads_are_the_losses_of_ssd():
    values, labels, aims = values_of(0, 4), labels_of(0, 0), values_of(1, 4)
    assert torch.equal(SoftmaxClasses().losses(values, labels), cross_entropy(values, labels))
    assert torch.equal(PointBoxes().losses(values, aims), smooth_l1(values, aims))
    assert SoftmaxClasses().logits(values) is values and PointBoxes().deltas(values) is values


def test_columns_that_a_head_does_not_give_are_nan():
    values = values_of(0, 48)
    mixed = Heads(MixtureClasses(2), MixtureBoxes(4))
    labels = torch.tensor([0, 1, 2, 0, 1])
    classes = values_of(1, mixed.classes.num_values(NUM_OUTPUTS))
    both = mixed.uncertainties(classes, values, labels)
    assert both.isfinite().all() and both.shape == (5, 4)
    torch.testing.assert_close(both[:, :2], mixed.classes.uncertainties(classes, labels + 1))
    no_class = Heads(boxes=MixtureBoxes(4)).uncertainties(values[:, :4], values, labels)
    no_box = Heads(MixtureClasses(2)).uncertainties(classes, values[:, :4], labels)
    assert no_class[:, :2].isnan().all() and torch.equal(no_class[:, 2:], both[:, 2:])
    assert no_box[:, 2:].isnan().all() and torch.equal(no_box[:, :2], both[:, :2])
    assert Heads().uncertainties(values[:, :4], values[:, :4], labels).isnan().all()
    assert [head.give_uncertainties for head in (mixed, Heads(boxes=MixtureBoxes()), Heads())] == [True, True, False]


def test_half_precision_is_computed_in_float32():
    head, boxes = MixtureClasses(3), MixtureBoxes(3)
    values, labels = values_of(0, head.num_values(NUM_OUTPUTS)).bfloat16(), labels_of(0, 0)
    for found in (head.logits(values), head.losses(values, labels), head.uncertainties(values, labels)):
        assert found.dtype == torch.float32 and found.isfinite().all()
    said = values_of(0, 36).bfloat16()
    assert boxes.deltas(said).dtype == boxes.losses(said, values_of(1, 4).float()).dtype == torch.float32


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (partial(MixtureClasses, 0), "classes.components must be >= 1, got 0"),
        (partial(EfficientMixtureClasses, 0), "classes.components must be >= 1, got 0"),
        (partial(MixtureBoxes, -1), "boxes.components must be >= 1, got -1"),
        (partial(MixtureClasses, noise="own"), "classes.noise must be 'as_written' or 'as_released', got 'own'"),
        (partial(MixtureClasses, epistemic="x"), "classes.epistemic must be"),
        (partial(EfficientMixtureClasses, epistemic="x"), "classes.epistemic must be"),
        (partial(MixtureBoxes, density="x"), "boxes.density must be"),
        (partial(MixtureBoxes, encoding="x"), "boxes.encoding must be"),
        (partial(MixtureBoxes, coordinates="sum"), "boxes.coordinates must be 'max' or 'mean', got 'sum'"),
        (partial(PointBoxes, beta=0.0), "boxes.beta must be > 0, got 0.0"),
    ],
)
def test_arguments_that_cannot_work(make, message):
    with pytest.raises(ConfigError, match=message):
        make()


# --- the layers


@torch.no_grad()
def test_only_the_first_components_means_begin_with_xavier():
    torch.manual_seed(0)
    boxes, components = 6, 4
    network = Ssd(
        TinySsd, NUM_OUTPUTS, (boxes,) * 4, classes=MixtureClasses(components), boxes=MixtureBoxes(components)
    )
    for layers, first in ((network.class_heads, NUM_OUTPUTS), (network.box_heads, 4)):
        for conv in layers:
            fan_in = 9 * conv.in_channels
            xavier = (6 / (fan_in + 9 * boxes * first)) ** 0.5  # of the layer that these values alone would make
            weight = conv.weight.view(boxes, -1, conv.in_channels, 3, 3)
            bias = conv.bias.view(boxes, -1)
            assert not bias[:, :first].any() and bias[:, first:].abs().max() > 0.9 * fan_in**-0.5
            assert 0.97 * xavier < weight[:, :first].abs().max() <= xavier
            assert 0.97 * fan_in**-0.5 < weight[:, first:].abs().max() <= fan_in**-0.5


@pytest.mark.parametrize(
    ("layout", "num_outputs", "classes", "millions", "exact"),
    [
        (VOC_300, 21, MixtureClasses(), 52.35, 52_349_576),
        (VOC_300, 21, EfficientMixtureClasses(), 41.12, 41_121_968),
        (COCO_300, 81, MixtureClasses(), 116.51, 116_507_336),
        (COCO_300, 81, EfficientMixtureClasses(), 73.20, 73_200_848),
    ],
)
def test_ssd_has_the_printed_numbers_of_parameters(layout, num_outputs, classes, millions, exact):
    """Tables 4 and 5."""
    with torch.device("meta"):
        network = Ssd(Vgg16ReducedFc, num_outputs, layout.boxes_per_cell, classes=classes, boxes=MixtureBoxes())
    assert sum(p.numel() for p in network.parameters()) == exact
    assert round(exact / 1e6, 2) == millions


def trained_parameters(network):
    """Those that are trained when it starts from ImageNet: no batch norm, no stem, no first stage."""
    frozen = [network.backbone.body[name] for name in ("conv1", "layer1")]
    frozen += [layer for layer in network.modules() if isinstance(layer, nn.BatchNorm2d)]
    left_out = {id(p) for module in frozen for p in module.parameters()}
    return sum(p.numel() for p in network.parameters() if id(p) not in left_out)


@pytest.mark.parametrize(
    ("classes", "boxes", "exact", "printed"),
    [
        (None, None, 41_174_136, 41.17),
        (MixtureClasses(), MixtureBoxes(), 42_226_811, 42.23),
        # The text gives no layout. With four components and a box for each class there are 42.14 M, printed are 41.61.
        (EfficientMixtureClasses(), MixtureBoxes(), 42_140_711, None),
        # The nearest in which all parts are of one kind: two components; 41.60 M.
        (EfficientMixtureClasses(2), MixtureBoxes(2), 41_603_611, None),
    ],
)
def test_faster_rcnn_has_the_printed_numbers_of_parameters(classes, boxes, exact, printed):
    """Table 6."""
    sizes = ((32,), (64,), (128,), (256,), (512,))
    backbone = partial(TorchvisionFpn, "resnet50", top="pool", first_level=2)
    plain = boxes is None
    with torch.device("meta"):
        network = FasterRcnn(backbone, 21, anchor_sizes=sizes, classes=classes, boxes=boxes, background_boxes=plain)
    assert trained_parameters(network) == exact
    if printed is not None:
        assert round(exact / 1e6, 2) == printed
