"""What data a run is of: a digest of each part that determines results, so that what differs can be named."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, final

from alpl.errors import ConfigError, DataError
from alpl.machine.files import read_sealed

FILE = "data.json"
"""What data a run began with, in its folder."""

_IF_BROKEN = (
    "put it back from a copy, or delete it: then nobody knows with which data the run began, and one that goes on "
    "takes those of now for them"
)

SPLITS = ("training", "test")
TIMES = "time stamps of {} files"
CONTENTS = "contents of {} files"
PIXELS = "pixels of {} images"
LEFT_OUT = "images left out"
FOOTAGE = "videos"


class Part(NamedTuple):
    """One part of the data.

    Args:
        number: of its elements.
        sha256: of all of them, in order.
    """

    number: int
    sha256: str


@final
@dataclass(frozen=True)
class Fingerprint:
    """Tells a data set from any other in the same layout.

    Args:
        parts: each part that results depend on, by its name in the plural ("training labels"). The parts that are
            called as the constants of this module tell copies of one data set apart, too; see :attr:`identity`.
    """

    parts: Mapping[str, Part]

    @property
    def sha256(self) -> str:
        """Of all parts."""
        return _hash(dict(self.parts))

    @property
    def identity(self) -> str:
        """Eight hexadecimal digits: the same for copies of the data on other machines, and whatever is left out."""
        return _hash({name: part for name, part in self.parts.items() if not _is_of_copy(name)})[:8]

    @property
    def summary(self) -> str:
        """Say how large the data are: ``3 training images, 2 test images, 2 classes``."""
        names = [name for name in ("training images", "test images", "classes") if name in self.parts]
        return ", ".join(f"{self.parts[name].number} {name}" for name in names)

    def differences(self, earlier: Fingerprint) -> list[str]:
        """Name the parts that differ from an earlier run's, with their counts where these do.

        What files hold counts in place of their time stamps where both know it, and is passed over where only one does.
        """
        found = []
        for name in {**earlier.parts, **self.parts}:
            then, now = earlier.parts.get(name), self.parts.get(name)
            if then == now or name in self._passed_over(earlier):
                continue
            counts = [0 if part is None else part.number for part in (then, now)]
            more = f" ({counts[0]} then, {counts[1]} now)" if counts[0] != counts[1] else ""
            if name in map(TIMES.format, SPLITS):
                more += " (data.fingerprint=content, from a run's beginning on, compares contents instead)"
            found.append(f"{name} differ{more}")
        return found

    def _passed_over(self, earlier: Fingerprint) -> list[str]:
        known = [{CONTENTS.format(split) in one.parts for one in (self, earlier)} for split in SPLITS]
        return [
            (TIMES if both == {True} else CONTENTS).format(split) for split, both in zip(SPLITS, known, strict=True)
        ]

    def as_json(self) -> dict[str, Any]:
        """Give what :func:`read_fingerprint` reads."""
        parts = {name: part._asdict() for name, part in self.parts.items()}
        return {"identity": self.identity, "parts": parts}


def read_fingerprint(folder: Path) -> Fingerprint | None:
    """Read what data a run began with; None where it has not noted that, or in an earlier version of alpl.

    Raises:
        DataError: the file is broken.
    """
    path = folder / FILE
    if not path.exists():
        return None
    try:
        content = read_sealed(path, _IF_BROKEN)
        if "parts" not in content:
            return None
        parts = {str(name): Part(int(part["number"]), str(part["sha256"])) for name, part in content["parts"].items()}
    except (OSError, AttributeError, KeyError, TypeError, ValueError) as error:
        raise DataError(f"{path} must hold the number and sha256 of each part of the data: {error}") from error
    return Fingerprint(parts)


def check_same_data(folder: Path, now: Fingerprint) -> bool:
    """Hold a run to the data that it began with; its key does not say what lies where the data are.

    Returns:
        Whether the run has noted its data, so that they could be compared.

    Raises:
        ConfigError: they are others; it names what differs.
        DataError: see :func:`read_fingerprint`.
    """
    earlier = read_fingerprint(folder)
    if earlier is not None and (found := now.differences(earlier)):
        raise ConfigError(
            f"{folder} is of other data than there are now: {'; '.join(found)}; restore them, or give the data of now "
            "a name of their own (data.name=NAME)"
        )
    return earlier is not None


def _is_of_copy(name: str) -> bool:
    return name == LEFT_OUT or name in (form.format(split) for form in (TIMES, CONTENTS, PIXELS) for split in SPLITS)


def _hash(parts: Mapping[str, Part]) -> str:
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()
