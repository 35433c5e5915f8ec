"""Nothing may be written elsewhere: an audit hook that notes every file that Python opens for writing, or removes."""

import os
import sys
from pathlib import Path
from typing import Any

WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
NO_FILE = ("/dev/", "/proc/")
"""Where opening for writing leaves nothing behind."""
CHANGES = {
    "os.mkdir": 1,
    "os.remove": 1,
    "os.rmdir": 1,
    "os.truncate": 1,
    "os.rename": 2,
    "os.link": 2,
    "os.symlink": 2,
}
"""Audit event -> how many of its first arguments are paths. Of a link the second is the one that is made."""


class WriteGuard:
    """While entered, writing outside ``folders`` raises, and is remembered. What C code writes is not seen here."""

    def __init__(self, *folders: Path) -> None:
        self._folders = [os.path.realpath(folder) for folder in folders]
        self.violations: list[str] = []

    def __enter__(self) -> "WriteGuard":
        _install()
        _active.append(self)
        return self

    def __exit__(self, *_: object) -> None:
        _active.remove(self)

    def see(self, event: str, arguments: tuple[Any, ...]) -> None:
        """Judge one audit event."""
        if event == "open":
            if arguments[2] is not None and arguments[2] & WRITING:
                self._judge(event, arguments[0])
        elif event in CHANGES:
            first = 1 if event in ("os.link", "os.symlink") else 0
            for path in arguments[first : CHANGES[event]]:
                self._judge(event, path)

    def _judge(self, event: str, path: Any) -> None:
        if isinstance(path, int):
            return
        # The last part of a name may be a link that is replaced, or not there yet.
        folder, name = os.path.split(os.path.abspath(os.fsdecode(path)))
        place = os.path.join(os.path.realpath(folder), name)
        inside = any(place == allowed or place.startswith(allowed + os.sep) for allowed in self._folders)
        if inside or place.startswith(NO_FILE) or "__pycache__" in place:
            return
        self.violations.append(f"{event} {place}")
        raise OSError(f"the write guard refused: {event} {place}")


_active: list[WriteGuard] = []
_installed: list[bool] = []


def _install() -> None:
    """Once a process: audit hooks cannot be removed."""
    if _installed:
        return
    _installed.append(True)

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if _active and (event == "open" or event in CHANGES):
            for guard in tuple(_active):
                guard.see(event, arguments)

    sys.addaudithook(hook)
