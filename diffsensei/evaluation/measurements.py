"""From what the judges saw to single measurements: one row per measurement."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from diffsensei.config.schema import EvaluationConfig
from diffsensei.evaluation.benchmark import BenchmarkPanel
from diffsensei.evaluation.character_layout import CHARACTER_COUNT, LAYOUT_IOU, paired_iou
from diffsensei.evaluation.clip_score import NO_CAPTION
from diffsensei.evaluation.colour_purity import CHROMA
from diffsensei.evaluation.copy_paste import COPY_PASTE, NO_OTHER_PICTURE, copy_paste_score
from diffsensei.evaluation.dialog_f1 import (
    COCO_THRESHOLDS,
    DIALOG_F1,
    NOTHING_TO_FIND,
    match_at,
    overlaps,
    rows_at,
)
from diffsensei.evaluation.dino_similarity import DINO_C, DINO_C_SOURCE, DINO_I, cosine
from diffsensei.evaluation.drawn_states import State
from diffsensei.evaluation.identity_accuracy import IDENTITY, ONE_CHARACTER, is_recognised
from diffsensei.evaluation.judges import clip_name
from diffsensei.evaluation.sight import PanelFeatures, Vectors
from diffsensei.evaluation.state_accuracy import (
    FROM_BEHIND,
    NOTHING_READABLE,
    STATE_ACCURACY,
    STATE_PARTS,
    UNKNOWN,
    hits,
    mean_hit,
)

NOT_GENERATED = "not generated"
NO_DIRECTION = "embedding without direction"

Row = dict[str, Any]


@dataclass(frozen=True)
class Request:
    """What was asked for, as the judges see it; the same for every method."""

    panels: Sequence[BenchmarkPanel]
    references: Sequence[Sequence[Vectors | None]]
    """DINO class token of each character's reference."""
    captions: Sequence[Sequence[Vectors | None]]
    """For every CLIP model the embedding of each caption."""
    truth: PanelFeatures
    states: Sequence[Sequence[State | None]]
    """The state of each character; None where it is not known."""
    readable_states: tuple[str, ...]
    """The attributes that enter the mean of state accuracy."""

    @cached_property
    def pages(self) -> dict[str, list[int]]:
        """Page id to the indices of its panels."""
        found: dict[str, list[int]] = {}
        for index, panel in enumerate(self.panels):
            found.setdefault(panel.page_id, []).append(index)
        return found


def measure(
    request: Request, seen: PanelFeatures, evaluation: EvaluationConfig, missing: dict[str, str]
) -> Iterator[Row]:
    """Rows (panel fields, metric, value or reason, counts) of one method and seed; no rows for missing judges."""
    for index, panel in enumerate(request.panels):
        base = {"page_id": panel.page_id, "series": panel.series, "panel_id": panel.panel_id, "character": None}
        absent = None if seen.present[index] else NOT_GENERATED
        for row in _panel_rows(request, seen, index, absent, evaluation, missing):
            yield base | row


def _panel_rows(
    request: Request,
    seen: PanelFeatures,
    index: int,
    absent: str | None,
    evaluation: EvaluationConfig,
    missing: dict[str, str],
) -> Iterator[Row]:
    panel = request.panels[index]
    for number, (vectors, captions) in enumerate(zip(seen.clips, request.captions, strict=True)):
        if clip_name(number) not in missing:
            caption = captions[index]
            reason = absent or (NO_CAPTION if caption is None else None)
            yield _row(clip_name(number), None if reason else _cosine(vectors[index], caption), reason)
    if "dino" not in missing:
        yield _row(DINO_I.name, None if absent else _cosine(seen.dino[index], request.truth.dino[index]), absent)
        for slot in range(len(panel.characters)):
            yield from _character_rows(request, seen, index, slot, absent, evaluation)
    if "states" not in missing:
        for slot in range(len(panel.characters)):
            yield from _state_rows(request, seen, index, slot, absent, evaluation)
    if "detector" not in missing:
        yield from _dialog_rows(panel, seen.dialogs[index], absent, evaluation)
    if "characters" not in missing:
        yield from _layout_rows(panel, seen.people[index], absent)
    yield _row(CHROMA.name, seen.chroma[index], absent)


def _character_rows(
    request: Request,
    seen: PanelFeatures,
    index: int,
    slot: int,
    absent: str | None,
    evaluation: EvaluationConfig,
) -> Iterator[Row]:
    panel = request.panels[index]
    character = panel.characters[slot]
    ours, shown = seen.crops[index][slot], request.references[index][slot]
    reason = absent or (_too_small(evaluation) if ours is None else None)
    name = f"{slot}:{character.id}"
    theirs = request.truth.crops[index][slot]
    yield _row(DINO_C.name, None if reason else _cosine(ours, theirs), reason, character=name)
    yield _row(DINO_C_SOURCE.name, None if reason else _cosine(ours, shown), reason, character=name)

    others = _other_pictures(request, index, slot)
    why = reason or (None if others else NO_OTHER_PICTURE)
    value = None if why else copy_paste_score(_there(ours), _there(shown), np.stack(others))
    yield _row(COPY_PASTE.name, value, why, character=name)

    ids, references = _page_references(request, panel.page_id)
    why = reason or (None if len(set(ids)) > 1 else ONE_CHARACTER)
    value = None if why else is_recognised(_there(ours), np.stack(references), ids, character.id)
    yield _row(IDENTITY.name, value, why, character=name)


