"""Pictures of a report: encoded anew and stored under a hash of what they were, so versions of a report share them.

A picture is decoded once. Small ones, which are shown pixel by pixel, stay as they are (lossless); of larger ones there
is a thumbnail for lists and a view to look at. What is in the folder already, or was encoded for an earlier report, is
not encoded again.
"""

import hashlib
import io
import os
import uuid
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Literal, NamedTuple

from PIL import Image

ImagePolicy = Literal["none", "thumb", "full"]
"""As `ReportConfig.images`."""

THUMB_SIDE = 256
VIEW_SIDE = 768
"""Longer side, pixels."""
PIXEL_AREA = 176 * 176
"""Up to so many pixels a picture is shown pixel by pixel and stored without loss."""
QUALITY = 75
THUMB_EFFORT, VIEW_EFFORT = 2, 0
"""libwebp's ``method``. A view of manga takes 17 ms at 0, 25 ms at 2 and 47 ms at 4, for 7 % fewer bytes each step."""
RECIPE = f"webp/1 {THUMB_SIDE} {VIEW_SIDE} {PIXEL_AREA} {QUALITY} {THUMB_EFFORT} {VIEW_EFFORT}"
HASH_DIGITS = 16
GREY_MODES = ("1", "L", "I", "F", "I;16")


class Stored(NamedTuple):
    """A picture in ``assets/``: what its files are called after, its own size in pixels, and which files there are."""

    name: str
    width: int
    height: int
    kind: Literal["pixels", "thumb", "view"]
    """``pixels``: one file as it was; ``thumb``: a thumbnail alone, as of all small ones; ``view``: both."""

    @property
    def thumb(self) -> str:
        """File of the smallest."""
        return f"{self.name}.webp" if self.kind == "pixels" else f"{self.name}-{THUMB_SIDE}.webp"


def store_pictures(
    paths: Iterable[Path],
    folder: Path,
    *,
    policy: ImagePolicy,
    num_threads: int,
    encoded: Path | None = None,
    advance: Callable[[], None] = lambda: None,
) -> dict[Path, Stored]:
    """Encode ``paths`` into ``folder``; the missing ones, and with policy ``none`` all, are not in the answer.

    ``encoded``: a folder that may hold pictures of earlier reports, which are linked. ``advance`` is called after each.
    Raises ValueError, naming the file, for one that is no picture.
    """
    if policy == "none":
        return {}
    folder.mkdir(parents=True, exist_ok=True)
    unique = [path for path in dict.fromkeys(paths) if path.is_file()]
    found = {}
    # Threads suffice: Pillow decodes, scales and encodes outside Python's lock.
    with ThreadPoolExecutor(num_threads) as pool:
        store = partial(_store, folder=folder, policy=policy, encoded=encoded)
        for path, stored in zip(unique, pool.map(store, unique), strict=True):
            found[path] = stored
            advance()
    return found


def _store(path: Path, folder: Path, policy: ImagePolicy, encoded: Path | None) -> Stored:
    content = path.read_bytes()
    name = hashlib.sha256(RECIPE.encode() + content).hexdigest()[:HASH_DIGITS]
    try:
        with Image.open(io.BytesIO(content)) as picture:
            stored = Stored(name, *picture.size, _kind(*picture.size, policy))
            wanted = [name for name in _files(stored) if not _there(name, folder, encoded)]
            if wanted:
                pixels = picture.convert("L" if picture.mode in GREY_MODES else "RGB")
                _encode(pixels, stored, folder, wanted)
    except OSError as error:
        raise ValueError(f"{path} is no readable picture ({error}); run the stage that wrote it again") from None
    return stored


def _kind(width: int, height: int, policy: ImagePolicy) -> Literal["pixels", "thumb", "view"]:
    if width * height <= PIXEL_AREA:
        return "pixels"
    return "view" if policy == "full" and max(width, height) > THUMB_SIDE else "thumb"


def _there(name: str, folder: Path, encoded: Path | None) -> bool:
    """Whether ``folder`` has the file, perhaps only now, as another name of what was encoded before."""
    if (folder / name).is_file():
        return True
    if encoded is None:
        return False
    try:
        os.link(encoded / name, folder / name)
    except OSError:  # not encoded before, just withdrawn, or on a filesystem without hard links
        return (folder / name).is_file()
    return True


def _files(stored: Stored) -> list[str]:
    return [stored.thumb] + ([f"{stored.name}-{VIEW_SIDE}.webp"] if stored.kind == "view" else [])


def _encode(pixels: Image.Image, stored: Stored, folder: Path, wanted: list[str]) -> None:
    if stored.kind == "pixels":
        _write(folder / stored.thumb, pixels, lossless=True, quality=0, method=THUMB_EFFORT)
        return
    view = _at_most(pixels, VIEW_SIDE)
    for name in wanted:
        if name == stored.thumb:
            _write(folder / name, _at_most(view, THUMB_SIDE), quality=QUALITY, method=THUMB_EFFORT)
        else:
            _write(folder / name, view, quality=QUALITY, method=VIEW_EFFORT)


def _at_most(pixels: Image.Image, side: int) -> Image.Image:
    factor = side / max(pixels.size)
    if factor >= 1:
        return pixels
    size = max(round(pixels.width * factor), 1), max(round(pixels.height * factor), 1)
    return pixels.resize(size, Image.Resampling.LANCZOS, reducing_gap=2.0)


def _write(path: Path, pixels: Image.Image, **options: bool | int) -> None:
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    pixels.save(temporary, format="WEBP", **options)
    os.replace(temporary, path)
