"""What is known of each annotation entry before the checks run: one row, with every fault found so far as a text."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from diffsensei.data.annotation_file import unknown_keys
from diffsensei.data.duplicates import LookAlikes
from diffsensei.data.halves import Half
from diffsensei.data.images import MAX_SIDE
from diffsensei.data.objects import Objects
from diffsensei.data.page_paths import check_image_path, page_id_of, series_of
from diffsensei.data.records import PageAnnotation, parse_page
from diffsensei.data.refusal import Refusal
from diffsensei.data.tables import BOX, MAX_INT, TableBuilder, printable
from diffsensei.data.tombstones import Tombstones
from diffsensei.data.validation.reading_order import misordered_share
from diffsensei.data.validation.stitch import Stitched, StitchTask

FAULTS = ("parse_fault", "path_fault", "duplicate_of", "image_fault", "missing_fault", "removed_fault", "stitch_fault")
NUM_UNKNOWN = 20
_COLUMN_OF_STATE = {"quarantined": "image_fault", "missing": "missing_fault", "removed": "removed_fault"}


@dataclass(frozen=True)
class AnnotatedPages:
    """All entries of an annotation file: ``facts`` has one row per entry, ``tables`` the contents of pages that parse.

    ``unknown_keys`` are the most frequent keys that the format does not have, and how many pages have them.
    """

    facts: pd.DataFrame
    tables: dict[str, pd.DataFrame]
    unknown_keys: dict[str, int]


def page_facts(
    raw_pages: Iterable[Any], halves: Mapping[str, Half] | None, tombstones: Tombstones | None = None
) -> AnnotatedPages:
    """Every entry, with the faults found so far as texts or None; without ``halves``, images are not asked for.

    Pages under ``tombstones`` count as removed. One raw page is held at a time.
    """
    rows: list[dict[str, Any]] = []
    builder = TableBuilder()
    first: dict[str, int] = {}
    unknown: Counter[str] = Counter()
    for entry, raw in enumerate(raw_pages):
        num_panels, num_boxes = _raw_contents(raw)
        row: dict[str, Any] = {
            "entry": entry,
            "page_index": entry,
            "id": f"entry-{entry}",
            "num_panels": num_panels,
            "num_boxes": num_boxes,
            "num_unknown_keys": 0,
            "num_images": 0,
            "width_1": 0,
            "width_2": 0,
            "lowest_edge": 0.0,
            "misordered_share": None,
        }
        row |= dict.fromkeys(("page_id", "image_path", "series", "sha256_1", "sha256_2"), "")
        row |= dict.fromkeys(FAULTS)
        rows.append(row)
        try:
            keys = unknown_keys(raw)
            page = parse_page(raw)
        except ValueError as error:
            row["parse_fault"] = printable(" ".join(str(error).split()))
            continue
        unknown.update(keys)
        row["num_unknown_keys"] = len(keys)
        row |= {"page_id": page_id_of(page.image_path), "image_path": printable(page.image_path)}
        row["series"] = series_of(row["image_path"])
        try:
            check_image_path(page.image_path)
        except Refusal as refusal:
            row["path_fault"] = refusal.evidence
            continue
        earlier = first.setdefault(page.image_path.casefold(), entry)
        if earlier != entry:
            row["duplicate_of"] = f"entry-{earlier}"
            continue
        row["id"] = row["page_id"]
        row |= _geometry(page)
        if halves is not None:
            row |= _half_facts([halves.get(image.url) for image in page.meta.images])
        if tombstones is not None:
            row |= _taken_down(row, [image.url for image in page.meta.images], tombstones)
        builder.add(row["page_id"], entry, page)
    names = {printable(key): count for key, count in unknown.most_common(NUM_UNKNOWN)}
    return AnnotatedPages(pd.DataFrame(rows), builder.tables(), names)


def _geometry(page: PageAnnotation) -> dict[str, Any]:
    widths = [min(max(image.width, -MAX_INT), MAX_INT) for image in page.meta.images]
    boxes = [frame.bbox for frame in page.frames]
    return {
        "num_images": len(widths),
        "width_1": widths[0],
        "width_2": sum(widths[1:]),
        "lowest_edge": max((box[3] for box in boxes if np.isfinite(box[3])), default=0.0),
        "misordered_share": misordered_share(boxes, middle=widths[0] if len(widths) == 2 else None),
    }


def _half_facts(halves: Sequence[Half | None]) -> dict[str, str | None]:
    """Digests of a page's images, or the first fault of each state among them as ``reason: evidence``."""
    facts: dict[str, str | None] = {}
    for number, half in enumerate(halves, start=1):
        if half is None:
            facts.setdefault("missing_fault", f"not_downloaded: url{number}")
        elif half.state == "ok":
            facts[f"sha256_{number}"] = half.sha256
        else:
            facts.setdefault(_COLUMN_OF_STATE[half.state], f"{half.reason}: url{number} {half.evidence}")
    return facts


