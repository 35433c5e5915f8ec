"""Original files stored under the sha256 of their content."""

import hashlib
import os
import tempfile
from pathlib import Path


class Objects:
    """Files named by the sha256 of their content: ``<root>/<aa>/<sha256>``, complete or absent."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def path(self, sha256: str) -> Path:
        """Where the object of that digest lies, whether or not it exists."""
        return self._root / sha256[:2] / sha256

    def write(self, data: bytes) -> str:
        """Store ``data`` durably and return its sha256; does nothing when it is there already, intact."""
        sha256 = hashlib.sha256(data).hexdigest()
        path = self.path(sha256)
        if self.is_intact(sha256):
            return sha256
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path.parent, suffix=".part", delete=False) as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(file.name, path)
        return sha256

    def remove_partial(self) -> None:
        """Remove what writers that were killed left behind; only while nobody writes."""
        for path in self._root.glob("*/*.part"):
            path.unlink(missing_ok=True)

    def is_intact(self, sha256: str) -> bool:
        """Whether the object exists and its bytes still have that digest."""
        try:
            with self.path(sha256).open("rb") as file:
                return hashlib.file_digest(file, "sha256").hexdigest() == sha256
        except OSError:
            return False

    def link_to(self, other: "Objects", sha256: str) -> None:
        """Give ``other`` the same object, by hard link where the file system can."""
        target = other.path(sha256)
        if target.exists():
            return
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            os.link(self.path(sha256), target)
        except OSError:
            target.write_bytes(self.path(sha256).read_bytes())
