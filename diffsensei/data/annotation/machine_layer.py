"""The machine's annotations as people correct them: readable pages by key, never changed."""

from collections.abc import Iterable
from functools import lru_cache
from typing import Any

from diffsensei.data.annotation.boxes import AnnotatedBox, boxes_of_page
from diffsensei.data.page_paths import check_image_path, page_id_of
from diffsensei.data.records import PageAnnotation, parse_page
from diffsensei.data.refusal import Refusal


class MachineLayer:
    """Pages by ``image_path``, in order.

    Pages that do not parse, have an unacceptable path or repeat an earlier one cannot be edited; validation sets them
    aside by name.
    """

    def __init__(self, raw_pages: Iterable[Any]) -> None:
        self.pages: dict[str, PageAnnotation] = {}
        self.entries: dict[int, str] = {}
        """Key of the page at each index of the file, of those that can be edited."""
        for index, raw in enumerate(raw_pages):
            try:
                page = parse_page(raw)
                check_image_path(page.image_path)
            except (ValueError, Refusal):
                continue
            if page.image_path not in self.pages:
                self.pages[page.image_path] = page
                self.entries[index] = page.image_path
        self._keys = {page_id_of(key): key for key in self.pages}
        self._boxes = lru_cache(maxsize=1024)(lambda key: boxes_of_page(self.pages[key]))

    def boxes(self, page_key: str) -> dict[str, AnnotatedBox]:
        """The boxes of a page by name. Raises ValueError (one line) for a page that is not here."""
        self.page(page_key)
        return self._boxes(page_key)

    def page(self, page_key: str) -> PageAnnotation:
        """Raises ValueError (one line) for a page that is not here, with what is."""
        if page_key not in self.pages:
            first = next(iter(self.pages), None)
            known = f"{len(self.pages)} pages, the first is {first!r}" if first else "no page that can be edited"
            raise ValueError(f"no page {page_key[:80]!r} in these annotations; they have {known}")
        return self.pages[page_key]

    def key_of(self, page_id: str) -> str:
        """The key behind a page id, which is what image files are named by. Raises ValueError (one line)."""
        if page_id not in self._keys:
            raise ValueError(f"no page has the id {page_id[:40]!r}; expected the 16 hex digits of an exported image")
        return self._keys[page_id]
