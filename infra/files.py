"""Files that a crash leaves whole or absent: write aside, flush to disk, rename; locks that die with their owner."""

import fcntl
import json
import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


class RecordDamaged(ValueError):
    """A file that is written whole only, and is not whole: not this program but the disk has changed it."""


def read_json(path: Path) -> Any:
    """The JSON value in ``path``, or None where there is no such file.

    Raises `RecordDamaged` for what is no JSON, and OSError for what cannot be read: neither is taken for absence.
    """
    try:
        return json.loads(path.read_bytes())
    except FileNotFoundError:
        return None
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from None  # a failed read names no file
    except ValueError as error:
        raise RecordDamaged(f"{path} is damaged: it was written as JSON and is none any more ({error})") from None


def write_json(path: Path, value: Any) -> None:
    """Replace ``path`` whole and durably."""
    write_text(path, json.dumps(value, indent=1, ensure_ascii=False))


def write_text(path: Path, text: str) -> None:
    """Replace ``path`` whole and durably: no reader and no crash ever sees half of it."""
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    try:
        with temporary.open("w", encoding="utf-8") as stream:
            stream.write(text)
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    sync(path.parent)


def children(folder: Path) -> list[Path]:
    """What lies in ``folder``, sorted; nothing where it is absent, and no hidden names, which are still being written.

    Raises OSError for a folder that cannot be listed, which ``Path.glob`` takes for an empty one.
    """
    try:
        return [folder / name for name in sorted(os.listdir(folder)) if not name.startswith(".")]
    except (FileNotFoundError, NotADirectoryError):
        return []


def sync(path: Path) -> None:
    """Flush one file or folder entry to disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_tree(folder: Path) -> None:
    """Flush every file and folder below ``folder``, and ``folder`` itself."""
    for path in folder.rglob("*"):
        sync(path)
    sync(folder)


def try_lock(path: Path) -> int | None:
    """An exclusive lock on ``path`` as an open descriptor, or None while someone else holds it.

    The kernel frees it when the descriptor is closed or its owner dies, however that happens.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    return descriptor


@contextmanager
def locked(path: Path) -> Iterator[int]:
    """Hold the exclusive lock on ``path``, waiting for it.

    The value is its descriptor: a child process that inherits it holds the lock, too, for as long as it lives.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield descriptor
    finally:
        os.close(descriptor)
