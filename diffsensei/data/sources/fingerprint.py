"""What local files hold, told without reading them: for the identity of the stage that will."""

import hashlib
import os
from collections.abc import Iterable
from pathlib import Path


def fingerprint(paths: Iterable[Path]) -> str:
    """sha256 over name, size and modification time of each of ``paths`` and of all files below those that are folders.

    Raises ValueError (one line) for a path that does not exist.
    """
    digest = hashlib.sha256()
    for path in paths:
        if not path.exists():
            raise ValueError(f"{path} does not exist; expected a folder, an archive or a PDF of the data source")
        for file in [path] if path.is_file() else _files(path):
            facts = os.lstat(file)
            digest.update(
                f"{os.path.relpath(file, path)}\0{facts.st_size}\0{facts.st_mtime_ns}\n".encode("utf-8", "replace")
            )
        digest.update(b"\n")
    return digest.hexdigest()


def _files(folder: Path) -> list[str]:
    return sorted(os.path.join(inner, name) for inner, _, names in os.walk(folder) for name in names)
