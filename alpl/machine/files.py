"""Files are written whole or not at all: to a temporary name beside the target, then renamed over it."""

from __future__ import annotations

import csv
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Literal, final

import numpy as np
from numpy.lib import format as npy
from typing_extensions import Self

from alpl.errors import ConfigError, DataError

_SEAL = "sha256"


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


@contextmanager
def reading(path: Path, what: str) -> Iterator[None]:
    """Name a file in whatever goes wrong while the block reads it.

    Args:
        path: the file.
        what: it must hold, for the message.

    Raises:
        DataError: the file cannot be read, or holds something else.
    """
    try:
        yield
    except DataError:
        raise
    except FileNotFoundError as error:
        raise DataError(f"{path} must be a file that holds {what}, there is none") from error
    except Exception as error:  # broken bytes make a parser raise anything
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        raise DataError(f"{path} must hold {what}, and is broken or of something else: {reason}") from error


def read_json(path: Path) -> Any:
    """Read a JSON file.

    Raises:
        DataError: see :func:`reading`.
    """
    with reading(path, "JSON"):
        return json.loads(path.read_text(encoding="utf-8"))


def read_object(path: Path) -> dict[str, Any]:
    """Read a JSON file that holds an object.

    Raises:
        DataError: see :func:`reading`.
    """
    value = read_json(path)
    if not isinstance(value, dict):
        raise DataError(f"{path} must hold a JSON object, got a {type(value).__name__}")
    return value


def write_sealed(path: Path, value: Mapping[str, Any]) -> None:
    """Write an object as JSON with a checksum of itself in it, for :func:`read_sealed`."""
    write_json(path, sealed(value))


def read_sealed(path: Path, advice: str = "delete it, and the same command writes it again") -> dict[str, Any]:
    """Read what :func:`write_sealed` wrote.

    An object without a checksum, of earlier versions, is believed.

    Args:
        path: the file.
        advice: what to do where it is broken.

    Raises:
        DataError: it is not what was written, or see :func:`reading`.
    """
    try:
        with reading(path, "what was written there"):
            return unsealed(read_object(path))
    except DataError as error:
        raise DataError(f"{error}; {advice}") from error


def sealed(value: Mapping[str, Any]) -> dict[str, Any]:
    """Add the checksum (SHA-256) of what JSON keeps of an object, as its last key."""
    return {**value, _SEAL: _sum_of(value)}


def unsealed(value: Mapping[str, Any]) -> dict[str, Any]:
    """Take the checksum out again, where there is one.

    Raises:
        ValueError: it is of something else.
    """
    kept = {name: each for name, each in value.items() if name != _SEAL}
    if _SEAL in value and value[_SEAL] != _sum_of(kept):
        raise ValueError(f"its {_SEAL} is of something else")
    return kept


def _sum_of(value: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(value, ensure_ascii=False).encode()).hexdigest()


def read_csv(path: Path, what: str, *columns: str) -> list[dict[str, str]]:
    """Read the lines of a CSV file by the names in its first line.

    Args:
        path: the file.
        what: it must hold, for the message.
        columns: that it must have.

    Raises:
        DataError: it lacks a column, a line has more or fewer fields than the first one, or see :func:`reading`.
    """
    with reading(path, what), path.open(encoding="utf-8", newline="") as stream:
        header, *rows = csv.reader(stream, strict=True)
        if missing := [name for name in columns if name not in header]:
            raise ValueError(f"there is no column {missing[0]}")
        return [dict(zip(header, row, strict=True)) for row in rows]


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
    """Read a ``.npy`` file, memory-mapped on request; never a pickle.

    Raises:
        DataError: see :func:`reading`.
    """
    with reading(path, "one plain array (.npy)"):
        mode: Literal["c"] | None = "c" if memory_map else None  # c: writes stay ours
        array: np.ndarray = np.load(path, mmap_mode=mode, allow_pickle=False)
        if not isinstance(array, np.ndarray):
            raise ValueError("it is an archive of several")
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
        ConfigError: the file does not exist, is broken, or holds anything but tensors and plain values.
    """
    import pickle

    import torch

    try:
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        raise ConfigError(f"checkpoint file does not exist: {path}") from error
    except (pickle.UnpicklingError, EOFError) as error:
        raise ConfigError(f"checkpoint file must hold only tensors and plain values: {path}") from error
    except Exception as error:  # broken bytes make torch raise anything
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        raise ConfigError(f"checkpoint file must be a whole one of torch's: {path}: {reason}") from error
    if not isinstance(state, dict):
        raise ConfigError(f"checkpoint file must hold tensors by name: {path} holds a {type(state).__name__}")
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
