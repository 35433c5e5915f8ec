"""Pages of a folder with ``annotations.json``, ``halves.parquet`` and ``objects/``, as people see them."""

from collections.abc import Iterator
from pathlib import Path

from diffsensei.data.annotation.machine_layer import MachineLayer
from diffsensei.data.halves import read_halves
from diffsensei.data.images import Gray, decode_image
from diffsensei.data.objects import Objects
from diffsensei.data.records import PageAnnotation, read_annotations
from diffsensei.data.refusal import Refusal
from diffsensei.data.validation.stitch import fit_widths, stitch


class AnnotatedFolder:
    """The output of a stage that brings images; pages that lack one or do not fit their boxes are passed over."""

    def __init__(self, folder: Path, *, max_megapixels: float) -> None:
        """Raises ValueError (one line) for a folder without annotations or images."""
        self.machine = MachineLayer(read_annotations(folder / "annotations.json"))
        if not (folder / "halves.parquet").is_file():
            raise ValueError(f"{folder} has annotations but no halves.parquet; give the output of the download stage")
        self._halves = read_halves(folder / "halves.parquet")
        self._objects = Objects(folder / "objects")
        self._max_megapixels = max_megapixels

    def pages(self) -> Iterator[tuple[str, PageAnnotation, Gray]]:
        """(key, page, pixels (H, W)) of each page that can be shown, in order."""
        for key, page in self.machine.pages.items():
            try:
                yield key, page, self._image(page)
            except Refusal:
                continue

    def _image(self, page: PageAnnotation) -> Gray:
        images = []
        for source in page.meta.images:
            half = self._halves.get(source.url)
            if half is None or half.state != "ok":
                raise Refusal("missing_image", source.url[:80], state="missing")
            try:
                data = self._objects.path(half.sha256).read_bytes()
            except OSError as error:
                raise Refusal("lost_object", f"{half.sha256[:16]}: {error.strerror}") from None
            images.append(decode_image(data, max_megapixels=self._max_megapixels).gray)
        lowest = max((frame.bbox[3] for frame in page.frames), default=0.0)
        return stitch(*fit_widths(images, [source.width for source in page.meta.images], lowest_edge=lowest))
