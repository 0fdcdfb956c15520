"""Networks of ATSS (Zhang et al. 2020) and DDOD (Chen et al. 2021): two towers, and what stands on them.

Axes: B images, P anchors over all maps, one a cell, K classes, F width of the maps.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import final

import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d
from torchvision.models.detection._utils import BoxCoder
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.fcos import FCOSClassificationHead, FCOSRegressionHead
from torchvision.ops import deform_conv2d

from alpl.networks.dense_heads import DenseHeads
from alpl.networks.fpn import AbstractFpn
from alpl.networks.towers import Towers

_BOX_WEIGHTS = (10.0, 10.0, 5.0, 5.0)  # deltas have the standard deviations 0.1, 0.1, 0.2, 0.2, as released


@final
class DenseNetwork(nn.Module):
    """What :class:`alpl.modules.dense.AbstractDenseDetector` asks of a network, where torchvision has none.

    Args:
        backbone: with its pyramid.
        head: of all maps.
        anchor_generator: torchvision's.
    """

    def __init__(self, backbone: AbstractFpn, head: DenseHeads, anchor_generator: AnchorGenerator) -> None:
        super().__init__()
        self.backbone, self.head, self.anchor_generator = backbone, head, anchor_generator


@final
class DeformableConv(nn.Module):
    """A 3x3 convolution that looks where another one sends it (Dai et al. 2017, without modulation, one group).

    At the start nothing is moved. In single precision whatever that of the pass: places in half precision are rough.

    Args:
        conv: what it is without offsets; its weights go on as these.
    """

    def __init__(self, conv: nn.Conv2d) -> None:
        super().__init__()
        assert conv.kernel_size == (3, 3) and conv.padding == (1, 1) and conv.bias is not None, (
            "as torchvision's towers"
        )
        self.weight, self.bias = conv.weight, conv.bias
        self.offsets = nn.Conv2d(conv.in_channels, 2 * 9, 3, padding=1)
        nn.init.zeros_(self.offsets.weight)
        nn.init.zeros_(self.offsets.bias)  # type: ignore[arg-type]  # it has one

    def forward(self, map_: Tensor) -> Tensor:
        """``Float[B F h w]`` -> the same."""
        with torch.autocast(map_.device.type, enabled=False):
            exact, aside = map_.float(), self.offsets.bias
            assert aside is not None, "it was made with one"
            moved = conv2d(exact, self.offsets.weight.float(), aside.float(), padding=1)
            found: Tensor = deform_conv2d(exact, moved, self.weight.float(), self.bias.float(), padding=1)
        return found.to(map_.dtype)


@final
class BoxHead(nn.Module):
    """Deltas of a box, scaled by a number that each map learns, and a confidence, on one tower.

    Args:
        width: F.
        num_maps: of the pyramid.
        norm: makes a norm layer.
    """

    def __init__(self, width: int, num_maps: int, norm: Callable[[int], nn.Module]) -> None:
        super().__init__()
        made = FCOSRegressionHead(width, 1, norm_layer=norm)
        self.conv, self.bbox_reg, self.confidence = made.conv, made.bbox_reg, made.bbox_ctrness
        self.scales = nn.Parameter(torch.ones(num_maps))

    def forward(self, maps: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """``[B F h w]`` each -> ``Float[B P 4]`` deltas, ``Float[B P 1]`` logits of the confidence."""
        towers = [self.conv(map_) for map_ in maps]
        deltas = [self.bbox_reg(each) * scale for each, scale in zip(towers, self.scales, strict=True)]
        return _flat(deltas), _flat([self.confidence(each) for each in towers])


@final
class AtssHeads(DenseHeads):
    """Class logits, box deltas and a confidence (centerness in ATSS, IoU in DDOD) of every anchor.

    Args:
        width: F.
        num_classes: K.
        num_maps: of the pyramid.
        towers: see :class:`alpl.networks.towers.Towers`.
        deformable: whether the first convolution of each tower is (DDOD, sec. 3.2).

    Raises:
        ConfigError: a number is out of range.
    """

    def __init__(self, width: int, num_classes: int, num_maps: int, towers: Towers, *, deformable: bool) -> None:
        norm = towers.norm(width) or nn.Identity
        super().__init__(
            FCOSClassificationHead(width, 1, num_classes, norm_layer=norm), BoxHead(width, num_maps, norm), towers
        )
        if deformable:  # behind the start of the towers, which would move the offsets from zero
            for head in (self.classification_head, self.regression_head):
                tower: nn.Sequential = head.conv  # type: ignore[assignment]
                tower[0] = DeformableConv(tower[0])  # type: ignore[arg-type]
        self.box_coder = BoxCoder(_BOX_WEIGHTS)

    def forward(self, maps: Sequence[Tensor]) -> dict[str, Tensor]:
        """Give "cls_logits" ``Float[B P K]``, "bbox_regression" ``Float[B P 4]``, "confidence" ``Float[B P 1]``."""
        deltas, confidence = self.regression_head(maps)
        return {"cls_logits": self.class_logits(maps), "bbox_regression": deltas, "confidence": confidence}


def _flat(maps: Sequence[Tensor]) -> Tensor:
    """``[B c h w]`` each -> ``[B P c]``, row by row."""
    return torch.cat([map_.flatten(2).transpose(1, 2) for map_ in maps], 1)
