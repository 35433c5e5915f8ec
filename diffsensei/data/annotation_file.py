"""The annotation file page by page: a JSON list that may be larger than memory, and that not everybody wrote with care.

One page is held at a time. What one page has wrong is kept with that page (`Unreadable`), so that the others are read;
only a file whose pages cannot be told apart stops the reading.
"""

import codecs
import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

MAX_FILE_BYTES = 8 * 2**30
"""Twenty times the published list; a larger file is something else."""
MAX_PAGES = 1_000_000
MAX_PAGE_CHARACTERS = 32 * 2**20
"""A published page has about ten thousand."""
MAX_DEPTH = 16
"""Lists and objects inside one another in a page; the format has six."""
CHUNK_BYTES = 2**22

_SPACE = re.compile(r"[ \t\n\r]*")
_STRUCTURE = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"|[\[\]{}"]', re.S)
_UNDECODED = re.compile("[\udc80-\udcff]")


@dataclass(frozen=True)
class Unreadable:
    """Stands for a page whose text is no JSON object with distinct keys; ``fault`` says why, on one line."""

    fault: str


class _RepeatedKeyError(ValueError):
    pass


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) != len(pairs):
        seen: set[str] = set()
        repeated = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        raise _RepeatedKeyError(f"key {repeated[:40]!r} occurs twice in one object")
    return made


_DECODER = json.JSONDecoder(object_pairs_hook=_distinct)


class _Window:
    """The part of the file that is in memory, as text; ``position`` is where reading goes on.

    Bytes that are no UTF-8 become lone surrogates (PEP 383), to be found in the page that has them.
    """

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._decode = codecs.getincrementaldecoder("utf-8-sig")("surrogateescape").decode
        self.text = ""
        self.position = 0
        self.ended = False

    def grow(self) -> bool:
        """Drop what was read and append a chunk; False at the end of the file."""
        if self.ended:
            return False
        data = self._file.read(CHUNK_BYTES)
        self.ended = len(data) < CHUNK_BYTES
        self.text = self.text[self.position :] + self._decode(data, self.ended)
        self.position = 0
        return True

    def peek(self) -> str:
        """The next character that is no white space, or "" at the end of the file."""
        while True:
            match = _SPACE.match(self.text, self.position)
            assert match is not None
            self.position = match.end()
            if self.position < len(self.text):
                return self.text[self.position]
            if not self.grow():
                return ""

    def value(self) -> Any:
        """The JSON value that starts at ``position``; `Unreadable` if it is faulty but its end can be found.

        Raises ValueError where the end cannot be found.
        """
        while True:
            fault = ""
            made: Any = None
            try:
                made, end = _DECODER.raw_decode(self.text, self.position)
            except _RepeatedKeyError as error:
                fault, end = str(error), 0
            except json.JSONDecodeError as error:
                fault, end = f"not JSON: {error.msg}", 0
            except RecursionError:
                fault, end = f"nested more than {MAX_DEPTH} deep", 0
            except ValueError as error:  # a number of thousands of digits
                fault, end = f"not JSON: {error}", 0
            if fault:
                end = self._end_of_value()
            # A number, or a word, may go on beyond the window.
            if end and (end < len(self.text) or self.ended):
                break
            if len(self.text) - self.position > MAX_PAGE_CHARACTERS:
                raise ValueError(f"a page of more than {MAX_PAGE_CHARACTERS} characters")
            if not self.grow():
                raise ValueError(fault or "it ends within a page")
        start, self.position = self.position, end
        undecoded = None if self.text.isascii() else _UNDECODED.search(self.text, start, end)
        if undecoded:
            return Unreadable(f"byte 0x{ord(undecoded[0]) - 0xDC00:02x} is not UTF-8")
        return Unreadable(fault) if fault else made

    def _end_of_value(self) -> int:
        """Just behind the object or list at ``position``, by its brackets; 0 if they do not close in the window."""
        depth = 0
        for match in _STRUCTURE.finditer(self.text, self.position):
            token = match[0]
            if token == '"':  # opens a string that does not end here
                return 0
            if token in "[{":
                depth += 1
            elif token in "]}":
                depth -= 1
                if depth <= 0:
                    return match.end() if depth == 0 else 0
        return 0


