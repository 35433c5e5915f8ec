"""The stage that turns machine annotations and people's corrections into the final ones (paper sec. 3.2)."""

import json
from collections import Counter, defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from diffsensei.data.annotation.agreement import agreement_report
from diffsensei.data.annotation.boxes import AnnotatedBox
from diffsensei.data.annotation.edit_files import read_edit_files
from diffsensei.data.annotation.edits import Edit
from diffsensei.data.annotation.layers import BoxLayers, RefinedPage, refine_page
from diffsensei.data.annotation.machine_layer import MachineLayer
from diffsensei.data.annotation_file import read_annotations, write_annotations
from diffsensei.data.page_paths import page_id_of
from diffsensei.data.tables import BOX, printable
from diffsensei.progress import Progress

PAGES_PER_WRITE = 512
_LAYERS = ("machine", "final")
SCHEMA = pa.schema(
    [
        *((name, pa.string()) for name in ("page_id", "page_key", "box_id", "kind", "state", "by", "dispute")),
        ("num_edits", pa.int32()),
        *(
            field
            for layer in _LAYERS
            for field in (
                (f"{layer}_id", pa.string()),
                (f"{layer}_type", pa.int32()),
                *((f"{layer}_{side}", pa.float64()) for side in BOX),
            )
        ),
    ]
)
"""``layers.parquet``: a row per box; a layer's columns are null where it lacks the box, ids and types but for
characters."""


def refine_annotations(*, annotations: Path, edits: tuple[str, ...], workspace: Path, output: Path) -> None:
    """Stage: apply the files ``edits`` in order to ``annotations/annotations.json``.

    Writes ``annotations.json`` (final; pages nobody changed as they were), ``layers.parquet`` and ``layers.json`` (per
    box what machine and people say, and counts), ``edits.jsonl`` (all edits as read), ``adjudication.jsonl`` (boxes in
    dispute with every edit of them) and ``agreement.json``. Raises ValueError (one line) for files that do not fit.
    """
    raw_pages = read_annotations(annotations / "annotations.json")
    machine = MachineLayer(raw_pages)
    read = read_edit_files(map(Path, edits), machine)
    refined = refine_pages(machine, read, Progress(workspace / "progress.json", "refine", len(machine.pages)))
    outside = 0
    for index, key in machine.entries.items():
        page = refined[key]
        if any(box.state not in ("kept", "disputed") for box in page.boxes):
            frames, lost = page.frames()
            outside += lost
            raw_pages[index] = {**raw_pages[index], "frames": [frame.model_dump(mode="json") for frame in frames]}
    write_annotations(raw_pages, output / "annotations.json")
    with pq.ParquetWriter(output / "layers.parquet", SCHEMA) as writer:
        pages = list(refined.values())
        for start in range(0, len(pages), PAGES_PER_WRITE):
            rows = [row for page in pages[start : start + PAGES_PER_WRITE] for row in _rows(page)]
            writer.write_table(pa.Table.from_pylist(rows, schema=SCHEMA))
    (output / "edits.jsonl").write_text("".join(f"{edit.model_dump_json(exclude_none=True)}\n" for edit in read))
    disputes = [box for page in refined.values() for box in page.disputes]
    (output / "adjudication.jsonl").write_text("".join(f"{json.dumps(_dispute(box))}\n" for box in disputes))
    counts = {"unreadable_pages": len(raw_pages) - len(machine.pages), "boxes_outside_frames": outside}
    (output / "layers.json").write_text(json.dumps(counts | layer_counts(refined.values()), indent=1))
    report = agreement_report(machine, read, refined.values())
    (output / "agreement.json").write_text(json.dumps(report, indent=1))


def refine_pages(
    machine: MachineLayer, edits: Iterable[Edit], progress: Progress | None = None
) -> dict[str, RefinedPage]:
    """Every page of ``machine`` with its edits applied, by key, in order."""
    by_page: dict[str, list[Edit]] = defaultdict(list)
    for edit in edits:
        by_page[edit.page_key].append(edit)
    refined = {}
    for key in machine.pages:
        refined[key] = refine_page(key, machine.boxes(key), by_page[key])
        if progress:
            progress.advance()
    return refined


def layer_counts(pages: Iterable[RefinedPage]) -> dict[str, Any]:
    """How much people changed: boxes by state, pages nobody went over or nobody had to change, ids changed per page."""
    pages = list(pages)
    gone_over = [page for page in pages if page.annotators]
    changed = [page for page in gone_over if any(box.state not in ("kept", "disputed") for box in page.boxes)]
    ids = {page.page_key: sum(box.id_changed for box in page.boxes) for page in gone_over}
    return {
        "pages": len(pages),
        "pages_gone_over": len(gone_over),
        "pages_changed": len(changed),
        "pages_untouched": len(pages) - len(gone_over),
        "boxes": dict(Counter(box.state for page in pages for box in page.boxes)),
        "ids_changed": sum(ids.values()),
        "ids_changed_per_page": sum(ids.values()) / len(ids) if ids else None,
        "ids_changed_by_page": {key: count for key, count in ids.items() if count},
        "edits_by_annotator": dict(Counter(e.annotator for page in pages for box in page.boxes for e in box.edits)),
    }


def _rows(page: RefinedPage) -> Iterable[dict[str, Any]]:
    page_id = page_id_of(page.page_key)
    for box in page.boxes:
        named = box.machine or box.final
        row: dict[str, Any] = {
            "page_id": page_id,
            "page_key": page.page_key,
            "box_id": box.box_id,
            "kind": named.kind if named else next(e.kind for e in box.edits if e.action == "add"),
            "state": box.state,
            "by": ",".join(box.by),
            "dispute": box.dispute,
            "num_edits": len(box.edits),
        }
        for layer, content in zip(_LAYERS, (box.machine, box.final), strict=True):
            row |= _columns(layer, content)
        yield row


def _columns(layer: str, box: AnnotatedBox | None) -> dict[str, Any]:
    is_character = box is not None and box.kind == "character"
    sides = dict.fromkeys(BOX) if box is None else dict(zip(BOX, box.bbox, strict=True))
    return {
        f"{layer}_id": printable(str(box.character_id)) if box and is_character else None,
        f"{layer}_type": min(max(box.type, -(2**31)), 2**31 - 1) if box and is_character else None,
        **{f"{layer}_{side}": value for side, value in sides.items()},
    }


def _dispute(box: BoxLayers) -> dict[str, Any]:
    edits = [edit.model_dump(mode="json", exclude_none=True) for edit in box.edits]
    return {"page_key": box.page_key, "box_id": box.box_id, "reason": box.dispute, "edits": edits}
