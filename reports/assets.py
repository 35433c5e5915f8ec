"""Pictures of a report: stored once under the hash of their content, so versions of a report can share them."""

import hashlib
import io
from pathlib import Path

from PIL import Image

HASH_DIGITS = 16


class AssetFolder:
    """``assets/`` beside the pages. Every picture is decoded and written anew as PNG: no foreign bytes get in."""

    def __init__(self, output: Path) -> None:
        self._folder = output / "assets"
        self._folder.mkdir(exist_ok=True)
        self._known: dict[Path, tuple[str, int, int]] = {}

    def picture(self, path: Path) -> tuple[str, int, int] | None:
        """(address relative to the pages, width, height) of the image at ``path``; None where it is missing."""
        if path not in self._known:
            if not path.is_file():
                return None
            with Image.open(path) as image:
                pixels = image.convert("L") if image.mode in ("1", "L", "I", "F") else image.convert("RGB")
            buffer = io.BytesIO()
            pixels.save(buffer, format="PNG", optimize=True)
            name = f"{hashlib.sha256(buffer.getvalue()).hexdigest()[:HASH_DIGITS]}.png"
            (self._folder / name).write_bytes(buffer.getvalue())
            self._known[path] = (f"assets/{name}", *pixels.size)
        return self._known[path]
