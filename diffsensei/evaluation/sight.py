"""What the judges see in a set of panels: every image decoded once and shown to each of them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from diffsensei.config.schema import EvaluationConfig
from diffsensei.evaluation.benchmark import BenchmarkPanel, read_gray
from diffsensei.evaluation.colour_purity import mean_chroma
from diffsensei.evaluation.dino_similarity import character_crop
from diffsensei.evaluation.feature_cache import Embed, Gray
from diffsensei.evaluation.jpeg_match import jpeg_round_trip
from diffsensei.evaluation.judges import Judges, StateReader
from diffsensei.evaluation.page_sheets import into_panels, lay_out, page_runs
from diffsensei.geometry import Boxes
from diffsensei.progress import Progress

Vectors = NDArray[np.floating]
PANELS_AT_ONCE = 64


@dataclass(frozen=True)
class Picture:
    """A panel as it was read, in one decoding."""

    grey: Gray
    """(H, W), what all judges see."""
    chroma: float
    """`mean_chroma` of the file as the method wrote it."""


PanelSource = Callable[[BenchmarkPanel], Picture | None]
"""The picture to judge for a panel, or None where the method gave none."""


def read_picture(path: Path) -> Picture:
    """The picture in a file."""
    with Image.open(path) as picture:
        picture.load()
        return Picture(np.asarray(picture.convert("L")), mean_chroma(picture))


@dataclass(frozen=True)
class PanelFeatures:
    """What the judges see, one entry per benchmark panel; None where that judge is missing or no image came."""

    present: list[bool]
    clips: list[list[Vectors | None]]
    """For every CLIP model."""
    dino: list[Vectors | None]
    distribution: list[Vectors | None]
    first_pool: list[Vectors | None]
    crops: list[list[Vectors | None]]
    """DINO class token per requested character; None also for crops that are too small."""
    dialogs: list[Boxes | None]
    """Detected boxes (K, 4) in pixels of the panel."""
    people: list[Boxes | None]
    """The same of characters."""
    chroma: list[float | None]
    states: list[list[Mapping[str, str] | None]]
    """What the probe reads off each requested character's crop, by attribute; None as in ``crops``."""


def see_panels(
    panels: Sequence[BenchmarkPanel],
    source: PanelSource,
    judges: Judges,
    evaluation: EvaluationConfig,
    progress: Progress,
) -> PanelFeatures:
    """Show every image to every judge, a block of panels at a time. Raises ValueError for an image of another size."""
    seen = PanelFeatures([], [[] for _ in judges.clips], [], [], [], [], [], [], [], [])
    for block in _blocks(panels):
        pictures = [source(panel) for panel in block]
        images = [
            None if picture is None else _checked(panel, picture.grey)
            for panel, picture in zip(block, pictures, strict=True)
        ]
        seen.present.extend(image is not None for image in images)
        for pair, into in zip(judges.clips, seen.clips, strict=True):
            into.extend(_shown(images, None if pair is None else pair.panels))
        seen.dino.extend(_shown(images, judges.dino))
        coded = _coded(images, evaluation.jpeg_quality)
        seen.distribution.extend(_shown(coded, judges.distribution))
        seen.first_pool.extend(_shown(coded, judges.first_pool))
        cut = [
            [
                None if image is None else character_crop(image, c.box, evaluation.min_crop_side)
                for c in panel.characters
            ]
            for panel, image in zip(block, images, strict=True)
        ]
        crops = [crop for row in cut for crop in row]
        tokens, states = iter(_shown(crops, judges.dino)), iter(_read_off(crops, judges.states))
        seen.crops.extend([next(tokens) for _ in row] for row in cut)
        seen.states.extend([next(states) for _ in row] for row in cut)
        dialogs, people = _detected(block, images, judges, evaluation)
        seen.dialogs.extend(dialogs)
        seen.people.extend(people)
        seen.chroma.extend(None if picture is None else picture.chroma for picture in pictures)
        progress.advance(len(block))
    return seen


