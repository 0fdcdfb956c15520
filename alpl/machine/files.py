"""Files are written whole or not at all: to a temporary name beside the target, then renamed over it."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import IO, Any, final

import numpy as np
from numpy.lib import format as npy
from typing_extensions import Self

from alpl.errors import ConfigError


@contextmanager
def whole_file(path: Path, mode: str = "w") -> Iterator[IO[Any]]:
    """Open a temporary file that becomes ``path`` when the block ends without an error.

    The data is on the disk before the name is (fsync), so a power cut cannot leave an empty file either.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        text = {"encoding": None, "newline": None} if "b" in mode else {"encoding": "utf-8", "newline": ""}
        with temporary.open(mode, **text) as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def whole_folder(path: Path) -> Iterator[Path]:
    """Give a temporary folder that becomes ``path`` (replacing an older one) when the block ends."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    try:
        yield temporary
        shutil.rmtree(path, ignore_errors=True)
        temporary.replace(path)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def write_text(path: Path, text: str) -> None:
    """Write ``text`` to ``path``, whole."""
    with whole_file(path) as stream:
        stream.write(text)


def write_json(path: Path, value: Any, *, indent: int | None = 2) -> None:
    """Write ``value`` as JSON, keys in the order given; with ``indent=None`` compact, and about ten times as fast."""
    write_text(path, json.dumps(value, indent=indent, ensure_ascii=False) + "\n")


def read_json(path: Path) -> Any:
    """Read a JSON file."""
    return json.loads(path.read_text(encoding="utf-8"))


def sha256_of(path: Path) -> str:
    """Give the SHA-256 of a file, in hexadecimal digits."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while part := stream.read(1 << 20):
            digest.update(part)
    return digest.hexdigest()


def write_array(path: Path, array: np.ndarray) -> None:
    """Write one array as ``.npy``. Object arrays are refused: reading them back would run pickles."""
    with whole_file(path, "wb") as stream:
        np.lib.format.write_array(stream, array, allow_pickle=False)


def read_array(path: Path, *, memory_map: bool = False) -> np.ndarray:
    """Read a ``.npy`` file, memory-mapped on request; never a pickle."""
    array: np.ndarray = np.load(path, mmap_mode="c" if memory_map else None, allow_pickle=False)  # c: writes stay ours
    return array


def write_header(stream: IO[bytes], shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
    """Write the header of an ``.npy`` file at its beginning; numpy leaves room in it for the first axis to grow."""
    stream.seek(0)
    header = {"descr": npy.dtype_to_descr(dtype), "fortran_order": False, "shape": shape}
    npy.write_array_header_1_0(stream, header)


@final
class GrowingArray:
    """An ``.npy`` file that is written part by part, along its first axis; for a folder that is not whole yet.

    Args:
        path: the file.
        first: the first part, maybe of length 0; the others must have its type and shape, less the first axis.
    """

    def __init__(self, path: Path, first: np.ndarray) -> None:
        self._shape, self._dtype, self._length = first.shape[1:], first.dtype, 0
        self._path = path
        self._stream = path.open("wb")
        write_header(self._stream, (0, *self._shape), self._dtype)
        self.append(first)

    def append(self, part: np.ndarray) -> None:
        """Write the next part.

        Raises:
            ValueError: it is of another type or shape.
        """
        if part.shape[1:] != self._shape or part.dtype != self._dtype:
            raise ValueError(
                f"{self._path.name} must get parts of {self._dtype} {list(self._shape)}, "
                f"got {part.dtype} {list(part.shape[1:])}"
            )
        self._stream.write(np.ascontiguousarray(part).data)
        self._length += len(part)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Write the length and close; after an error just close."""
        with self._stream:
            if error is None:
                write_header(self._stream, (self._length, *self._shape), self._dtype)
                self._stream.flush()
                os.fsync(self._stream.fileno())


def write_tensors(path: Path, state: dict[str, Any]) -> None:
    """Save a state dict, whole."""
    import torch  # here: the reading commands use this file and must start fast

    with whole_file(path, "wb") as stream:
        torch.save(state, stream)


def read_tensors(path: Path) -> dict[str, Any]:
    """Load a state dict on the CPU with ``weights_only=True``: a checkpoint cannot run code.

    Raises:
        ConfigError: the file does not exist, or holds anything but tensors and plain values.
    """
    import pickle

    import torch

    try:
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        raise ConfigError(f"checkpoint file does not exist: {path}") from error
    except (pickle.UnpicklingError, EOFError) as error:
        raise ConfigError(f"checkpoint file must hold only tensors and plain values: {path}") from error
    return state


def replace_with(path: Path, write: Callable[[Path], None]) -> None:
    """Let ``write`` fill a temporary path, then rename it to ``path`` (for writers that want a file name)."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        write(temporary)
        with temporary.open("rb") as stream:
            os.fsync(stream.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