def _state_rows(
    request: Request,
    seen: PanelFeatures,
    index: int,
    slot: int,
    absent: str | None,
    evaluation: EvaluationConfig,
) -> Iterator[Row]:
    read, wanted = seen.states[index][slot], request.states[index][slot]
    name = f"{slot}:{request.panels[index].characters[slot].id}"
    reason = absent or (_too_small(evaluation) if read is None else None) or (UNKNOWN if wanted is None else None)
    if reason or read is None or wanted is None:
        for definition in (STATE_ACCURACY, *STATE_PARTS.values()):
            yield _row(definition.name, None, reason, character=name)
        return
    found = hits(read, wanted)
    mean = mean_hit(found, request.readable_states)
    yield _row(STATE_ACCURACY.name, mean, NOTHING_READABLE if mean is None else None, character=name)
    for attribute, value in found.items():
        why = FROM_BEHIND if value is None else None
        yield _row(STATE_PARTS[attribute].name, value, why, character=name)


def _too_small(evaluation: EvaluationConfig) -> str:
    return f"crop under {evaluation.min_crop_side} px"


def _other_pictures(request: Request, index: int, slot: int) -> list[Vectors]:
    """True crops of the same character in the page's other panels, those of the shown reference's panel left out."""
    panel = request.panels[index]
    character = panel.characters[slot]
    shown_panel = character.source.rpartition(":")[0]
    return [
        crop
        for other_index, other in _same_page(request, panel.page_id)
        if other.panel_id not in (panel.panel_id, shown_panel)
        for other_slot, same in enumerate(other.characters)
        if same.id == character.id and (crop := request.truth.crops[other_index][other_slot]) is not None
    ]


def _page_references(request: Request, page_id: str) -> tuple[list[str], list[Vectors]]:
    ids, vectors = [], []
    for index, panel in _same_page(request, page_id):
        for character, vector in zip(panel.characters, request.references[index], strict=True):
            if vector is not None:
                ids.append(character.id)
                vectors.append(vector)
    return ids, vectors


def _same_page(request: Request, page_id: str) -> list[tuple[int, BenchmarkPanel]]:
    return [(index, request.panels[index]) for index in request.pages[page_id]]


def _dialog_rows(
    panel: BenchmarkPanel, boxes: Vectors | None, absent: str | None, evaluation: EvaluationConfig
) -> Iterator[Row]:
    thresholds = {rows_at(iou): iou for iou in (*COCO_THRESHOLDS, *evaluation.iou_sweep)}
    thresholds = {DIALOG_F1.name: evaluation.iou_threshold} | thresholds
    if absent or boxes is None:
        yield from (_row(name, None, absent) for name in thresholds)
        return
    asked = panel.dialogs if evaluation.dialog_truth == "fed" else (*panel.dialogs, *panel.unfed_dialogs)
    iou = overlaps(boxes, np.array(asked, dtype=float).reshape(-1, 4) * _pixels(panel))
    for name, threshold in thresholds.items():
        found = match_at(iou, threshold)
        total = 2 * found.tp + found.fp + found.fn
        yield _row(
            name,
            2 * found.tp / total if total else None,
            None if total else NOTHING_TO_FIND,
            tp=found.tp,
            fp=found.fp,
            fn=found.fn,
        )


def _layout_rows(panel: BenchmarkPanel, boxes: Vectors | None, absent: str | None) -> Iterator[Row]:
    asked = np.array([c.box for c in panel.characters], dtype=float).reshape(-1, 4) * _pixels(panel)
    placed = None if boxes is None else paired_iou(boxes, asked)
    for slot, character in enumerate(panel.characters):
        value = None if placed is None else float(placed[slot])
        yield _row(LAYOUT_IOU.name, value, absent, character=f"{slot}:{character.id}")
    yield _row(CHARACTER_COUNT.name, None if boxes is None else float(len(boxes) == len(asked)), absent)


def _row(metric: str, value: float | None, skipped: str | None = None, **fields: Any) -> Row:
    if value is not None and not np.isfinite(value):
        value, skipped = None, NO_DIRECTION
    return {"metric": metric, "value": value, "skipped": skipped} | fields


def _pixels(panel: BenchmarkPanel) -> Vectors:
    return np.array([panel.width, panel.height] * 2)


def _cosine(a: Vectors | None, b: Vectors | None) -> float:
    return float(cosine(_there(a)[None], _there(b)[None])[0])


def _there(vector: Vectors | None) -> Vectors:
    assert vector is not None
    return vector
