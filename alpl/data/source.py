"""Sources: where the images of an experiment come from. One data set, one small class, one file."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import final

from alpl.data.sets import Splits
from alpl.errors import DataError


class AbstractSource(ABC):
    """Gives the train and test images of a data set."""

    @abstractmethod
    def load(self) -> Splits:
        """Read and check everything; never touches the network.

        The order of the images is the same on every machine, because positions are the dataset indices.

        Raises:
            DataError: a file is missing or broken; the message names it.
        """

    def prepare(self) -> None:  # noqa: B027  (concrete on purpose: most sources have nothing to prepare)
        """Download what :meth:`load` reads, where that was asked for; called on one process only.

        Raises:
            DataError: the download failed.
        """


class AbstractDownloadedSource(AbstractSource):
    """Base of sources that torchvision can download.

    Args:
        root: the folder that holds the data set's own.
        download: whether :meth:`prepare` fetches what is missing or broken.
    """

    def __init__(self, root: str, download: bool = False) -> None:
        self.root = Path(root).expanduser()
        self.download = download

    @final
    def prepare(self) -> None:
        """Download into ``root`` if ``download`` is set and the files are not there already.

        Raises:
            DataError: the download failed.
        """
        if self.download:
            fetch(type(self).__name__, self.root, self._fetch)

    @abstractmethod
    def _fetch(self) -> object:
        """Let torchvision download what is not there; see :func:`fetch` for what it may raise."""


def fetch(name: str, root: Path, download: Callable[[], object]) -> None:
    """Run ``download`` and turn its failure into one line.

    Args:
        name: the data set.
        root: the folder it is written to.
        download: does the work; torchvision's data sets raise an OSError without a network or without the
            right to write, and a RuntimeError where what arrived is not what was published.

    Raises:
        DataError: the download failed.
    """
    try:
        download()
    except (OSError, RuntimeError) as error:
        reason = " ".join(str(error).split())
        raise DataError(f"{name}: the download into root={root} failed: {reason}") from error
