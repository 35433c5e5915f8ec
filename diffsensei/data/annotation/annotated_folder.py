"""Pages of a folder with ``annotations.json``, ``halves.parquet`` and ``objects/``, as people see them."""

from collections.abc import Iterator
from pathlib import Path

from diffsensei.data.annotation.machine_layer import MachineLayer
from diffsensei.data.annotation.page_images import PageImages
from diffsensei.data.annotation_file import read_annotations
from diffsensei.data.images import Gray
from diffsensei.data.records import PageAnnotation
from diffsensei.data.refusal import Refusal


class AnnotatedFolder:
    """The output of a stage that brings images; pages that lack one or do not fit their boxes are passed over."""

    def __init__(self, folder: Path, *, max_megapixels: float, annotations: Path | None = None) -> None:
        """``annotations``: the folder whose ``annotations.json`` counts, where a later stage has written another.

        Raises ValueError (one line) for a folder without annotations or images.
        """
        self.machine = MachineLayer(read_annotations((annotations or folder) / "annotations.json"))
        if not (folder / "halves.parquet").is_file():
            raise ValueError(f"{folder} has annotations but no halves.parquet; give the output of the download stage")
        self._images = PageImages.of(folder, max_megapixels)

    def pages(self) -> Iterator[tuple[str, PageAnnotation, Gray]]:
        """(key, page, pixels (H, W)) of each page that can be shown, in order."""
        for key, page in self.machine.pages.items():
            lowest = max((frame.bbox[3] for frame in page.frames), default=0.0)
            try:
                yield key, page, self._images.read(page, lowest_edge=lowest)
            except Refusal:
                continue
