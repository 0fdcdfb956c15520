"""The files that `alpl-query` reads: arrays, ragged detections, and lists of images."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from alpl.errors import ConfigError, DataError
from alpl.machine.files import read_array, reading
from alpl.pool import EXCLUDED, Pool
from alpl.querying.arrays import ARGUMENTS, Kind

READABLE = (".npy", ".csv", ".parquet")


def read_numbers(path: Path, kind: Kind = "float") -> np.ndarray:
    """Read an array of numbers.

    Args:
        path: ``.npy``, memory-mapped; ``.csv``, a row a line, without a header; or ``.parquet``, where pyarrow is
            installed: its columns side by side.
        kind: of its numbers; a ``.csv`` does not tell it, and is ``Long`` where that is asked for and all are whole.

    Raises:
        ConfigError: it is no such file, or pyarrow is missing.
        DataError: it cannot be read, or holds something else.
    """
    if path.suffix not in READABLE:
        raise ConfigError(f"an array must be a file that ends in one of {', '.join(READABLE)}, got {path}")
    if path.suffix == ".npy":
        return read_array(path, memory_map=True)
    if path.suffix == ".csv":
        with reading(path, "numbers, a row a line, separated by commas"):
            array = np.loadtxt(path, delimiter=",", ndmin=2)
        is_whole = bool((np.isfinite(array) & (array == np.rint(array))).all())
        return array.astype(np.int64) if kind == "long" and is_whole else array
    return _read_parquet(path)


def read_detections(path: Path) -> dict[str, np.ndarray]:
    """Read ragged detections: an ``.npz`` of ``row`` and arrays of instances by their names.

    Raises:
        DataError: it cannot be read, lacks ``row``, or has an array of another name.
    """
    with reading(path, "arrays of detections (.npz)"):
        with np.load(path, allow_pickle=False) as archive:
            found = dict(archive)
        if "row" not in found:
            raise ValueError("there is no array row, which says of which image each detection is")
        if unknown := sorted(set(found) - {"row", *ARGUMENTS}):
            raise ValueError(f"there is an array {unknown[0]}; known: row, {', '.join(ARGUMENTS)}")
        return found


def read_whole_numbers(path: Path) -> np.ndarray:
    """Read ``Long[n]``: an ``.npy``, or a text with a number a line; what follows a # is left out.

    Raises:
        DataError: it cannot be read, or holds something else.
    """
    if path.suffix == ".npy":
        return read_array(path)
    with reading(path, "a whole number a line"):
        lines = (line.split("#")[0].strip() for line in path.read_text(encoding="utf-8-sig").splitlines())
        return np.array([int(line) for line in lines if line], dtype=np.int64)


def read_labeled(path: Path | None) -> tuple[np.ndarray, np.ndarray]:
    """Read which images are labeled, and which take no part.

    Args:
        path: see :func:`read_whole_numbers`; or a ``pool.csv`` of a run, which tells both; or None for neither.

    Returns:
        ``Long[L]``, and ``Long[X]``, empty but for a ``pool.csv``.

    Raises:
        DataError: it cannot be read, or holds something else.
    """
    none = np.empty(0, dtype=np.int64)
    if path is None:
        return none, none
    try:
        with path.open(encoding="utf-8-sig") as stream:
            is_pool = stream.read(13) == "# num_images="
    except (OSError, UnicodeDecodeError):
        is_pool = False  # not there, or an .npy: the reader below tells
    if not is_pool:
        return read_whole_numbers(path), none
    pool = Pool.load(path)
    return pool.labeled.numpy(), (pool.cycle == EXCLUDED).nonzero().flatten().numpy()


def read_names(path: Path, number: int) -> list[str]:
    """Read the names of N images, one a line.

    Raises:
        DataError: it cannot be read, or names more or fewer.
    """
    with reading(path, "a name a line"):
        names = path.read_text(encoding="utf-8-sig").splitlines()
    if len(names) != number:
        raise DataError(f"{path} must name {number} images, one a line, got {len(names)}")
    return names


def _read_parquet(path: Path) -> np.ndarray:
    try:
        from pyarrow import parquet
    except ImportError as error:
        raise ConfigError(f"reading {path} needs pyarrow: pip install pyarrow") from error
    with reading(path, "columns of numbers (Parquet)"):
        table = parquet.read_table(path)
        return np.stack([column.to_numpy() for column in table.columns], axis=1)
