"""Finished parts of a long piece of work, one small JSON file each: complete or absent, whatever kills the writer."""

import json
import os
from pathlib import Path
from typing import Any

from diffsensei.durable import flush


class Shards:
    """Values of parts 0, 1, ... in ``folder``. What is unreadable counts as never written."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def read(self, number: int) -> Any | None:
        """The JSON value of a part, None when it is not finished."""
        try:
            return json.loads(self._path(number).read_bytes())
        except (FileNotFoundError, ValueError):
            return None

    def write(self, number: int, value: Any) -> None:
        """Commit a part; on return it survives a power cut."""
        path = self._path(number)
        temporary = path.with_suffix(".part")
        temporary.write_text(json.dumps(value))
        flush(temporary)
        os.replace(temporary, path)
        flush(self._folder)

    def _path(self, number: int) -> Path:
        return self._folder / f"{number:06d}.json"
