"""The network beside torchvision's published one, and what it does that torchvision does not."""

from functools import partial
from types import SimpleNamespace

import pytest
import torch
from torchvision.models.detection import fasterrcnn_resnet50_fpn
from torchvision.ops import roi_align

from alpl.boxes.anchors import anchors_of
from alpl.errors import ConfigError
from alpl.networks.faster_rcnn import BoxHead, FasterRcnn
from alpl.networks.fpn import TinyFpn, TorchvisionFpn
from alpl.networks.proposals import ProposalRules, RegionSampling, propose

TINY = {"anchor_sizes": [[14], [24], [40], [66]], "num_roi_maps": 3, "roi_size": 5, "head_width": 16}
BACKBONE = partial(TinyFpn, width=16, widths=(4, 8, 8, 8, 12))


def tiny(seed=0, **options):
    torch.manual_seed(seed)
    return FasterRcnn(BACKBONE, 4, **(TINY | options))


def test_the_published_network_has_the_names_shapes_and_rules_of_torchvision():
    backbone = partial(TorchvisionFpn, "resnet50", top="pool", first_level=2)
    with torch.device("meta"):
        reference = fasterrcnn_resnet50_fpn(weights=None, weights_backbone=None, num_classes=21)
        ours = FasterRcnn(backbone, 21, anchor_sizes=[[32], [64], [128], [256], [512]])
    expected = {name: value.shape for name, value in reference.state_dict().items()}
    assert {name: value.shape for name, value in ours.state_dict().items()} == expected
    for name in ("rpn", "roi_heads"):
        one, other = getattr(ours, name), getattr(reference, name)
        for part in ("proposal_matcher", "fg_bg_sampler", "box_coder"):
            assert vars(getattr(one, part)) == vars(getattr(other, part)), f"{name}.{part}"
    assert (ours.rpn._pre_nms_top_n, ours.rpn._post_nms_top_n, ours.rpn.nms_thresh) == (
        reference.rpn._pre_nms_top_n,
        reference.rpn._post_nms_top_n,
        reference.rpn.nms_thresh,
    )
    assert ours.rpn.anchor_generator.sizes == reference.rpn.anchor_generator.sizes
    assert ours.rpn.anchor_generator.aspect_ratios == reference.rpn.anchor_generator.aspect_ratios
    for part in ("featmap_names", "output_size", "sampling_ratio", "canonical_scale", "canonical_level"):
        assert getattr(ours.roi_heads.box_roi_pool, part) == getattr(reference.roi_heads.box_roi_pool, part)


@torch.no_grad()
def test_strides_are_those_of_the_padded_input():
    network = tiny().eval()
    images = torch.rand(2, 3, 96, 128)
    maps = network.backbone(images)
    box = torch.tensor([[4.0, 4.0, 20.0, 28.0], [8.0, 16.0, 88.0, 96.0]])
    (proposals,) = network.proposals(network.backbone(images[:1]), images[:1], [(33, 33)])  # content of a corner
    assert proposals.max() <= 33
    regions = network.pool(maps, [box, box[:1]], images)
    assert network.roi_heads.box_roi_pool.scales == [1 / 4, 1 / 8, 1 / 16] and len(regions) == 3
    expected = roi_align(maps["0"][:1], [box[:1]], 5, spatial_scale=1 / 4, sampling_ratio=2)
    assert torch.equal(regions[:1], expected)
    with pytest.raises(ValueError, match=r"data.pad_to: 32.*\[33, 96\] for a map of \[9, 24\]"):
        odd = torch.rand(1, 3, 33, 96)
        network.pool(network.backbone(odd), [box], odd)


def test_the_box_head_drops_behind_both_layers_and_in_two_parts():
    torch.manual_seed(0)
    head, regions = BoxHead(50, 16, dropout=0.5), torch.rand(200, 2, 5, 5)
    with torch.no_grad():
        plain = head.eval()(regions)
        assert torch.equal(plain, torch.relu(head.fc7(torch.relu(head.fc6(regions.flatten(1))))))
        hidden = head.train().hidden(regions)
        assert torch.equal(hidden, torch.relu(head.fc6(regions.flatten(1))))
        head.fc7.weight.copy_(torch.eye(16)), head.fc7.bias.zero_()
        both = head.from_hidden(torch.ones(200, 16))
    assert sorted(both.unique().tolist()) == [0.0, 4.0]  # dropped by either, or doubled by both
    assert 0.15 < float((both > 0).float().mean()) < 0.35


