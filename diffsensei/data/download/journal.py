"""What a downloader already knows: one line per url in an append-only file, and one for each request to try anew.

A line is written only after its object is durable, so whatever was killed in between is simply fetched again.
"""

import fcntl
import os
import time
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import Self

from pydantic import BaseModel, ConfigDict, ValidationError

from diffsensei.data.halves import Half

SYNC_EVERY_S = 1.0


class Retry(BaseModel):
    """A person asked for these urls to be tried again, whatever the lines above say of them."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    retry: tuple[str, ...]


RETRY_START = b'{"retry":'


class Journal:
    """An append-only file of `Half` and `Retry` lines, locked against a second writer. Use as a context manager."""

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
        """The last record of each url not to be tried again. Lines that were torn or damaged count as never written."""
        self._file.seek(0)
        content = self._file.read()
        if content and not content.endswith(b"\n"):
            self._file.write(b"\n")
        records: dict[str, Half] = {}
        for line in content.split(b"\n"):
            try:
                if line.startswith(RETRY_START):
                    for url in Retry.model_validate_json(line).retry:
                        records.pop(url, None)
                else:
                    record = Half.model_validate_json(line)
                    records[record.url] = record
            except ValidationError:
                continue
        return records

    def append(self, record: Half) -> None:
        """Add one line; it reaches the disk within `SYNC_EVERY_S` of the next append, or at the end."""
        self._write(record.model_dump_json(exclude_defaults=True))
        if time.monotonic() - self._synced > SYNC_EVERY_S:
            os.fsync(self._file.fileno())
            self._synced = time.monotonic()

    def retry(self, urls: Iterable[str]) -> None:
        """Forget what became of ``urls``; durable at once, and whole or not at all."""
        self._write(Retry(retry=tuple(urls)).model_dump_json())
        os.fsync(self._file.fileno())

    def _write(self, line: str) -> None:
        self._file.write(line.encode() + b"\n")
        self._file.flush()


def count_retries(path: Path) -> int:
    """How often someone asked to try urls again: with each, the next download is another one than the last."""
    try:
        with path.open("rb") as file:
            return sum(line.startswith(RETRY_START) and line.endswith(b"]}\n") for line in file)
    except FileNotFoundError:
        return 0
