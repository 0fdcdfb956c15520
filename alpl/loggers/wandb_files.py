"""The files of offline wandb runs, read back: LevelDB's log format around wandb's records.

wandb itself reads them only to upload them. A run that goes on after a kill must know what its earlier pieces hold.
"""

from __future__ import annotations

import time
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, final

from google.protobuf.message import DecodeError  # type: ignore[import-untyped, unused-ignore]
from wandb.proto import wandb_internal_pb2

from alpl.machine.files import write_text

_BLOCK = 32768  # bytes; a chunk never crosses the end of a block
_HEADER = 7  # bytes: checksum (4), length (2), kind (1)
_DIGITS = 18  # of a step, at most
_FILE_HEADER = 7  # bytes: wandb's own, before the first chunk
_FULL, _FIRST, _MIDDLE, _LAST = 1, 2, 3, 4


def read_records(file: Path) -> Iterator[Any]:
    """Give the records (``wandb_internal_pb2.Record``) of a ``.wandb`` file, up to where it is broken.

    A kill broke it off there, or the disk did; none of a file that cannot be read.
    """
    whole = b""
    for kind, piece in _chunks(_bytes_of(file)):
        whole = piece if kind in (_FULL, _FIRST) else whole + piece
        if kind in (_FULL, _LAST):
            record = wandb_internal_pb2.Record()  # type: ignore[attr-defined, unused-ignore]
            try:
                record.ParseFromString(whole)
            except DecodeError:
                return
            yield record


@final
class OfflinePieces:
    """The pieces of an offline run, one for each time that it was taken up, and how far they go.

    wandb's service writes in blocks, so for a while only it knows the latest points. It outlives a killed process for
    a moment and then writes them, or it was killed, too, and they are lost. So what it was told is noted beside the
    pieces.

    Args:
        folder: the run's folder.
        run_id: the id of the wandb run.
        patience_s: seconds that an earlier process's service may take to write what it was told.
    """

    def __init__(self, folder: Path, run_id: str, patience_s: float = 10.0) -> None:
        self._folder = folder / "wandb"
        self._run_id = run_id
        self._patience_s = patience_s
        self._note = self._folder / f"told-{run_id}.txt"

    @property
    def files(self) -> list[Path]:
        """The pieces, oldest first."""
        return sorted(self._folder.glob(f"offline-run-*-{self._run_id}/run-{self._run_id}.wandb"))

    def note(self, next_step: int) -> None:
        """Note that wandb is about to hear of all steps before this one."""
        write_text(self._note, str(next_step))

    def next_step(self) -> int:
        """Give the first step that no piece holds; where all were removed after an upload, the one that was noted."""
        told = self._told()
        if not self.files:
            return told
        deadline = time.monotonic() + self._patience_s
        while (found := self._found()) < told and time.monotonic() < deadline:
            time.sleep(0.2)
        return found

    def _told(self) -> int:
        text = _bytes_of(self._note)
        return int(text) if text.isdigit() and len(text) <= _DIGITS else 0

    def _found(self) -> int:
        records = (record for file in self.files for record in read_records(file))
        return max((record.history.step.num + 1 for record in records if record.HasField("history")), default=0)


def _bytes_of(file: Path) -> bytes:
    """Read a file; nothing where it cannot be read: what wandb left must not stop a run."""
    try:
        return file.read_bytes()
    except OSError:
        return b""


def _chunks(data: bytes) -> Iterator[tuple[int, bytes]]:
    place = _FILE_HEADER
    while place + _HEADER <= len(data):
        room = _BLOCK - place % _BLOCK
        if room < _HEADER:  # padding
            place += room
            continue
        checksum, length = (int.from_bytes(data[place + a : place + b], "little") for a, b in ((0, 4), (4, 6)))
        kind, piece = data[place + 6], data[place + _HEADER : place + _HEADER + length]
        if len(piece) < length or kind not in (_FULL, _FIRST, _MIDDLE, _LAST):
            return
        if zlib.crc32(piece, zlib.crc32(bytes([kind]))) != checksum:
            return
        yield kind, piece
        place += _HEADER + length
