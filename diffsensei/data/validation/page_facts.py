"""What is known of each annotation entry before the checks run: one row, with every fault found so far as a text."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from diffsensei.data.duplicates import LookAlikes
from diffsensei.data.halves import Half
from diffsensei.data.objects import Objects
from diffsensei.data.page_paths import check_image_path, page_id_of, series_of
from diffsensei.data.records import PageAnnotation, parse_page
from diffsensei.data.refusal import Refusal
from diffsensei.data.tables import printable
from diffsensei.data.validation.stitch import Stitched, StitchTask


def page_facts(raw_pages: Sequence[Any], halves: Mapping[str, Half]) -> tuple[pd.DataFrame, dict[int, PageAnnotation]]:
    """One row per entry with the faults found so far, as texts or None; and the pages that parse, by entry."""
    rows: list[dict[str, Any]] = []
    annotated: dict[int, PageAnnotation] = {}
    first: dict[str, int] = {}
    for entry, raw in enumerate(raw_pages):
        num_panels, num_boxes = _raw_contents(raw)
        row: dict[str, Any] = {
            "entry": entry,
            "page_index": entry,
            "id": f"entry-{entry}",
            "num_panels": num_panels,
            "num_boxes": num_boxes,
        }
        row |= dict.fromkeys(("page_id", "image_path", "series", "sha256_1", "sha256_2"), "")
        row |= dict.fromkeys(("parse_fault", "path_fault", "duplicate_of", "image_fault", "missing_fault"))
        rows.append(row)
        try:
            page = parse_page(raw)
        except ValueError as error:
            row["parse_fault"] = printable(" ".join(str(error).split()))
            continue
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
        annotated[entry] = page
        row["id"] = row["page_id"]
        row |= _half_facts([halves.get(image.url) for image in page.meta.images])
    return pd.DataFrame(rows), annotated


def _half_facts(halves: Sequence[Half | None]) -> dict[str, str | None]:
    """Digests of a page's images, or the first quarantine or missing fault among them as ``reason: evidence``."""
    facts: dict[str, str | None] = {}
    for number, half in enumerate(halves, start=1):
        if half is None:
            facts.setdefault("missing_fault", f"not_downloaded: url{number}")
        elif half.state == "ok":
            facts[f"sha256_{number}"] = half.sha256
        else:
            column = "missing_fault" if half.state == "missing" else "image_fault"
            facts.setdefault(column, f"{half.reason}: url{number} {half.evidence}")
    return facts


def _raw_contents(raw: Any) -> tuple[int, int]:
    """Frames and boxes of a raw entry, also of one that does not parse: what is counted as input."""
    frames = raw.get("frames") if isinstance(raw, dict) else None
    frames = frames if isinstance(frames, list) else []
    lists = [frame.get(kind) for frame in frames if isinstance(frame, dict) for kind in ("characters", "dialogs")]
    return len(frames), sum(len(boxes) for boxes in lists if isinstance(boxes, list))


def stitch_tasks(facts: pd.DataFrame, annotated: Mapping[int, PageAnnotation], objects: Objects) -> list[StitchTask]:
    """The pages of which every image came, to be stitched."""
    tasks = []
    came = facts["id"].eq(facts["page_id"]) & facts["image_fault"].isna() & facts["missing_fault"].isna()
    for row in facts[came].itertuples():
        page = annotated[row.entry]
        digests = (row.sha256_1, row.sha256_2)[: len(page.meta.images)]
        bottoms = [frame.bbox[3] for frame in page.frames]
        tasks.append(
            StitchTask(
                page_id=row.page_id,
                halves=tuple(objects.path(digest) for digest in digests),
                widths=tuple(image.width for image in page.meta.images),
                lowest_edge=max((bottom for bottom in bottoms if np.isfinite(bottom)), default=0.0),
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
