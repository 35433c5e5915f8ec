"""From images to single measurements: what the judges see in a set of panels, and one row per measurement."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diffsensei.config.schema import EvaluationConfig
from diffsensei.evaluation.benchmark import BenchmarkPanel, read_gray
from diffsensei.evaluation.clip_score import CLIP, NO_CAPTION
from diffsensei.evaluation.dialog_f1 import DIALOG_F1, NOTHING_TO_FIND, match_boxes
from diffsensei.evaluation.dino_similarity import (
    DINO_C,
    DINO_C_SOURCE,
    DINO_I,
    character_crop,
    cosine,
)
from diffsensei.evaluation.features import Gray, Judges
from diffsensei.progress import Progress

Vectors = NDArray[np.floating]
LoadPanel = Callable[[BenchmarkPanel], Gray | None]
"""The image to judge for a panel, or None where the method gave none."""

PANELS_AT_ONCE = 64
NOT_GENERATED = "not generated"
NO_DIRECTION = "embedding without direction"


@dataclass(frozen=True)
class PanelFeatures:
    """What the judges see, one entry per benchmark panel; None where that judge is missing or no image came."""

    present: list[bool]
    clip: list[Vectors | None]
    dino: list[Vectors | None]
    distribution: list[Vectors | None]
    crops: list[list[Vectors | None]]
    """DINO class token per requested character; None also for crops that are too small."""
    dialogs: list[NDArray[np.floating] | None]
    """Detected boxes (K, 4) in pixels of the panel."""


def see_panels(
    panels: Sequence[BenchmarkPanel], load: LoadPanel, judges: Judges, evaluation: EvaluationConfig, progress: Progress
) -> PanelFeatures:
    """Show every image to every judge, a block of panels at a time. Raises ValueError for an image of another size."""
    seen = PanelFeatures([], [], [], [], [], [])
    for start in range(0, len(panels), PANELS_AT_ONCE):
        block = panels[start : start + PANELS_AT_ONCE]
        images = [_checked(panel, load(panel)) for panel in block]
        there = [image for image in images if image is not None]
        seen.present.extend(image is not None for image in images)
        for judge, into in (
            (judges.clip, seen.clip),
            (judges.dino, seen.dino),
            (judges.distribution, seen.distribution),
        ):
            vectors = iter(judge(there)) if judge is not None else None
            into.extend(next(vectors) if image is not None and vectors is not None else None for image in images)
        cut = [
            [
                None if image is None else character_crop(image, c.box, evaluation.min_crop_side)
                for c in panel.characters
            ]
            for panel, image in zip(block, images, strict=True)
        ]
        crops = [crop for row in cut for crop in row if crop is not None]
        tokens = iter(judges.dino(crops)) if judges.dino is not None else None
        seen.crops.extend([None if crop is None or tokens is None else next(tokens) for crop in row] for row in cut)
        found = (
            iter(judges.detector.detect(there, evaluation.detection_threshold)) if judges.detector is not None else None
        )
        seen.dialogs.extend(None if image is None or found is None else next(found).boxes_xyxy for image in images)
        progress.advance(len(block))
    return seen


def see_references(panels: Sequence[BenchmarkPanel], folder: Path, judges: Judges) -> list[list[Vectors | None]]:
    """DINO class token of every character's reference image."""
    if judges.dino is None:
        return [[None] * len(panel.characters) for panel in panels]
    images = [read_gray(folder / c.reference) for panel in panels for c in panel.characters]
    tokens = iter(judges.dino(images))
    return [[next(tokens) for _ in panel.characters] for panel in panels]


def see_captions(panels: Sequence[BenchmarkPanel], judges: Judges) -> list[Vectors | None]:
    """CLIP text embedding of every caption; None where there is no caption."""
    if judges.captions is None:
        return [None] * len(panels)
    embedded = iter(judges.captions([panel.caption for panel in panels if panel.caption.strip()]))
    return [next(embedded) if panel.caption.strip() else None for panel in panels]


def measure(
    panels: Sequence[BenchmarkPanel],
    seen: PanelFeatures,
    truth: PanelFeatures,
    references: Sequence[Sequence[Vectors | None]],
    captions: Sequence[Vectors | None],
    evaluation: EvaluationConfig,
    missing: dict[str, str],
) -> Iterator[dict[str, Any]]:
    """Rows (panel fields, metric, value or reason, counts) of one method and seed; no rows for missing judges."""
    too_small = f"crop under {evaluation.min_crop_side} px"
    for index, panel in enumerate(panels):
        base = {"page_id": panel.page_id, "series": panel.series, "panel_id": panel.panel_id, "character": None}

        def row(metric: str, value: float | None, skipped: str | None = None, **fields: Any) -> dict[str, Any]:
            if value is not None and not np.isfinite(value):
                value, skipped = None, NO_DIRECTION
            return base | {"metric": metric, "value": value, "skipped": skipped} | fields  # noqa: B023

        absent = None if seen.present[index] else NOT_GENERATED
        if "clip" not in missing:
            caption = captions[index]
            reason = absent or (NO_CAPTION if caption is None else None)
            yield row(CLIP.name, None if reason else _cosine(seen.clip[index], caption), reason)
        if "dino" not in missing:
            yield row(DINO_I.name, None if absent else _cosine(seen.dino[index], truth.dino[index]), absent)
            for slot, character in enumerate(panel.characters):
                ours, theirs, source = seen.crops[index][slot], truth.crops[index][slot], references[index][slot]
                reason = absent or (too_small if ours is None else None)
                name = f"{slot}:{character.id}"
                yield row(DINO_C.name, None if reason else _cosine(ours, theirs), reason, character=name)
                yield row(DINO_C_SOURCE.name, None if reason else _cosine(ours, source), reason, character=name)
        if "detector" not in missing:
            boxes = seen.dialogs[index]
            if boxes is None:
                yield row(DIALOG_F1.name, None, absent)
                continue
            wanted = np.array(panel.dialogs, dtype=float).reshape(-1, 4) * np.array([panel.width, panel.height] * 2)
            found = match_boxes(boxes, wanted, evaluation.iou_threshold)
            total = 2 * found.tp + found.fp + found.fn
            yield row(
                DIALOG_F1.name,
                2 * found.tp / total if total else None,
                None if total else NOTHING_TO_FIND,
                tp=found.tp,
                fp=found.fp,
                fn=found.fn,
            )


def _cosine(a: Vectors | None, b: Vectors | None) -> float:
    assert a is not None
    assert b is not None
    return float(cosine(a[None], b[None])[0])


def _checked(panel: BenchmarkPanel, image: Gray | None) -> Gray | None:
    if image is not None and image.shape[:2] != (panel.height, panel.width):
        raise ValueError(
            f"panel {panel.panel_id}: expected an image of {panel.width}x{panel.height} pixels, "
            f"got {image.shape[1]}x{image.shape[0]}; every method must draw at the benchmark's size"
        )
    return image
