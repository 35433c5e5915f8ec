"""From downloaded halves to accepted pages: stitch, check, set aside with reasons, count (paper sec. 3.2).

Checks run top down: panels are judged on accepted pages, characters and dialogs in accepted panels.
"""

import json
from collections.abc import Mapping, Sequence
from concurrent.futures import Executor
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from diffsensei.config.schema import DownloadConfig, ValidationConfig
from diffsensei.data.halves import read_halves
from diffsensei.data.objects import Objects
from diffsensei.data.records import PageAnnotation, read_annotations
from diffsensei.data.tables import boxes_of, flatten, measure_boxes, share_inside_panel, write_table
from diffsensei.data.validation.checks import (
    NUM_EXAMPLES,
    Check,
    CheckResult,
    character_checks,
    dialog_checks,
    page_checks,
    panel_checks,
    run_checks,
)
from diffsensei.data.validation.page_facts import page_facts, stitch_tasks, with_images
from diffsensei.data.validation.quarantine import conservation, quarantine_table, set_aside
from diffsensei.data.validation.stitch import Stitched, StitchTask, stitch_batch
from diffsensei.durable import link
from diffsensei.geometry import area
from diffsensei.progress import Progress

PAGES_PER_TASK = 16
MIN_COMMON_CAPTION = 10
"""Panels that may share a caption whatever their share: in a small set one per cent is less than a panel."""


class _Ledger:
    """Collects what each suite said and which rows were set aside."""

    def __init__(self) -> None:
        self.quarantined: list[dict[str, Any]] = []
        self.checks: list[dict[str, Any]] = []
        self.suites: dict[str, Any] = {}

    def judge(
        self, name: str, level: str, table: pd.DataFrame, checks: list[Check], ids: Sequence[str]
    ) -> pd.DataFrame:
        """Run ``checks`` on ``table`` and return its accepted rows."""
        results, self.suites[name] = run_checks(table, checks, name)
        self.checks += [_summary(result, name, ids) for result in results]
        accepted, rows = set_aside(table, results, level=level, ids=ids)
        self.quarantined += rows
        return accepted


def validate_pages(
    *,
    validation: ValidationConfig,
    download: DownloadConfig,
    download_dir: Path,
    workspace: Path,
    output: Path,
    executor: Executor,
) -> None:
    """Stage: accept or set aside every page, panel, character and dialog of the annotations.

    Writes ``pages/<page_id>.png``, tables ``pages``, ``panels``, ``characters``, ``dialogs`` (accepted rows) and
    ``quarantine`` as parquet, ``validation.json`` and ``counts.json``. Raises ValueError when more pages are
    quarantined than ``max_quarantine_rate`` allows; missing pages are no fault of the data and do not count.
    """
    raw_pages = read_annotations(download_dir / "annotations.json")
    num_entries = len(raw_pages)
    facts, annotated = page_facts(raw_pages, read_halves(download_dir / "halves.parquet"))
    del raw_pages  # a gigabyte at the size of the whole data set
    (output / "pages").mkdir()
    tasks = stitch_tasks(facts, annotated, Objects(download_dir / "objects"))
    stitched = _stitch_all(tasks, output / "pages", download.max_megapixels, executor, workspace)
    facts = with_images(facts, stitched)

    ledger = _Ledger()
    given = {"page": num_entries, "panel": int(facts["num_panels"].sum()), "box": int(facts["num_boxes"].sum())}
    pages = ledger.judge("pages", "page", facts, page_checks(), facts["id"].tolist())
    _require_mostly_good(quarantine_table(ledger.quarantined), len(facts), validation, workspace)
    for page_id in set(stitched) - set(pages["page_id"]):
        (output / "pages" / f"{page_id}.png").unlink(missing_ok=True)
    tables = _judge_contents(pages, annotated, validation, ledger)

    accepted = {
        "page": len(pages),
        "panel": len(tables["panels"]),
        "box": len(tables["characters"]) + len(tables["dialogs"]),
    }
    quarantine = quarantine_table(ledger.quarantined)
    counts = conservation(given, accepted, quarantine)
    for name, table in {"pages": pages, **tables, "quarantine": quarantine}.items():
        write_table(name, table, output)
    reasons: dict[str, dict[str, int]] = {}
    for (level, reason), count in quarantine.groupby(["level", "reason"]).size().items():
        reasons.setdefault(level, {})[reason] = int(count)
    report = {"checks": ledger.checks, "suites": ledger.suites, "reasons": reasons}
    (output / "validation.json").write_text(json.dumps(report, indent=1))
    (output / "counts.json").write_text(json.dumps(counts, indent=1))


