"""Names for content: one spelling of JSON, sha256 of values, files and folders."""

import hashlib
import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

LOGS = "logs"
"""Top-level folder of a result that is kept but is no part of its content: timings, throughput, curves."""


class FileEntry(BaseModel):
    """One file of a folder: relative POSIX path, bytes, sha256."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    path: str
    size: int
    sha256: str


def canonical_json(value: Any) -> str:
    """The one spelling of a JSON value: sorted keys, no spaces, no NaN."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False, ensure_ascii=False)


def json_digest(value: Any) -> str:
    """sha256 (64 hex digits) of ``canonical_json(value)``."""
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()


def file_digest(path: Path) -> str:
    """sha256 (64 hex digits) of a file, read in pieces."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def list_files(folder: Path) -> list[Path]:
    """Every regular file below ``folder``, sorted by its relative POSIX path.

    Raises ValueError for a link or a special file: its content would not be what the folder holds.
    """
    found = []
    for parent, folders, files in os.walk(folder, onerror=_raise):
        for path in (Path(parent, name) for name in (*folders, *files)):
            if path.is_symlink() or not (path.is_file() or path.is_dir()):
                raise ValueError(f"{path} is a link or a special file; a stored folder may hold only plain files")
        found += [Path(parent, name) for name in files]
    return sorted(found, key=lambda path: path.relative_to(folder).as_posix())


def _raise(error: OSError) -> None:
    """A folder that cannot be listed is not an empty one."""
    raise error


def file_entries(folder: Path) -> tuple[FileEntry, ...]:
    """Path, size and sha256 of every file below ``folder``, ``logs/`` included, sorted by path."""
    return tuple(
        FileEntry(path=path.relative_to(folder).as_posix(), size=path.stat().st_size, sha256=file_digest(path))
        for path in list_files(folder)
    )


def content_digest(entries: Iterable[FileEntry]) -> str:
    """Digest of a folder from its entries: paths, sizes and bytes, without ``logs/``."""
    content = [[entry.path, entry.size, entry.sha256] for entry in entries if not entry.path.startswith(f"{LOGS}/")]
    return json_digest(sorted(content))


def folder_digest(folder: Path) -> str:
    """Digest of the content of ``folder``: equal for equal files, whatever lies under ``logs/``."""
    return content_digest(file_entries(folder))