def iterate_annotations(path: Path) -> Iterator[Any]:
    """The pages of an annotation file in order, each a dict that is not yet parsed, or `Unreadable`.

    Raises ValueError (one line) if the file is absent, too large, or no UTF-8 JSON list; a list that breaks off raises
    after the pages before.
    """
    expected = "expected a UTF-8 JSON list of pages"
    if not path.exists():
        raise ValueError(f"annotation file {path} does not exist; give the path of the JSON list of pages")
    if path.is_dir():
        raise ValueError(f"annotation file {path} is a folder; give the path of the JSON list of pages")
    size = path.stat().st_size
    if size > MAX_FILE_BYTES:
        raise ValueError(f"annotation file {path} has {size} bytes; expected at most {MAX_FILE_BYTES}: split the list")
    with path.open("rb") as file:
        window = _Window(file)
        opening = window.peek()
        if opening != "[":
            raise ValueError(f"annotation file {path} starts with {opening!a}; {expected}")
        window.position += 1
        count = 0
        if window.peek() == "]":
            window.position += 1
            _require_end(window, path)
            return
        while True:
            if count == MAX_PAGES:
                raise ValueError(f"annotation file {path} has more than {MAX_PAGES} pages; split the list")
            if not window.peek():
                raise ValueError(f"annotation file {path} ends after {count} pages without ]; {expected}")
            try:
                page = window.value()
            except ValueError as error:
                raise ValueError(f"annotation file {path} is not JSON (page {count}: {error}); {expected}") from None
            yield _screened(page)
            count += 1
            following = window.peek()
            window.position += 1
            if following == "]":
                _require_end(window, path)
                return
            if following != ",":
                raise ValueError(
                    f"annotation file {path} is not JSON (after page {count - 1} comes {following!a}); {expected}"
                )


def _require_end(window: _Window, path: Path) -> None:
    if following := window.peek():
        raise ValueError(
            f"annotation file {path} is not JSON (after the list comes {following!a}); expected one list of pages"
        )


def _screened(page: Any) -> Any:
    if isinstance(page, Unreadable):
        return page
    if not isinstance(page, dict):
        return Unreadable(f"a {type(page).__name__}, expected an object")
    return page


def read_annotations(path: Path) -> list[Any]:
    """All pages of `iterate_annotations` at once: for files that fit into memory."""
    return list(iterate_annotations(path))


def write_annotations(pages: Iterable[Any], path: Path) -> None:
    """Write ``pages`` as a later stage reads them; `Unreadable` ones stay entries that are no page."""
    entries = [f"unreadable: {page.fault}" if isinstance(page, Unreadable) else page for page in pages]
    path.write_text(json.dumps(entries, ensure_ascii=False))


_FIELDS: dict[str, frozenset[str]] = {
    "": frozenset(("image_path", "frames", "meta")),
    "frames": frozenset(("bbox", "caption", "characters", "dialogs")),
    "characters": frozenset(("id", "bbox", "type")),
    "dialogs": frozenset(("bbox",)),
}


def unknown_keys(page: Any) -> list[str]:
    """Keys that the format does not have, as ``frames.score``, sorted; a page's ``meta`` may hold anything.

    Raises ValueError where what lies under such a key is nested deeper than `MAX_DEPTH`.
    """
    found: set[str] = set()

    def look(thing: Any, name: str, prefix: str) -> None:
        if not isinstance(thing, dict):
            return
        for key in thing.keys() - _FIELDS[name]:
            found.add(f"{prefix}{key[:40]}")
            _require_shallow(thing[key])

    def items(thing: Any, name: str) -> list[Any]:
        value = thing.get(name) if isinstance(thing, dict) else None
        return value if isinstance(value, list) else []

    look(page, "", "")
    for frame in items(page, "frames"):
        look(frame, "frames", "frames.")
        for name in ("characters", "dialogs"):
            for box in items(frame, name):
                look(box, name, f"frames.{name}.")
    return sorted(found)


def _require_shallow(value: Any) -> None:
    level = [value]
    for _ in range(MAX_DEPTH):
        level = [
            inner
            for outer in level
            if isinstance(outer, dict | list)
            for inner in (outer.values() if isinstance(outer, dict) else outer)
        ]
        if not level:
            return
    raise ValueError(f"nested more than {MAX_DEPTH} deep")
