"""What a run's network costs, as its ``cost.json`` has it: parameters, and seconds of an image. No torch."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import final

from alpl.errors import DataError
from alpl.machine.files import read_object, reading, write_json

FILE = "cost.json"


@final
@dataclass(frozen=True)
class NetworkCost:
    """Size and speed of what a run asks about its images; of an ensemble, of all members together.

    Args:
        parameters: all of them.
        trainable: those that a fit changes.
        forward_seconds: of one image alone, from the network's input to its predictions, with all that the acquisition
            needs of it (dropout passes, say); the fastest of ``turns``.
        turns: measured ones.
        height: of the input, in pixels.
        width: of the input, in pixels.
        needs: what the acquisition needs of the network, by name.
        device: where it was measured.
        precision: Lightning's name of it.
    """

    parameters: int
    trainable: int
    forward_seconds: float
    turns: int
    height: int
    width: int
    needs: str
    device: str
    precision: str

    def save(self, path: Path) -> None:
        """Write it."""
        write_json(path, asdict(self))

    @classmethod
    def load(cls, path: Path) -> NetworkCost:
        """Read it.

        Raises:
            DataError: the file is broken, or its numbers cannot be.
        """
        with reading(path, "the cost of a network"):
            about = read_object(path)
            types = {"float": float, "int": int, "str": str}
            cost = cls(**{each.name: types[str(each.type)](about[each.name]) for each in fields(cls)})
        if not (0 <= cost.trainable <= cost.parameters and 0 < cost.forward_seconds < math.inf):
            raise DataError(f"{path} must hold 0 <= trainable <= parameters and positive forward_seconds, got {cost}")
        return cost
