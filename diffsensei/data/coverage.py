"""What of a data set there is to train and evaluate on, per series, split and reason: told before any GPU time.

Every page, panel, character and dialog of the annotation file is counted once: as ok (then with its split), or under
the state and reason that set it, or what contains it, aside.
"""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from pydantic import BaseModel, ConfigDict

from diffsensei.data.annotation_file import read_annotations
from diffsensei.data.page_paths import check_image_path, series_of
from diffsensei.data.refusal import Refusal

COUNTS = ("pages", "panels", "characters", "dialogs")
OK = "ok"
UNDECIDED = "undecided"
"""Split of accepted pages before panels are cut."""
NO_SERIES = "(no usable path)"


class Coverage(BaseModel):
    """``rows``: series, state, reason, split, and the four counts. ``totals``: counts by state, ``all`` among them.

    ``held_out`` counts pages: ``wanted`` (two a series, or as configured), ``chosen``, ``lost``; by series where some
    are lost. None before panels are cut.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    rows: list[dict[str, Any]]
    totals: dict[str, dict[str, int]]
    held_out: dict[str, Any] | None

    def share(self, what: str) -> float:
        """The accepted share of pages, panels, characters or dialogs, in [0, 1]; 1 where there were none."""
        every = self.totals["all"][what]
        return self.totals[OK][what] / every if every else 1.0

    @property
    def held_out_share(self) -> float:
        """Chosen over wanted held-out pages, in [0, 1]; 0 while undecided."""
        if self.held_out is None:
            return 0.0
        return float(self.held_out["chosen"] / self.held_out["wanted"]) if self.held_out["wanted"] else 1.0


def compute_coverage(
    raw_pages: Sequence[Any], tables: Mapping[str, pd.DataFrame], split: Mapping[str, Any] | None
) -> Coverage:
    """Coverage of ``raw_pages`` (the annotation file) from the ``tables`` of the validation.

    ``tables``: pages, panels, characters, dialogs (accepted rows) and quarantine; ``split`` is ``split.json``.
    """
    counts: Counter[tuple[str, str, str, str, str]] = Counter()
    held_out = {page["page_id"] for page in split["eval"]} if split else set()
    pages = tables["pages"]
    series_by_page = dict(zip(pages["page_id"], pages["series"], strict=True))
    for what in COUNTS:
        for page_id, number in tables[what].groupby("page_id").size().items():
            part = UNDECIDED if split is None else "eval" if page_id in held_out else "train"
            counts[series_by_page[page_id], OK, "", part, what] += int(number)
    for row in tables["quarantine"].itertuples():
        raw = raw_pages[row.entry]
        for what, number in _contents(raw, row).items():
            counts[_series(raw), row.state, row.reason, "", what] += number
    totals: dict[str, Counter[str]] = {name: Counter(dict.fromkeys(COUNTS, 0)) for name in ("all", OK)}
    rows: dict[tuple[str, str, str, str], dict[str, int]] = {}
    for (series, state, reason, part, what), number in counts.items():
        rows.setdefault((series, state, reason, part), dict.fromkeys(COUNTS, 0))[what] += number
        totals.setdefault(state, Counter(dict.fromkeys(COUNTS, 0)))[what] += number
        totals["all"][what] += number
    listed = [
        dict(zip(("series", "state", "reason", "split"), key, strict=True)) | rows[key]
        for key in sorted(rows, key=lambda key: (key[0], key[1] != OK, *key[1:]))
    ]
    return Coverage(
        rows=listed,
        totals={state: dict(total) for state, total in totals.items()},
        held_out=_held_out(raw_pages, split) if split else None,
    )


def read_coverage(annotated: Path, validated: Path, panels: Path | None) -> Coverage:
    """Coverage from result folders: of what brings the images, of the validation, and of the panels if they are cut."""
    names = (*COUNTS, "quarantine")
    tables = {name: pd.read_parquet(validated / f"{name}.parquet") for name in names}
    split = json.loads((panels / "split.json").read_text()) if panels else None
    return compute_coverage(read_annotations(annotated / "annotations.json"), tables, split)


def _contents(raw: Any, row: Any) -> dict[str, int]:
    """What one quarantine row takes away: the box; the panel and its boxes; or the page and all that is on it."""
    if row.level in ("character", "dialog"):
        return {f"{row.level}s": 1}
    frames = raw.get("frames") if isinstance(raw, dict) else None
    frames = frames if isinstance(frames, list) else []
    if row.level == "panel":
        frames = frames[int(row.panel_index) : int(row.panel_index) + 1]
    found = {kind: sum(_length(frame, kind) for frame in frames) for kind in ("characters", "dialogs")}
    return {"pages": int(row.level == "page"), "panels": len(frames), **found}


def _length(frame: Any, kind: str) -> int:
    boxes = frame.get(kind) if isinstance(frame, dict) else None
    return len(boxes) if isinstance(boxes, list) else 0


def _series(raw: Any) -> str:
    """What the path names; a path that is refused names none, for nothing of such a "series" could be held out."""
    path = raw.get("image_path") if isinstance(raw, dict) else None
    if not isinstance(path, str):
        return NO_SERIES
    try:
        check_image_path(path)
    except Refusal:
        return NO_SERIES
    return series_of(path)


def _held_out(raw_pages: Sequence[Any], split: Mapping[str, Any]) -> dict[str, Any]:
    """Held-out pages that the configuration asks for, of every series that the annotations name."""
    each = int(split["config"]["eval_pages_per_series"])
    chosen = Counter(page["series"] for page in split["eval"])
    named = {_series(raw) for raw in raw_pages} - {NO_SERIES}
    lost = {series: each - chosen[series] for series in sorted(named | set(chosen)) if chosen[series] < each}
    wanted = each * len(named | set(chosen))
    return {"wanted": wanted, "chosen": chosen.total(), "lost": wanted - chosen.total(), "lost_by_series": lost}