def test_anchors_and_proposals_are_exact_in_half_precision():
    network = tiny().eval()
    images = torch.rand(1, 3, 512, 512)
    exact = anchors_of(network.rpn.anchor_generator, list(network.backbone(images).values()), images)
    with torch.autocast("cpu", torch.bfloat16):
        maps = list(network.backbone(images).values())
        anchors = anchors_of(network.rpn.anchor_generator, maps, images)
        assert maps[0].dtype == torch.bfloat16 and anchors.dtype == torch.float32 and torch.equal(anchors, exact)
        sizes = SimpleNamespace(tensors=images, image_sizes=[(512, 512)])
        (proposals,), _ = propose(network.rpn, maps, sizes, None)
        targets = [{"boxes": torch.tensor([[301.0, 301.0, 330.0, 340.0]]), "labels": torch.tensor([1])}]
        losses = network.train().losses(images, [(512, 512)], targets).parts
    assert proposals.dtype == torch.float32 and bool((proposals != proposals.bfloat16().float()).any())
    assert all(loss.dtype == torch.float32 and bool(loss.isfinite()) for loss in losses.values())
    sum(losses.values()).backward()
    assert all(bool(p.grad.isfinite().all()) for p in network.parameters())


class Doubled(torch.nn.Module):
    """A last layer of another kind."""

    def __init__(self, in_channels, num_outputs):
        super().__init__()
        self.layer = torch.nn.Linear(in_channels, num_outputs * 5)
        self.num_outputs = num_outputs

    def forward(self, features):
        values = self.layer(features)
        return values[:, : self.num_outputs], values[:, self.num_outputs :]


def test_the_last_layer_can_be_replaced():
    network = tiny(predictor=Doubled).eval()
    images = torch.rand(2, 3, 96, 96)
    output = network.regions(network.backbone(images), [torch.tensor([[4.0, 4.0, 40.0, 40.0]])] * 2, images)
    values = network.roi_heads.box_predictor.layer(network.features(output.hidden))
    assert torch.equal(output.logits, values[:, :4]) and torch.equal(output.deltas.flatten(1), values[:, 4:])
    assert torch.equal(network.logits(output.hidden), output.logits)


@pytest.mark.parametrize(
    "make, message",
    [
        (partial(tiny, anchor_sizes=[[8], [16]]), r"anchor_sizes must be 4 lists"),
        (partial(tiny, anchor_sizes=[[8], [16], [32], [1, 2]]), r"anchor_sizes must be 4 lists of equal length"),
        (partial(tiny, aspect_ratios=[0.0]), "must be > 0"),
        (partial(tiny, num_roi_maps=5), "num_roi_maps must be 1 to 4, got 5"),
        (partial(tiny, roi_size=0), "roi_size must be >= 1, got 0"),
        (partial(tiny, head_width=0), "head_width must be >= 1, got 0"),
        (partial(tiny, canonical_scale=0), "canonical_scale must be >= 1, got 0"),
        (partial(tiny, dropout=1.0), "dropout must be .*1.0"),
        (partial(FasterRcnn, BACKBONE, 1, **TINY), "num_outputs must be >= 2"),
        (partial(ProposalRules, post_nms_top_n_test=0), "post_nms_top_n_test must be >= 1, got 0"),
        (partial(ProposalRules, nms_thresh=1.5), "nms_thresh must be .*1.5"),
        (partial(ProposalRules, bg_iou_thresh=0.8), r"proposals.bg_iou_thresh and fg_iou_thresh .* 0.8 and 0.7"),
        (partial(RegionSampling, positive_fraction=0.0), "sampling.batch_size_per_image .*positive_fraction .*0.0"),
        (partial(RegionSampling, batch_size_per_image=0), "sampling.batch_size_per_image must be >= 1"),
    ],
)
def test_bad_arguments_are_named(make, message):
    with pytest.raises(ConfigError, match=message):
        make()
