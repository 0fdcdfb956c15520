from pathlib import Path

from alpl.machine.locks import FileLock


def test_bytes_that_are_no_text_stop_nobody(tmp_path: Path) -> None:
    (tmp_path / "lock").write_bytes(b"\xff\xfe on \xff")
    lock = FileLock(tmp_path / "lock")
    assert lock.try_acquire() and " on " in lock.holder
    assert (tmp_path / "lock").read_text().startswith("process ")
    lock.release()
    assert (tmp_path / "lock").read_bytes() == b""
