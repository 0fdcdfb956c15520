"""What the command line replaces is gone."""

import sys
import types

import pytest
from omegaconf import open_dict

from alpl.commands.sweep import compose_job
from alpl.errors import ConfigError
from alpl.preflight.config import check_config
from alpl.preflight.replaced import settle

FLATTEN = "model.network.backbone._target_=torch.nn.Flatten"


def _backbone(*overrides: str) -> dict[str, object]:
    return dict(compose_job(overrides).model.network.backbone)


def test_a_new_target_is_enough() -> None:
    assert _backbone()["widths"] == [16, 32]
    assert _backbone(FLATTEN) == {"_target_": "torch.nn.Flatten", "_partial_": True}
    mapping = "++model.network.backbone={_target_:torch.nn.Linear,in_features:3}"
    assert _backbone(mapping) == {"_target_": "torch.nn.Linear", "_partial_": True, "in_features": 3}


def test_what_the_new_target_takes_too_stays() -> None:
    initial = compose_job(["schedule.initial._target_=alpl.labeling.schedule.BalancedInitial"]).schedule.initial
    assert set(initial) == {"_target_", "size", "seed"}
    optimizer = compose_job(["model.optimizer._target_=torch.optim.Adam"]).model.optimizer
    assert set(optimizer) == {"_target_", "_partial_", "lr", "weight_decay"}, "Adam has no momentum"


@pytest.mark.parametrize("target", ["torch.nn.Identity", "own_parts.sgd"])
def test_what_takes_anything_gets_all(monkeypatch: pytest.MonkeyPatch, target: str) -> None:
    """An optimizer's own function with ``**kwargs`` must not train with torch's learning rate."""
    own = types.ModuleType("own_parts")
    own.sgd = lambda params, **options: None  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "own_parts", own)
    optimizer = compose_job([f"model.optimizer._target_={target}"]).model.optimizer
    assert set(optimizer) == set(compose_job([]).model.optimizer) > {"lr", "momentum"}


def test_what_goes_is_told() -> None:
    told = {}
    for target in ("torch.optim.Adam", "torch.nn.Identity"):
        overrides = [f"model.optimizer._target_={target}"]
        config = compose_job([])
        config.model.optimizer._target_ = target
        told[target] = settle(config, overrides)
    assert told["torch.nn.Identity"] == []
    (line,) = told["torch.optim.Adam"]
    assert line.startswith("model.optimizer: torch.optim.Adam takes no ") and "momentum" in line


def test_what_the_command_line_says_itself_is_checked_as_ever() -> None:
    given = "model.network.backbone.widths=[3]"
    assert _backbone(FLATTEN, given)["widths"] == [3]
    config = compose_job(["model.optimizer._target_=torch.optim.Adam", "+model.optimizer.momentun=1"])
    with open_dict(config):
        del config["hydra"]
    with pytest.raises(ConfigError, match=r"model.optimizer.momentun: torch.optim.Adam takes no such argument"):
        check_config(config)


@pytest.mark.parametrize("text", ["pseudo_labels=null", "~pseudo_labels"])
def test_a_group_that_is_taken_away_is_null_whoever_wrote_there(text: str) -> None:
    assert compose_job([text]).pseudo_labels is None
    detection = ["data=digit_scenes", "model=ssd_tiny", "method=elezi_small"]
    assert compose_job(detection).pseudo_labels is not None
    assert compose_job([*detection, text]).pseudo_labels is None
