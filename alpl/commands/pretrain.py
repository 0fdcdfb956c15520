"""`alpl-pretrain`: pre-train the backbone that runs start from, once for all of them."""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from alpl.commands.messages import told
from alpl.errors import ConfigError

if TYPE_CHECKING:
    from omegaconf import DictConfig

    from alpl.runs.products import Products
    from alpl.sharing.pretraining import PretrainingFit

_MACHINE = ("_target_", "accelerator", "devices", "num_nodes", "strategy", "precision", "deterministic", "benchmark")
"""What of a run's trainer says where it computes, and not what."""


def cli(arguments: Sequence[str] | None = None) -> None:
    """Run the command; exit with 2 and one line where a setting is refused."""
    options = _parser().parse_args(arguments)
    from alpl.machine.processes import rank  # here: it brings torch, which --help needs not

    with told("alpl-pretrain"):
        folder = pretrain(options.overrides)
        if rank() == 0:  # the others have the same to say
            print(folder)


def pretrain(overrides: Sequence[str]) -> Path:
    """Make the weights that ``alpl <overrides>`` starts from, or what is left to be made; give their folder.

    Raises:
        ConfigError, DataError: see there.
        Interrupted: it left after a signal; the same command goes on.
    """
    import torch  # here and below: they bring torch, which --help needs not
    from hydra.utils import get_class, instantiate

    from alpl.config.pretrained import pretrained_config
    from alpl.data.datamodule import ImageDataModule
    from alpl.machine.interruption import Interruption
    from alpl.machine.processes import end_with_parent, rank, told_as_parent
    from alpl.machine.progress import Progress, quiet_libraries
    from alpl.machine.speed import Speed
    from alpl.runs.products import Products
    from alpl.sharing.pretrained import KIND
    from alpl.sharing.pretraining import PretrainingFit

    config = _composed(overrides)
    kept = pretrained_config(config)
    if kept is None:
        raise ConfigError(
            "pretrained must be a choice of its group, e.g. pretrained=simsiam, or that of a row, "
            "e.g. method=entropy_self_trained, got null"
        )
    if get_class(config.data._target_) is not ImageDataModule:
        raise ConfigError(f"data must be images of classes for alpl-pretrain, got {config.data._target_}")
    quiet_libraries()
    if config.num_threads is not None:
        torch.set_num_threads(config.num_threads)
    recipe = instantiate(config.pretrained, _convert_="all")
    # labels are for the check alone, and two views take the place of what a run augments its pool with
    data = instantiate(config.data, _convert_="all", seed=recipe.seed, validation=0, pool_transform="evaluation")
    progress = Progress(f"pre-training on {config.data.name or config.data._target_}", None, 1, quiet=rank() != 0)
    progress.stage(0, "pretrain")
    try:
        with Interruption(config.grace_s) as interruption:
            fit = PretrainingFit(
                recipe,
                kept,
                data,
                _trainer(config),
                speed=instantiate(config.speed) if "speed" in config else Speed(),
                checkpoint_every_s=config.checkpoint_every_s,
                interruption=interruption,
                progress=progress,
            )

            def waiting(text: str) -> None:
                progress.within(text)
                interruption.leave()

            products = Products(kept.cache, waiting)
            if rank() != 0:
                end_with_parent()
                return _follow(products, fit)
            with told_as_parent(), interruption.blamed():
                product = products.get(KIND, fit.content, fit.fit)
            assert product is not None, "it waits"
            return product.folder
    finally:
        progress.close()


def _follow(products: Products, fit: PretrainingFit) -> Path:
    """Take part in what process 0 makes, or find it made."""
    from alpl.runs.products import fault_of
    from alpl.sharing.pretrained import KIND

    folder = products.root / products.name(KIND, fit.content)
    partial = folder.with_name(f".{folder.name}.partial")  # which process 0 makes before it fits
    while not partial.exists():
        if folder.exists() and fault_of(folder) is None:
            return folder
        time.sleep(0.05)
    fit.fit(partial)
    return folder


def _composed(overrides: Sequence[str]) -> DictConfig:
    from omegaconf import open_dict

    from alpl.commands.sweep import check_single, compose_job
    from alpl.preflight.config import check_config

    check_single(overrides, "the rows and seeds of a data set share what alpl-pretrain makes, so any one will do")
    config = compose_job(overrides)
    with open_dict(config):
        del config["hydra"]
    check_config(config)
    return config


def _trainer(config: DictConfig) -> Any:
    """Give a maker of trainers that compute where the run's would; batch norm is of all processes on GPUs."""
    from functools import partial

    import torch
    from hydra.utils import get_class

    from alpl.machine.speed import settled_precision

    trainer = config.trainer
    chosen = {name: trainer[name] for name in _MACHINE if name in trainer and name != "_target_"}
    accelerator = chosen.get("accelerator", "auto")
    if "precision" in chosen:
        chosen["precision"] = settled_precision(chosen["precision"], accelerator)
    on_gpu = accelerator in ("auto", "gpu", "cuda") and torch.cuda.is_available()
    return partial(get_class(trainer._target_), sync_batchnorm=on_gpu, **chosen)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="alpl-pretrain",
        description="Pre-train a backbone without labels, once for all runs that start from it. It takes what alpl "
        "takes and makes what that run needs; the same command goes on where it was killed.",
        epilog="example: alpl-pretrain data=cifar10 model=resnet18_frozen pretrained=simsiam trainer.devices=4 "
        "trainer.strategy=ddp",
    )
    parser.add_argument("overrides", nargs="*", metavar="OVERRIDE", help="as of alpl")
    return parser


if __name__ == "__main__":
    cli()
