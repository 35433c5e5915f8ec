"""Which chapter of MangaDex each image belongs to, where an annotation file tells.

The published fields are only urls and widths; a chapter's id is found where someone kept it, and is never needed.
"""

import re
from collections.abc import Iterable
from typing import Any

UUID = re.compile(r"(?<![0-9a-f-])[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}(?![0-9a-f-])", re.I)
KEYS = {
    "url1": ("chapter1", "chapter_id1", "chapter_id", "chapter"),
    "url2": ("chapter2", "chapter_id2", "chapter_id", "chapter"),
}
"""Keys of a page's ``meta`` that may hold the id of each half, the most particular first."""


def chapters_by_url(raw_pages: Iterable[Any]) -> dict[str, str]:
    """Url -> chapter id (lower-case UUID) for those urls whose chapter is known; pages of any shape are taken."""
    found: dict[str, str] = {}
    for page in raw_pages:
        meta = page.get("meta") if isinstance(page, dict) else None
        if not isinstance(meta, dict):
            continue
        for url_key, keys in KEYS.items():
            url = meta.get(url_key)
            if not isinstance(url, str):
                continue
            for text in (*(meta.get(key) for key in keys), url, page.get("image_path")):
                named = UUID.search(text) if isinstance(text, str) else None
                if named:
                    found[url] = named[0].lower()
                    break
    return found
