"""Backbones that are pre-trained once, for all runs that start from them: a product below ``paths.cache``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, final

from torch import Tensor

from alpl.config.pretrained import PretrainedConfig
from alpl.data.datamodule import ImageDataModule
from alpl.errors import ConfigError
from alpl.machine.files import read_json, read_sealed, read_tensors, write_sealed
from alpl.runs.fingerprint import Fingerprint
from alpl.runs.products import ABOUT, Product, Products, fault_of
from alpl.sharing.determinants import digest_of

KIND = "pretrained"
WEIGHTS = "backbone.pt"
USED = "pretrained.json"  # in the folder of a run


def content_for(config: PretrainedConfig, data: ImageDataModule, fingerprint: Fingerprint) -> dict[str, Any]:
    """Give all that the weights depend on, as JSON has it; device, versions and code stand in the product itself.

    Args:
        config: the recipe.
        data: which is set up.
        fingerprint: of the data.
    """
    outside = data.splits.excluded
    return {
        **config.content,
        "images": fingerprint.parts["training images"].sha256,
        "excluded": None if outside is None else digest_of(outside),
    }


@final
class Pretrained:
    """The weights that a run starts from.

    Args:
        product: where they are.
    """

    def __init__(self, product: Product) -> None:
        self.name = product.name
        self.sha256 = str(read_json(product.folder / ABOUT)["files"][WEIGHTS]["sha256"])
        self.state: Mapping[str, Tensor] = read_tensors(product.folder / WEIGHTS)

    @classmethod
    def find(cls, config: PretrainedConfig, data: Any, fingerprint: Fingerprint) -> Pretrained:
        """Find them.

        Raises:
            ConfigError: nobody has made them yet, they are broken, or the data are no images of classes.
        """
        if not isinstance(data, ImageDataModule):
            raise ConfigError(f"pretrained must be null on data of {type(data).__name__}: it is for images of classes")
        name = Products(config.cache, lambda text: None).name(KIND, content_for(config, data, fingerprint))
        folder = config.cache / name
        fault = fault_of(folder) if folder.exists() else "it is not there"
        if fault is not None:
            raise ConfigError(
                f"pretrained must have been made before, got {folder}: {fault}; alpl-pretrain with the arguments of "
                "this run (of a sweep: one row on one data set, without -m) makes it, once for all that start from it"
            )
        return cls(Product(folder))

    def note(self, run: Path, *, may_write: bool) -> None:
        """Note in a run's folder which weights it starts from.

        Raises:
            ConfigError: it has begun with others.
        """
        path, told = run / USED, {"product": self.name, "weights": self.sha256}
        if path.exists():
            if (begun := read_sealed(path)) != told:
                raise ConfigError(
                    f"pretrained must stay what the run began with, {begun['product']} ({begun['weights'][:12]}), got "
                    f"{self.name} ({self.sha256[:12]}), which was made again; delete {run} to begin anew"
                )
        elif may_write:
            write_sealed(path, told)
