"""Pages that were taken down: whoever owns them asked, and no later version of the data may hold them.

One JSON file a request. A page is known by the path in its annotations, by the addresses of its images and by their
bytes, so the same picture under another name is found too.
"""

import hashlib
import os
import re
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path

from pydantic import AwareDatetime, ValidationError

from diffsensei.config.base import Config
from diffsensei.durable import write_whole


class Tombstone(Config):
    """One request. Any of the names is enough to find a page."""

    asked: str
    """The page as the request named it: path, url, page id or sha256."""
    reason: str
    recorded: AwareDatetime
    page_ids: tuple[str, ...] = ()
    """16 hex digits each (`page_id_of`)."""
    image_paths: tuple[str, ...] = ()
    urls: tuple[str, ...] = ()
    sha256: tuple[str, ...] = ()
    """Of images as they came, 64 hex digits."""

    @property
    def shown(self) -> str:
        """What people call the page."""
        return (self.image_paths or (self.asked,))[0]


class Tombstones:
    """Every request in a folder, by what pages are known by."""

    def __init__(self, found: Iterable[Tombstone]) -> None:
        self.all = sorted(found, key=lambda stone: (stone.recorded, stone.asked))
        self._named: dict[str, Tombstone] = {}
        for stone in reversed(self.all):  # the first request gives the reason
            for name in (*stone.page_ids, *stone.urls, *stone.sha256):
                self._named[name] = stone

    @property
    def names(self) -> frozenset[str]:
        """Page ids, urls and sha256 of everything that was taken down."""
        return frozenset(self._named)

    def find(self, names: Iterable[str]) -> Tombstone | None:
        """The first request that any of ``names`` (page id, urls, sha256) falls under."""
        return next((self._named[name] for name in names if name in self._named), None)

    def digest(self) -> str:
        """sha256 (64 hex digits) of what is taken down, whatever the reasons; "" for nothing."""
        names = "\n".join(sorted(self._named))
        return hashlib.sha256(names.encode()).hexdigest() if names else ""


def read_tombstones(folder: Path | None) -> Tombstones:
    """The requests in ``folder``; none where it does not exist. Raises ValueError naming a file that cannot be read."""
    found: list[Tombstone] = []
    if folder is None or not folder.exists():
        return Tombstones(found)
    names = sorted(os.listdir(folder))  # Path.glob would take a folder that cannot be listed for an empty one
    for path in (folder / name for name in names if name.endswith(".json") and not name.startswith(".")):
        try:
            found.append(Tombstone.model_validate_json(path.read_bytes()))
        except ValidationError as error:
            raise ValueError(f"{path} is no tombstone: {error.errors()[0]['msg']}; mend or remove it") from None
    return Tombstones(found)


def record_tombstone(
    folder: Path,
    asked: str,
    reason: str,
    *,
    page_ids: Sequence[str] = (),
    image_paths: Sequence[str] = (),
    urls: Sequence[str] = (),
    sha256: Sequence[str] = (),
) -> Tombstone:
    """Write the request into ``folder``, durably. Raises ValueError without a reason or a name."""
    if not reason.strip():
        raise ValueError("a tombstone needs a reason: who asked, and why the page may not be used")
    if not (page_ids or urls or sha256):
        raise ValueError(f"{asked!r} names no page: give its path, url, page id or the sha256 of its image")
    stone = Tombstone(
        asked=asked,
        reason=reason.strip(),
        recorded=datetime.now(UTC),
        page_ids=tuple(sorted(set(page_ids))),
        image_paths=tuple(sorted(set(image_paths))),
        urls=tuple(sorted(set(urls))),
        sha256=tuple(sorted(set(sha256))),
    )
    folder.mkdir(parents=True, exist_ok=True)
    name = hashlib.sha256("\n".join((*stone.page_ids, *stone.urls, *stone.sha256)).encode()).hexdigest()[:16]
    write_whole(folder / f"{name}.json", (stone.model_dump_json(indent=1) + "\n").encode())
    return stone


def is_sha256(text: str) -> bool:
    """Whether ``text`` looks like one: 64 lower-case hex digits."""
    return re.fullmatch(r"[0-9a-f]{64}", text) is not None


def is_page_id(text: str) -> bool:
    """Whether ``text`` looks like one: 16 lower-case hex digits."""
    return re.fullmatch(r"[0-9a-f]{16}", text) is not None
