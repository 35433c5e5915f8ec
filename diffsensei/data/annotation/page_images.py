"""The pixels of annotated pages before validation: as validation will see them, straight from the stored originals."""

from collections.abc import Mapping
from pathlib import Path
from typing import Self

from diffsensei.data.halves import Half, read_halves
from diffsensei.data.images import Gray, decode_image
from diffsensei.data.objects import Objects
from diffsensei.data.records import PageAnnotation
from diffsensei.data.refusal import Refusal
from diffsensei.data.validation.stitch import fit_widths, stitch


class PageImages:
    """Reads pages out of a folder with ``halves.parquet`` and ``objects/``; safe for concurrent calls."""

    def __init__(self, halves: Mapping[str, Half], objects: Objects, max_megapixels: float) -> None:
        self._halves = halves
        self._objects = objects
        self._max_megapixels = max_megapixels

    @classmethod
    def of(cls, folder: Path, max_megapixels: float) -> Self:
        """Those of a result of the stage that brings images. Raises OSError when it has no ``halves.parquet``."""
        return cls(read_halves(folder / "halves.parquet"), Objects(folder / "objects"), max_megapixels)

    def read(self, page: PageAnnotation, *, lowest_edge: float = 0.0) -> Gray:
        """The page (H, W) at its annotated width; ``lowest_edge`` (pixels) of its boxes, where they are known.

        Raises `Refusal`: the one its image has already, ``not_downloaded``, ``lost_object``, ``geometry_mismatch``, or
        those of `decode_image`.
        """
        images = []
        for source in page.meta.images:
            half = self._halves.get(source.url)
            if half is None:
                raise Refusal("not_downloaded", source.url, state="missing")
            if half.state != "ok":
                raise Refusal(half.reason, half.evidence, state=half.state)
            try:
                data = self._objects.path(half.sha256).read_bytes()
            except OSError as error:
                raise Refusal("lost_object", f"{half.sha256[:16]}: {error.strerror}") from None
            images.append(decode_image(data, max_megapixels=self._max_megapixels).gray)
        return stitch(*fit_widths(images, [source.width for source in page.meta.images], lowest_edge=lowest_edge))
