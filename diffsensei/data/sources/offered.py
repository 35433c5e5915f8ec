"""One image that a folder, an archive or a PDF offers: a name, and bytes that are read only when asked for."""

import re
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import PurePosixPath

from diffsensei.data.page_paths import check_image_path
from diffsensei.data.refusal import Refusal

IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp"})
"""A file called so is expected to hold an image and is judged; others are offered only if their content is one."""
SYSTEM_NAMES = frozenset({"thumbs.db", "desktop.ini", "comicinfo.xml", "__macosx"})
HEAD_BYTES = 16
"""Leading bytes that tell what a file holds (`images.sniff_format`)."""


@dataclass(frozen=True)
class Offered:
    """An image within its source. ``name`` is an acceptable image path below the series, whatever it was called.

    ``read`` gives the bytes, at most as many as it is told. It raises `Refusal` where they may not or cannot be had;
    what is refused by its name alone is offered too, so that every page that was there is accounted for.
    """

    name: str
    read: Callable[[int], bytes]


def refused(number: int, refusal: Refusal) -> Offered:
    """What stands for the ``number``-th entry of a source that is not to be read."""

    def read(_: int) -> bytes:
        raise refusal

    return Offered(f"refused-{number:05d}", read)


def acceptable_name(name: str) -> str:
    """``name`` in Unicode normal form C. Raises `Refusal` ``bad_path`` unless it is a plain relative path."""
    normal = unicodedata.normalize("NFC", name)
    check_image_path(normal)
    return normal


def is_system_file(name: str) -> bool:
    """Hidden files, and what file managers and comic readers leave behind: no pages."""
    parts = PurePosixPath(name).parts
    hidden = any(part.startswith(".") and not part.startswith("..") for part in parts)
    return hidden or any(part.casefold() in SYSTEM_NAMES for part in parts)


def natural_key(name: str) -> tuple[list[str | int], str]:
    """Sorts ``page-2`` before ``page-10``; names that differ only in case or zeros keep one order."""
    parts = re.split(r"([0-9]+)", name.casefold())
    # Every other part is a number; digits of other scripts are text, as they were not split off.
    return [int(part) if place % 2 else part for place, part in enumerate(parts)], name