def _taken_down(row: Mapping[str, Any], urls: Sequence[str], tombstones: Tombstones) -> dict[str, str]:
    """The fault of a page that may not be used any more."""
    stone = tombstones.find((row["page_id"], *urls, row["sha256_1"], row["sha256_2"]))
    return {} if stone is None else {"removed_fault": f"taken_down: {printable(stone.reason)}"}


def _raw_contents(raw: Any) -> tuple[int, int]:
    """Frames and boxes of a raw entry, also of one that does not parse: what is counted as input."""
    frames = raw.get("frames") if isinstance(raw, dict) else None
    frames = frames if isinstance(frames, list) else []
    lists = [frame.get(kind) for frame in frames if isinstance(frame, dict) for kind in ("characters", "dialogs")]
    return len(frames), sum(len(boxes) for boxes in lists if isinstance(boxes, list))


def stitch_tasks(annotated: AnnotatedPages, objects: Objects) -> list[StitchTask]:
    """The pages of which every image came, to be stitched."""
    tasks = []
    facts, panels = annotated.facts, annotated.tables["panels"]
    boxes = panels[BOX].to_numpy(dtype=np.float64)
    starts = np.searchsorted(panels["entry"], np.arange(len(facts) + 1))
    faults = facts[["image_fault", "missing_fault", "removed_fault"]].isna().all(axis=1)
    came = facts["id"].eq(facts["page_id"]) & faults
    for row in facts[came].itertuples():
        tasks.append(
            StitchTask(
                page_id=row.page_id,
                halves=tuple(objects.path(digest) for digest in (row.sha256_1, row.sha256_2)[: row.num_images]),
                widths=(row.width_1, row.width_2)[: row.num_images],
                lowest_edge=row.lowest_edge,
                panels=tuple(map(tuple, boxes[starts[row.entry] : starts[row.entry + 1]].tolist())),
            )
        )
    return tasks


def with_images(facts: pd.DataFrame, stitched: Mapping[str, Stitched]) -> pd.DataFrame:
    """``facts`` with what stitching found: size, digests, colour, faults, and how many pages share the picture."""
    outcomes = [
        stitched.get(page_id) if page_id == id_ else None
        for page_id, id_ in zip(facts["page_id"], facts["id"], strict=True)
    ]
    good = [outcome if outcome is not None and not outcome.reason else None for outcome in outcomes]
    for name in ("height", "width", "chroma", "rescaled"):
        facts[name] = pd.Series([None if page is None else getattr(page, name) for page in good], dtype=object)
    for name in ("image_sha256", "dhash"):
        facts[name] = ["" if page is None else getattr(page, name) for page in good]
    facts["stitch_fault"] = [
        f"{outcome.reason}: {outcome.evidence}" if outcome is not None and outcome.reason else None
        for outcome in outcomes
    ]
    copies = Counter(facts["image_sha256"])
    facts["image_copies"] = [copies[digest] if digest else 0 for digest in facts["image_sha256"]]
    facts["near_copies"] = LookAlikes(facts["dhash"].tolist()).counts()
    return facts


def with_annotated_sizes(facts: pd.DataFrame) -> pd.DataFrame:
    """``facts`` with the size that the annotations give: the width alone, as halves have no height in the format."""
    facts["width"] = (facts["width_1"] + facts["width_2"]).astype(np.float64)
    facts["height"] = np.inf
    narrow = facts[["width_1", "width_2"]].where(facts["num_images"].eq(2), facts["width_1"], axis=0).min(axis=1)
    wrong = facts["num_images"].gt(0) & ((narrow <= 0) | (facts[["width_1", "width_2"]].max(axis=1) > MAX_SIDE))
    facts["stitch_fault"] = [
        f"geometry_mismatch: annotated widths {row.width_1}+{row.width_2}" if bad else None
        for row, bad in zip(facts.itertuples(), wrong, strict=True)
    ]
    return facts
