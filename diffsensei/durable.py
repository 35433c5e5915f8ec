"""Files that a power cut must not take back, whole or absent after any crash."""

import os
import shutil
import uuid
from pathlib import Path


def flush(path: Path) -> None:
    """Make a file's content (or a folder's entries) durable."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_whole(path: Path, data: bytes) -> None:
    """Replace ``path`` by ``data``: written aside, flushed, renamed."""
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    try:
        with temporary.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def link(source: Path, target: Path) -> None:
    """The same file in a second place, made with its folder; a copy where the file system has no hard links."""
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)
