"""Seeds derived from a run's seed and a place in it, so that any stage or epoch can start afresh after a kill."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch


def derive_seed(seed: int, *place: int | str) -> int:
    """Give the 32-bit seed of a place, e.g. ``derive_seed(seed, "fit", cycle, epoch)``.

    A hash, not a sum: seed 1 of cycle 2 shares nothing with seed 2 of cycle 1.

    >>> derive_seed(0, "fit", 1) == derive_seed(0, "fit", 1), derive_seed(0, "fit", 1) == derive_seed(1, "fit", 0)
    (True, False)
    """
    text = "/".join(str(part) for part in (seed, *place))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "little")


def generator(seed: int, *place: int | str) -> torch.Generator:
    """Give a CPU generator seeded by :func:`derive_seed`; draws are the same on every device's machine."""
    return torch.Generator().manual_seed(derive_seed(seed, *place))


def seed_all(seed: int) -> None:
    """Seed Python's, numpy's and torch's global generators (torch: all devices)."""
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002  (libraries that still draw from the global one)
    torch.manual_seed(seed)


@contextmanager
def undisturbed() -> Iterator[None]:
    """Put Python's, numpy's and torch's (CPU) global generators back at the end to where they were."""
    states = random.getstate(), np.random.get_state(), torch.get_rng_state()  # noqa: NPY002
    try:
        yield
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])  # noqa: NPY002
        torch.set_rng_state(states[2])


def uniform(generator: torch.Generator, low: float, high: float) -> float:
    """Draw a number from [low, high)."""
    return low + (high - low) * float(torch.rand((), generator=generator, dtype=torch.float64))


def integer(generator: torch.Generator, number: int) -> int:
    """Draw one of 0 to ``number - 1``."""
    return int(torch.randint(number, (), generator=generator))


def coin(generator: torch.Generator) -> bool:
    """Draw true or false, equally likely."""
    return integer(generator, 2) == 1
