"""What a downloader already knows: one line per url in an append-only file.

A line is written only after its object is durable, so whatever was killed in between is simply fetched again.
"""

import fcntl
import os
import time
from pathlib import Path
from types import TracebackType
from typing import Self

from pydantic import ValidationError

from diffsensei.data.halves import Half

SYNC_EVERY_S = 1.0


class Journal:
    """An append-only file of `Half` lines, locked against a second writer. Use as a context manager."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._synced = time.monotonic()

    def __enter__(self) -> Self:
        self._file = self._path.open("ab+")
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._file.close()
            raise ValueError(f"another download is writing {self._path}: wait for it or stop it") from None
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.fsync(self._file.fileno())
        self._file.close()

    def read(self) -> dict[str, Half]:
        """The last record of each url. Lines that were torn or damaged count as never written."""
        self._file.seek(0)
        content = self._file.read()
        if content and not content.endswith(b"\n"):
            self._file.write(b"\n")
        records = {}
        for line in content.splitlines():
            try:
                record = Half.model_validate_json(line)
            except ValidationError:
                continue
            records[record.url] = record
        return records

    def append(self, record: Half) -> None:
        """Add one line; it reaches the disk within `SYNC_EVERY_S` of the next append, or at the end."""
        self._file.write(record.model_dump_json(exclude_defaults=True).encode() + b"\n")
        self._file.flush()
        if time.monotonic() - self._synced > SYNC_EVERY_S:
            os.fsync(self._file.fileno())
            self._synced = time.monotonic()