def see_references(panels: Sequence[BenchmarkPanel], folder: Path, judges: Judges) -> list[list[Vectors | None]]:
    """DINO class token of every character's reference image."""
    if judges.dino is None:
        return [[None] * len(panel.characters) for panel in panels]
    images = [read_gray(folder / c.reference) for panel in panels for c in panel.characters]
    tokens = iter(judges.dino(images))
    return [[next(tokens) for _ in panel.characters] for panel in panels]


def see_captions(panels: Sequence[BenchmarkPanel], judges: Judges) -> list[list[Vectors | None]]:
    """For every CLIP model the text embedding of every caption; None where there is no caption."""
    texts = [panel.caption for panel in panels if panel.caption.strip()]
    found: list[list[Vectors | None]] = []
    for pair in judges.clips:
        embedded = iter(()) if pair is None else iter(pair.captions(texts))
        found.append([next(embedded, None) if panel.caption.strip() else None for panel in panels])
    return found


def _blocks(panels: Sequence[BenchmarkPanel]) -> list[Sequence[BenchmarkPanel]]:
    """Whole pages, at least `PANELS_AT_ONCE` panels together (fewer at the end)."""
    blocks, start = [], 0
    runs = page_runs([panel.page_id for panel in panels])
    for run in runs:
        if run.stop - start >= PANELS_AT_ONCE or run.stop == len(panels):
            blocks.append(panels[start : run.stop])
            start = run.stop
    return blocks


def _shown(images: Sequence[Gray | None], judge: Embed | None) -> list[Vectors | None]:
    if judge is None:
        return [None] * len(images)
    vectors = iter(judge([image for image in images if image is not None]))
    return [None if image is None else next(vectors) for image in images]


def _read_off(crops: Sequence[Gray | None], reader: StateReader | None) -> list[Mapping[str, str] | None]:
    if reader is None:
        return [None] * len(crops)
    answers = iter(reader.read([crop for crop in crops if crop is not None]))
    return [None if crop is None else next(answers) for crop in crops]


def _coded(images: Sequence[Gray | None], quality: int | None) -> Sequence[Gray | None]:
    if quality is None:
        return images
    return [None if image is None else jpeg_round_trip(image, quality) for image in images]


def _detected(
    block: Sequence[BenchmarkPanel], images: Sequence[Gray | None], judges: Judges, evaluation: EvaluationConfig
) -> tuple[list[Boxes | None], list[Boxes | None]]:
    """Dialogs and characters of each panel, looked for on panels or on sheets of the panels of a page."""
    nothing: list[Boxes | None] = [None] * len(block)
    look = judges.detector
    if look is None:
        return nothing, nothing
    runs = page_runs([panel.page_id for panel in block])
    if evaluation.detection_scope == "panel":
        runs = [range(index, index + 1) for index in range(len(block))]
    there = [[index for index in run if images[index] is not None] for run in runs]
    there = [run for run in there if run]
    pictures = [[image for index in run if (image := images[index]) is not None] for run in there]
    dialogs, people = list(nothing), list(nothing)
    if evaluation.detection_scope == "page":
        sheets = [lay_out(each) for each in pictures]
        for run, sheet, found in zip(there, sheets, look([sheet.image for sheet in sheets]), strict=True):
            for into, boxes in zip((dialogs, people), found, strict=True):
                if boxes is not None:
                    for index, mapped in zip(run, into_panels(boxes, sheet.frames), strict=True):
                        into[index] = mapped
        return dialogs, people
    for (index,), found in zip(there, look([each[0] for each in pictures]), strict=True):
        dialogs[index], people[index] = found
    return dialogs, people


def _checked(panel: BenchmarkPanel, image: Gray) -> Gray:
    if image.shape[:2] != (panel.height, panel.width):
        raise ValueError(
            f"panel {panel.panel_id}: expected an image of {panel.width}x{panel.height} pixels, "
            f"got {image.shape[1]}x{image.shape[0]}; every method must draw at the benchmark's size"
        )
    return image
