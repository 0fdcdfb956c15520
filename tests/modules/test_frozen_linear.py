"""A linear classifier on a frozen backbone that learned elsewhere."""

from pathlib import Path

import pytest
import torch
from command import TINY, alpl
from omegaconf import open_dict

from alpl.commands.sweep import compose_job
from alpl.errors import ConfigError
from alpl.experiment import make_experiment
from alpl.machine.files import read_tensors, write_tensors

TORCHVISION = ("data=digits", "model=frozen_linear", "model.network.backbone.name=resnet18")
TIMM = (
    "data=digits",
    "model=frozen_linear",
    "model/backbone@model.network.backbone=timm",
    "model.network.backbone.name=resnet10t",
)


def _experiment(*overrides: str):
    config = compose_job(list(overrides))
    with open_dict(config):
        del config["hydra"]
    return make_experiment(config)


@pytest.mark.parametrize(
    "learned",
    [
        (*TORCHVISION, "model.network.backbone.weights=IMAGENET1K_V1"),
        (*TIMM, "model.network.backbone.pretrained=true"),
        (*TORCHVISION, "model.weights=some.pt"),
    ],
)
def test_what_learned_elsewhere_may_be_frozen(learned: tuple[str, ...]) -> None:
    _experiment(*learned)


@pytest.mark.parametrize("fresh", [TORCHVISION, TIMM])
def test_what_has_learned_nothing_may_not(fresh: tuple[str, ...]) -> None:
    with pytest.raises(ConfigError, match=r"model\.frozen must be false where neither pretrained, .* \(timm\) gives"):
        _experiment(*fresh)


@pytest.mark.slow
def test_the_head_alone_learns_on_weights_of_a_file(tmp_path: Path) -> None:
    timm = pytest.importorskip("timm")
    torch.manual_seed(0)
    source = timm.create_model("resnet10t", in_chans=1)
    write_tensors(tmp_path / "w.pt", source.state_dict())
    keys = [key for key in TINY if not key.startswith(("data=", "model"))]
    result = alpl(tmp_path, *TIMM, *keys, f"model.weights={tmp_path / 'w.pt'}", "model.optimizer.lr=0.1")
    assert result.status == 0, result.err
    given = source.state_dict()
    heads = []
    for cycle in (0, 1):
        state = read_tensors(result.run_folder() / f"cycle_{cycle:02d}" / "model.pt")
        prefix = "network.backbone."
        backbone = {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}
        assert backbone.keys() == {name for name in given if not name.startswith("fc.")}
        assert all(torch.equal(value, given[name]) for name, value in backbone.items())
        heads.append(state["network.head.weight"])
    assert not torch.equal(*heads)
