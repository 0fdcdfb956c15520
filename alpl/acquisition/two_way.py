"""Whether a detection is what it says: two ways, its class or not (PPAL Eq. 5 with C' = 2).

Axes: I instances of all images, J instances that count.
"""

from __future__ import annotations

import torch
from torch import Tensor

from alpl.acquisition.object_ranking import CHUNK
from alpl.predictions import Posterior, Predictions


def two_way(said: Tensor) -> Posterior:
    """``Float[J]`` probabilities p -> ``[J 2]``: p and 1 - p, in single precision or better."""
    said = said.to(torch.promote_types(said.dtype, torch.float32))  # they may be stored in half precision
    return Posterior(torch.stack([said, 1 - said], dim=-1))


def beyond_the_first(posterior: Posterior) -> Tensor:
    """``[J 2]`` -> ``Float[J]``: one minus the first probability; detections that are hardly sure count most.

    >>> beyond_the_first(two_way(torch.tensor([0.875, 0.125])))
    tensor([0.1250, 0.8750])
    """
    return 1 - posterior.probs[..., 0]


def class_probabilities(predictions: Predictions) -> Tensor:
    """``Float[I]``: the posterior of each instance's own class, without centerness and the like.

    A chunk at a time, as posteriors may lie on the disk.

    Raises:
        ValueError: the predictions have no labels, or no probabilities.
    """
    posterior, labels = predictions.posterior, predictions.labels
    assert posterior is not None, "Need.POSTERIOR was declared"
    if labels is None:
        raise ValueError("predictions must have labels where of=class or of=auto, got none")
    single = torch.promote_types(posterior.probs.dtype, torch.float32)
    chunks = [Posterior(part, posterior.form).checked().foreground for part in posterior.probs.split(CHUNK)]
    parts = zip(chunks, labels.split(CHUNK), strict=True)
    return torch.cat([part.gather(-1, label[:, None]).squeeze(-1).to(single) for part, label in parts])
