"""What Faster R-CNN starts from: torchvision's own names, in today's and in the published form."""

from functools import partial

import pytest
import torch
from configs import composed
from hydra.utils import instantiate

from alpl.errors import ConfigError
from alpl.networks.detector_weights import load_detector


@pytest.fixture(scope="module")
def published():
    """Torchvision's network of 91 outputs, with random numbers."""
    from torchvision.models.detection import fasterrcnn_resnet50_fpn

    return fasterrcnn_resnet50_fpn(weights=None, weights_backbone=None).state_dict()


def network(outputs=4):
    config = composed("data=imagenet_vid", "paths.data=nowhere").model.network
    make = instantiate(config, _convert_="all")
    assert isinstance(make, partial)
    return make(num_outputs=outputs)


@pytest.mark.slow
def test_all_but_the_last_layer_is_loaded(published, tmp_path):
    torch.save(dict(published), tmp_path / "coco.pt")
    made = network()
    before = made.roi_heads.box_predictor.cls_score.weight.clone()
    load_detector(made, str(tmp_path / "coco.pt"))
    state = made.state_dict()
    own = [name for name in published if not name.startswith("roi_heads.box_predictor") and name in state]
    assert len(own) > 280 and all(torch.equal(state[name], published[name]) for name in own)
    assert torch.equal(made.roi_heads.box_predictor.cls_score.weight, before)
    frozen = [name for name, value in made.named_parameters() if not value.requires_grad]
    assert any(name.startswith("backbone.body.layer1") for name in frozen)
    assert not any(name.startswith("backbone.body.layer2") for name in frozen)


def test_what_does_not_fit_is_named(tmp_path):
    made = network()
    torch.save({"backbone.body.conv1.weight": torch.zeros(64, 3, 7, 7)}, tmp_path / "part.pt")
    with pytest.raises(ConfigError, match=r"model\.weights must fit the network, .* differs in \d+ tensors"):
        load_detector(made, str(tmp_path / "part.pt"))
    torch.save({"backbone.body.conv1.weight": torch.zeros(1)}, tmp_path / "shape.pt")
    with pytest.raises(ConfigError, match=r"model\.weights must fit the network"):
        load_detector(made, str(tmp_path / "shape.pt"))
    with pytest.raises(ConfigError, match=r"model\.weights must be a file, or one of COCO_V1, DEFAULT, got 'COCO_V7'"):
        load_detector(made, "COCO_V7")
