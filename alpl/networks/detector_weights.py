"""What a Faster R-CNN starts from: weights of another data set's, all but the layer that names the classes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

from alpl.errors import ConfigError
from alpl.machine.files import read_tensors
from alpl.networks.faster_rcnn import FasterRcnn

_PREDICTOR = "roi_heads.box_predictor."


def load_detector(network: FasterRcnn, weights: str) -> None:
    """Load weights into a network, in place.

    Args:
        network: with ResNet-50 as torchvision's, or as the file was made of.
        weights: the file of a state dict (of a network, or of a whole module), or a weights enum of torchvision's
            ``fasterrcnn_resnet50_fpn`` by name (``COCO_V1``), which torchvision fetches where it is not cached.

    Raises:
        ConfigError: there is neither, or names or shapes differ elsewhere than in the last layer.
    """
    path = Path(weights).expanduser()
    found = read_tensors(path) if path.is_file() else _published(weights)
    state = {name.removeprefix("network."): value for name, value in found.items()}
    kept = {name: value for name, value in state.items() if not name.startswith(_PREDICTOR)}
    try:
        missing, unknown = network.load_state_dict(kept, strict=False)
    except RuntimeError as error:  # of another shape
        raise ConfigError(f"model.weights must fit the network, {weights} does not: {error}") from error
    wrong = sorted([*unknown, *(name for name in missing if not name.startswith(_PREDICTOR))])
    if wrong:
        raise ConfigError(f"model.weights must fit the network, {weights} differs in {len(wrong)} tensors: {wrong[:3]}")


def _published(name: str) -> Mapping[str, Tensor]:
    from torchvision.models.detection import FasterRCNN_ResNet50_FPN_Weights

    if name not in FasterRCNN_ResNet50_FPN_Weights.__members__:
        known = ", ".join(FasterRCNN_ResNet50_FPN_Weights.__members__)
        raise ConfigError(f"model.weights must be a file, or one of {known}, got {name!r}")
    try:
        state: Mapping[str, Tensor] = FasterRCNN_ResNet50_FPN_Weights[name].get_state_dict(progress=False)
    except OSError as error:  # no network, and no cache
        raise ConfigError(f"model.weights={name} must be in torchvision's cache or to be fetched: {error}") from error
    return state