def _stitch_all(
    tasks: Sequence[StitchTask], folder: Path, max_megapixels: float, executor: Executor, workspace: Path
) -> dict[str, Stitched]:
    """The outcome of every task by page id. Pages are made in the workspace, where a next attempt finds them."""
    batches = [tasks[start : start + PAGES_PER_TASK] for start in range(0, len(tasks), PAGES_PER_TASK)]
    progress = Progress(workspace / "progress.json", "stitch and check pages", len(tasks), unit="pages")
    stitched_folder = workspace / "pages"
    stitched_folder.mkdir(exist_ok=True)
    futures = [executor.submit(stitch_batch, batch, stitched_folder, max_megapixels) for batch in batches]
    outcomes: dict[str, Stitched] = {}
    for future in futures:
        done = future.result()
        outcomes |= {outcome.page_id: outcome for outcome in done}
        for name in (f"{outcome.page_id}.png" for outcome in done if not outcome.reason):
            link(stitched_folder / name, folder / name)
        progress.advance(len(done))
    return outcomes


def _require_mostly_good(
    quarantine: pd.DataFrame, num_pages: int, validation: ValidationConfig, workspace: Path
) -> None:
    quarantined = quarantine[quarantine["state"] == "quarantined"]
    num_present = num_pages - (len(quarantine) - len(quarantined))
    if len(quarantined) > validation.max_quarantine_rate * num_present:
        write_table("quarantine", quarantine, workspace)
        reasons = ", ".join(f"{reason} {count}" for reason, count in quarantined["reason"].value_counts().items())
        raise ValueError(
            f"{len(quarantined)} of {num_present} pages are quarantined, more than "
            f"data.validation.max_quarantine_rate={validation.max_quarantine_rate:g} allows ({reasons}); "
            f"see {workspace / 'quarantine.parquet'}, mend the source or raise the rate"
        )


def _judge_contents(
    pages: pd.DataFrame, annotated: Mapping[int, PageAnnotation], validation: ValidationConfig, ledger: _Ledger
) -> dict[str, pd.DataFrame]:
    """Accepted ``panels``, ``characters`` and ``dialogs`` of the accepted ``pages``, boxes clamped to their page."""
    flat = flatten((row.page_id, row.entry, annotated[row.entry]) for row in pages.itertuples())
    tables = {
        name: measure_boxes(table, pages, tolerance_px=validation.box_tolerance_px) for name, table in flat.items()
    }
    panels = _with_panel_measures(tables["panels"], tables["dialogs"])
    panels = ledger.judge("panels", "panel", panels, panel_checks(validation), panels["panel_id"].tolist())
    accepted = {"panels": panels}
    for name, letter, checks in (
        ("characters", "c", character_checks(validation)),
        ("dialogs", "d", dialog_checks(validation)),
    ):
        boxes = tables[name][tables[name]["panel_id"].isin(panels["panel_id"])].reset_index(drop=True)
        boxes["share_inside"] = share_inside_panel(boxes, panels)
        boxes["num_panels"], boxes["num_boxes"] = 0, 0
        if name == "characters":
            boxes["num_references"] = _num_references(boxes)
        ids = [f"{panel}-{letter}{place}" for panel, place in zip(boxes["panel_id"], boxes["box_index"], strict=True)]
        accepted[name] = ledger.judge(name, name.removesuffix("s"), boxes, checks, ids)
    return accepted


def _with_panel_measures(panels: pd.DataFrame, dialogs: pd.DataFrame) -> pd.DataFrame:
    panels["stripped_caption"] = panels["caption"].str.strip()
    panels["caption_words"] = panels["caption"].str.split().str.len()
    uses = panels.groupby("caption")["caption"].transform("size")
    panels["caption_share"] = np.where(uses > MIN_COMMON_CAPTION, uses / max(len(panels), 1), 0.0)
    size = area(boxes_of(panels))
    covered = share_inside_panel(dialogs, panels) * area(boxes_of(dialogs))
    covered = pd.Series(covered).groupby(dialogs["panel_id"]).sum().reindex(panels["panel_id"]).fillna(0.0).to_numpy()
    panels["dialog_share"] = np.divide(covered, size, out=np.full(len(panels), np.nan), where=size > 0)
    panels["num_panels"] = 0
    panels["num_boxes"] = panels["num_characters"] + panels["num_dialogs"]
    return panels


def _num_references(characters: pd.DataFrame) -> pd.Series:
    """For each character, the other clean boxes (type 0) of its id on its page."""
    clean = (characters["type"] == 0).astype(int)
    return clean.groupby([characters["page_id"], characters["character_id"]]).transform("sum") - clean


def _summary(result: CheckResult, table: str, ids: Sequence[str]) -> dict[str, Any]:
    check = result.check
    return {
        "id": check.id,
        "reason": check.reason,
        "title": check.title,
        "severity": check.severity,
        "table": table,
        "evaluated": result.evaluated,
        "unexpected": len(result.failed),
        "success": not result.failed,
        "examples": [ids[position] for position in result.failed[:NUM_EXAMPLES]],
    }
