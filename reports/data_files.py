"""Data of the report's interactive pages, as scripts: a page opened from a folder may load a script, but no JSON.

Each file holds one assignment, ``window.__D["name"] = ...``. Nothing in it is markup: the pages' scripts put every text
into the page as text.
"""

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

MAX_PART_BYTES = 1_000_000
"""Lists are cut into parts of about this size, so that no file makes a browser wait."""


def write_data(folder: Path, name: str, value: Any) -> None:
    """``folder/<name>.js``; ``name`` may have folders."""
    path = folder / f"{name}.js"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(data_text(name, value), encoding="utf-8")


def data_text(name: str, value: Any) -> str:
    """The content of that file."""
    return f'(window.__D=window.__D||{{}})["{name}"]={_json(value)};\n'


def in_parts(entries: Iterable[Any], max_bytes: int = MAX_PART_BYTES) -> Iterator[list[Any]]:
    """``entries`` in lists whose JSON is at most ``max_bytes`` long, but for single entries beyond that."""
    part: list[Any] = []
    size = 0
    for entry in entries:
        length = len(_json(entry).encode()) + 1
        if part and size + length > max_bytes:
            yield part
            part, size = [], 0
        part.append(entry)
        size += length
    if part:
        yield part


def write_parts(folder: Path, name: str, entries: Iterable[Any]) -> list[tuple[str, int]]:
    """``entries`` as files ``<name>-0``, ``<name>-1``, ...; the name of each and how many it holds."""
    written = []
    for number, part in enumerate(in_parts(entries)):
        write_data(folder, f"{name}-{number}", part)
        written.append((f"{name}-{number}", len(part)))
    return written


def _json(value: Any) -> str:
    # As "<" can only stand in texts, no text can look like the end of a script.
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")
