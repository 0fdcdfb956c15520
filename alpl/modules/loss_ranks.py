"""The ranking loss of a module that predicts losses, as training steps have it (Yoo and Kweon 2019, LLAL)."""

from __future__ import annotations

from collections.abc import Sequence

from lightning.pytorch import LightningModule
from torch import Tensor

from alpl.modules.fit_share import steps_of
from alpl.networks.loss_prediction import LossPrediction


def rank_losses(
    module: LightningModule, prediction: LossPrediction, maps: Sequence[Tensor], losses: Tensor, labeled: Tensor
) -> Tensor:
    """Give the ranking loss of the labeled images, without its weight; 0 where there are less than two.

    Pseudo-labeled images are left out: what was not found on them counts as background or not at all, so their loss
    says less than that of a labeled image.

    Args:
        module: at work in a fit, whose share that is done tells whether the gradient still reaches the maps.
        prediction: predicts losses.
        maps: ``[B channels H W]`` each, of the images with targets.
        losses: ``Float[B]``, what each image has in the module's own loss.
        labeled: ``Bool[B]``.

    Raises:
        ConfigError: the fit has no end that is known in steps.
    """
    step, steps = steps_of(module)
    return prediction.loss([map_[labeled] for map_ in maps], losses[labeled], step / steps)
