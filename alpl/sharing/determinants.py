"""All that the first cycle's training and test depend on."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import fields, is_dataclass
from functools import cache
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Trainer
from torch import Tensor

import alpl
from alpl.config.first_cycle import FirstCycleConfig
from alpl.pool import Pool
from alpl.runs.environment import describe_device, describe_packages


def determinants(
    config: FirstCycleConfig,
    attached: Sequence[bool],
    trainer: Trainer,
    fingerprint: str,
    pool: Pool,
    answers: Any,
) -> dict[str, Any]:
    """Give them as JSON has them: runs with the same ones train and test the same, to the last bit.

    Not among them is code outside this package: a run's own key does not tell it either.

    Args:
        config: what of the config counts.
        attached: for each callback whether it takes part in the fit.
        trainer: one like the fit's.
        fingerprint: of the data, their test images and labels too.
        pool: the initial one.
        answers: the oracle's for its labeled images.
    """
    return {
        "config": dict(config.content),
        "providers": [about for about, there in zip(config.callbacks.values(), attached, strict=True) if there],
        "data": fingerprint,
        "pool": digest_of([pool.cycle, answers]),
        "processes": trainer.num_devices * trainer.num_nodes,
        "device": describe_device(trainer.strategy.root_device),  # with the threads of a CPU
        "packages": describe_packages(),
        "code": _code(),
    }


def digest_of(value: Any) -> str:
    """Give the SHA-256 of tensors and plain values, and of lists and data classes of them.

    Raises:
        TypeError: there is something else among them.
    """
    digest = hashlib.sha256()
    _add(digest, value)
    return digest.hexdigest()


def _add(digest: Any, value: Any) -> None:
    if isinstance(value, Tensor):
        digest.update(f"{value.dtype}{list(value.shape)}".encode())
        digest.update(value.contiguous().view(torch.uint8).numpy().data if value.numel() else b"")
    elif isinstance(value, (list, tuple)):
        digest.update(f"{len(value)}".encode())
        for each in value:
            _add(digest, each)
    elif is_dataclass(value):
        for each in fields(value):
            _add(digest, getattr(value, each.name))
    elif value is None or isinstance(value, (bool, int, float, str)):
        digest.update(repr(value).encode())
    else:
        raise TypeError(f"answers must be tensors, or lists or data classes of them, got {type(value).__name__}")


@cache
def _code() -> str:
    """Give the SHA-256 of this package's sources: a commit would not tell what is not committed yet."""
    root = Path(alpl.__file__).parent
    digest = hashlib.sha256()
    for path in sorted(root.rglob("*.py")):
        digest.update(f"{path.relative_to(root)}\n".encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()
