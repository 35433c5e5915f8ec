"""What the image behind a url looks like, without the image: digests and perceptual hashes, which may be passed on."""

import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from diffsensei.data.halves import read_halves
from diffsensei.data.images import decode_image, difference_hash
from diffsensei.data.objects import Objects
from diffsensei.data.refusal import Refusal

NAMED_DIGEST = re.compile(r"/[^/]*?-([0-9a-f]{64})\.[A-Za-z]+$")
"""MangaDex names a file by its content."""
VERSION = 1


class ImageHash(BaseModel):
    """What is known of one image: sha256 of its file, 64-bit difference hash, size in pixels; empty if unknown."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    sha256: str = Field(default="", pattern="^([0-9a-f]{64})?$")
    dhash: str = Field(default="", pattern="^([0-9a-f]{16})?$")
    width: int = Field(default=0, ge=0)
    height: int = Field(default=0, ge=0)


def export_hashes(download_dir: Path, path: Path, *, max_megapixels: float) -> int:
    """Write the hashes of every sound image of a finished download or import to ``path``; how many there are.

    The file is JSON: ``{"version": 1, "images": {url: {sha256, dhash, width, height}}}``. Raises ValueError when
    ``download_dir`` is no such folder.
    """
    table = download_dir / "halves.parquet"
    if not table.is_file():
        raise ValueError(f"{download_dir} has no halves.parquet; expected the result of a finished download or import")
    objects = Objects(download_dir / "objects")
    images: dict[str, Any] = {}
    for url, half in sorted(read_halves(table).items()):
        if half.state != "ok":
            continue
        try:
            gray = decode_image(objects.path(half.sha256).read_bytes(), max_megapixels=max_megapixels).gray
        except (OSError, Refusal) as error:
            raise ValueError(f"the stored image of {url} is damaged ({error}); run the stage again") from None
        known = ImageHash(sha256=half.sha256, dhash=hash_text(gray), width=half.width, height=half.height)
        images[url] = known.model_dump()
    path.write_text(json.dumps({"version": VERSION, "images": images}, indent=0))
    return len(images)


def read_hashes(path: Path) -> dict[str, ImageHash]:
    """The hashes by url that `export_hashes` wrote. Raises ValueError (one line) for anything else."""
    try:
        content = json.loads(path.read_bytes())
        if content["version"] != VERSION:
            raise ValueError(f"version {content['version']!r}")
        return {url: ImageHash.model_validate(raw) for url, raw in content["images"].items()}
    except OSError as error:
        raise ValueError(f"data.source.hash_list: {path}: {error.strerror}") from None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        fault = error.errors()[0]["msg"] if isinstance(error, ValidationError) else error
        raise ValueError(
            f"data.source.hash_list: {path} is no list of hashes ({fault}); write one with `diffsensei data hashes`"
        ) from None


def known_hashes(raw_pages: Iterable[Mapping[str, Any]], listed: Mapping[str, ImageHash]) -> dict[str, ImageHash]:
    """What is known of each url: from its name, from ``sha256_1``, ``dhash1`` and the like in its meta, from a list.

    Later ones complete earlier ones; keys that hold no hash are passed over.
    """
    known: dict[str, ImageHash] = {}
    for raw in raw_pages:
        meta = raw["meta"] if isinstance(raw.get("meta"), dict) else {}
        for number in (1, 2):
            url = meta.get(f"url{number}")
            if not isinstance(url, str):
                continue
            named = NAMED_DIGEST.search(url)
            of_list = listed.get(url, ImageHash())
            known[url] = ImageHash(
                sha256=(named[1] if named else "") or _hex(meta.get(f"sha256_{number}"), 64) or of_list.sha256,
                dhash=_hex(meta.get(f"dhash{number}"), 16) or of_list.dhash,
                width=of_list.width,
                height=of_list.height,
            )
    return known


def hash_text(gray: Any) -> str:
    """The difference hash of ``gray`` (H, W) as 16 hex digits, empty for a near-blank picture."""
    value = difference_hash(gray)
    return "" if value is None else f"{value:016x}"


def _hex(value: Any, digits: int) -> str:
    return value if isinstance(value, str) and re.fullmatch(f"[0-9a-f]{{{digits}}}", value) else ""
