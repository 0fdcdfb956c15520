"""Where the configs are, and what of them makes a run's key."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, TypeAlias, get_args

from omegaconf import DictConfig, OmegaConf

from alpl.config.group_folders import register_folders
from alpl.config.versions import ONCE_COUNTED, name_places, without_housekeeping
from alpl.errors import ConfigError

_PACKAGE = Path(__file__).parent.parent


def _top_level(name: str) -> Path:
    """Find a top-level folder: inside the package in a wheel, beside it in a checkout."""
    inside = _PACKAGE / name
    return inside if inside.exists() else _PACKAGE.parent / name


CONF = _top_level("conf")
EXPERIMENTS = _top_level("experiments")
SLURM = _top_level("slurm")
_FOLDERS = {"experiment": EXPERIMENTS, "slurm": SLURM}

# What does not change a run's results, and so is no part of its key.
_RECORDS = ("gallery", "embedding", "keep_models", "keep_predictions")
_HOUSEKEEPING = (*_RECORDS, "checkpoint_every_s", "grace_s", "share_first_cycle")
_NOT_CONTENT = ("paths", "logger", "report", "table", "row", *_HOUSEKEEPING)
_NOT_CONTENT_OF_SOURCE = ("root", "download")
_FILES = ("path", "weights")  # arguments that may name a file: an initial set, a state dict


def register_experiments() -> None:
    """Make every ``experiments/<paper>/<table>.yaml`` known as ``+experiment=<paper>/<table>``.

    They live beside their protocol and printed numbers, not in ``conf/experiment``; likewise ``slurm/<cluster>.yaml``,
    which is ``slurm=<cluster>``.
    """
    register_folders(_FOLDERS)


def for_hydra(overrides: Sequence[str]) -> list[str]:
    """Take ``+experiment=`` for ``experiment=``, and ``group=null`` for ``~group``.

    The group of experiments stands in the defaults, so that a row (method) comes after its table; people write the plus
    sign, too. That a group is left out Hydra takes as a deletion only.

    Raises:
        ConfigError: a group that must have a choice gets none, or null is one of several choices; or an override is
            no text in UTF-8, in which all that a run writes of its config is.
    """
    for text in overrides:
        if not text.isascii() and text.encode("utf-8", "replace") != text.encode("utf-8", "surrogateescape"):
            raise ConfigError(f"an override must be text in UTF-8, got {text}")
    texts = [text.removeprefix("+") if text.startswith("+experiment=") else text for text in overrides]
    return [_without_choice(text) for text in texts]


def left_out(overrides: Sequence[str]) -> list[str]:
    """Name the groups that overrides take away, whatever an experiment or a method chose or wrote there."""
    return [name for text in overrides if (name := text.removeprefix("~").rstrip("=")) != text and name in _parts()]


def _parts() -> list[str]:
    """Name the groups that a config need not choose from."""
    config: Any = OmegaConf.to_container(OmegaConf.load(CONF / "config.yaml"), resolve=False)
    entries = [entry for entry in config["defaults"] if isinstance(entry, dict)]
    return [str(name) for entry in entries for name, choice in entry.items() if choice is None]


def _without_choice(text: str) -> str:
    name, _, value = text.partition("=")
    group = name.lstrip("+").partition("@")[0]
    if "null" not in value.split(",") or not ((CONF / group).is_dir() or group in _FOLDERS):
        return text
    if value != "null":
        raise ConfigError(f"{name} must not have null among its choices, got {value}; {name}=null is a run of its own")
    if group not in _parts():
        hint = f"; ~{name} leaves it out where something chose it" if "/" in group else ""
        raise ConfigError(f"{name} must be the name of a choice, got null{hint}")
    return f"~{group}"


Before: TypeAlias = Literal["places", "workers"]
BEFORE: tuple[Before, ...] = get_args(Before)
"""How earlier versions of alpl made a key, the latest first: where own folders lie counted (`places`), and before that
the number of workers and the cache, too (`workers`). In both, networks were trained in float32 by default."""


def content_of(config: DictConfig, *, any_seed: bool = False, before: Before | None = None) -> dict[str, Any]:
    """Give the resolved config less what does not change results: paths, loggers, names, housekeeping.

    Args:
        config: of a run.
        any_seed: leave out the seed and all that follows from it too: what the runs of a table's cell share.
        before: give it as earlier versions did, see :data:`BEFORE`.
    """
    with _neutral(config, any_seed=any_seed):
        content = OmegaConf.to_container(config, resolve=True)
    assert isinstance(content, dict)
    counting = {str(name): value for name, value in content.items() if name not in _NOT_CONTENT}
    if before is not None:
        name_places(counting["data"])
        _settle_precision(counting["trainer"])
    _remove_places(counting["data"])
    without_housekeeping(counting["data"], but=ONCE_COUNTED if before == "workers" else ())
    _read_files(counting)
    return counting


def _settle_precision(trainer: dict[str, Any]) -> None:
    """Put what was the default before there was ``auto``; a run that has begun refuses to go on in another one."""
    if trainer.get("precision") == "auto":
        trainer["precision"] = "32-true"


@contextmanager
def _neutral(config: DictConfig, *, any_seed: bool) -> Iterator[None]:
    """Put names in place of paths, and maybe of the seed: what is derived from them must not carry their values.

    The config has its own back afterwards; a copy would take as long as what is done with it.
    """
    paths: Any = OmegaConf.to_container(config.paths, resolve=False)  # as they are written
    seed_node: Any = config._get_node("seed")
    seed = seed_node._value()
    try:
        for name in paths:
            config.paths[name] = f"paths.{name}"
        if any_seed:
            config.seed = "seed"
        yield
    finally:
        for name, path in paths.items():
            config.paths[name] = path
        if any_seed:
            config.seed = seed


def _read_files(node: Any) -> None:
    """Put a hash of what they hold in place of the files that a config names: an edited file is another run."""
    for name, value in node.items() if isinstance(node, dict) else ():
        if name in _FILES and isinstance(value, str) and Path(value).is_file():
            node[name] = f"sha256:{hashlib.sha256(Path(value).read_bytes()).hexdigest()}"
        else:
            _read_files(value)


def _remove_places(source: Any) -> None:
    if isinstance(source, dict):
        for name in _NOT_CONTENT_OF_SOURCE:
            source.pop(name, None)
        for value in source.values():
            _remove_places(value)
