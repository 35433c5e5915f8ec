"""Where votes are kept: one JSON line each, on the disk before anybody is told so, by one process at a time.

A process that is killed while it writes leaves at most a torn last line, of which nobody was told; it is cut off at
the next start. Anything else that cannot be read is an error, never skipped.
"""

import fcntl
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from pydantic import ValidationError

from diffsensei.durable import flush
from diffsensei.study.votes import StoredVote, one_line


class Ledger:
    """The votes of a study, by packet and trial. Made by `open_ledger`."""

    def __init__(self, descriptor: int, path: Path) -> None:
        self._descriptor, self._path = descriptor, path
        data = path.read_bytes()
        self._length = data.rfind(b"\n") + 1
        self.votes: dict[tuple[str, str], StoredVote] = {}
        for stored in _parsed(data[: self._length], path):
            self.votes[stored.packet, stored.vote.trial] = stored
        os.ftruncate(descriptor, self._length)

    def append(self, batch: Sequence[StoredVote]) -> None:
        """Keep ``batch``; when this returns, a power cut does not take it back.

        Raises ValueError for a second vote on a trial, and OSError where the disk refuses; then none is kept.
        """
        keys = [(stored.packet, stored.vote.trial) for stored in batch]
        if len(set(keys)) < len(keys) or any(key in self.votes for key in keys):
            raise ValueError("this set was answered before; an answer is final")
        data = b"".join(stored.model_dump_json().encode() + b"\n" for stored in batch)
        try:
            written = 0
            while written < len(data):
                written += os.pwrite(self._descriptor, data[written:], self._length + written)
            os.fsync(self._descriptor)
        except OSError:
            os.ftruncate(self._descriptor, self._length)
            raise
        self._length += len(data)
        self.votes.update(zip(keys, batch, strict=True))


@contextmanager
def open_ledger(study: Path) -> Iterator[Ledger]:
    """The ledger of ``study``, made if there is none, for this process alone.

    Raises ValueError if another process has it, or if it was damaged.
    """
    folder = study / "votes"
    folder.mkdir(mode=0o700, exist_ok=True)
    path = folder / "votes.jsonl"
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise ValueError(f"{path} is in use by another process; stop the study's server first") from error
        for entry in (folder, study):
            flush(entry)
        yield Ledger(descriptor, path)
    finally:
        os.close(descriptor)


def read_votes(study: Path) -> list[StoredVote]:
    """The votes kept so far, in order of arrival; also while a server runs. A torn last line is left out."""
    path = study / "votes" / "votes.jsonl"
    if not path.is_file():
        return []
    data = path.read_bytes()
    return list(_parsed(data[: data.rfind(b"\n") + 1], path))


def _parsed(data: bytes, path: Path) -> Iterator[StoredVote]:
    seen: set[tuple[str, str]] = set()
    for number, line in enumerate(data.splitlines(), start=1):
        try:
            stored = StoredVote.model_validate_json(line)
        except ValidationError as error:
            raise ValueError(f"{path}:{number}: damaged ({one_line(error, 'line')}); restore it from a copy") from error
        key = (stored.packet, stored.vote.trial)
        if key in seen:
            raise ValueError(f"{path}:{number}: a second vote on one set; restore the file from a copy")
        seen.add(key)
        yield stored
