"""From page images to accepted pages: stitch, check, set aside with reasons, count (paper sec. 3.2).

Checks run top down: panels are judged on accepted pages, characters and dialogs in accepted panels.
"""

import json
from collections.abc import Mapping, Sequence
from concurrent.futures import Executor
from pathlib import Path
from typing import Any

import pandas as pd

from diffsensei.config.schema import BucketConfig, DownloadConfig, ValidationConfig
from diffsensei.data.annotation_file import iterate_annotations
from diffsensei.data.halves import read_halves
from diffsensei.data.objects import Objects
from diffsensei.data.tables import write_table
from diffsensei.data.tombstones import read_tombstones
from diffsensei.data.validation.caption_tokens import caption_token_counter
from diffsensei.data.validation.checks import page_checks
from diffsensei.data.validation.contents import judge_contents
from diffsensei.data.validation.coverage_by_series import series_counts
from diffsensei.data.validation.ledger import Ledger
from diffsensei.data.validation.page_facts import page_facts, stitch_tasks, with_images
from diffsensei.data.validation.quarantine import conservation
from diffsensei.data.validation.statistics import compute_statistics, drift_against
from diffsensei.data.validation.stitch import Stitched, StitchTask, stitch_batch
from diffsensei.data.validation.waivers import read_waivers
from diffsensei.durable import link
from diffsensei.progress import Progress

PAGES_PER_TASK = 16


def validate_pages(
    *,
    validation: ValidationConfig,
    download: DownloadConfig,
    annotations: Path,
    download_dir: Path,
    workspace: Path,
    output: Path,
    executor: Executor,
    buckets: BucketConfig | None = None,
    text_encoder: str = "",
    tombstones: Path | None = None,
    compare_with: str = "",
) -> None:
    """Stage: accept or set aside every page, panel, character and dialog of the annotations.

    Writes ``pages/<page_id>.png``, tables ``pages``, ``panels``, ``characters``, ``dialogs`` (accepted rows) and
    ``quarantine`` as parquet, ``validation.json``, ``statistics.json`` and ``counts.json``. Without ``buckets`` no
    panel's enlargement is judged, without ``text_encoder`` (whose tokenizer counts) no caption's length. Pages in the
    folder ``tombstones`` (`Tombstone`) count as removed. ``compare_with`` is the ``statistics.json`` of another
    version, from which the data must not drift.

    Raises ValueError when more pages are quarantined than ``max_quarantine_rate`` allows (missing and removed pages
    are no fault of the data and do not count), and when the data drifted beyond ``drift_stop``; ``quarantine.parquet``
    or ``drift.json`` in the workspace has the particulars.
    """
    waivers = read_waivers(validation.waivers)
    annotated = page_facts(
        iterate_annotations(annotations / "annotations.json"),
        read_halves(download_dir / "halves.parquet"),
        read_tombstones(tombstones),
    )
    (output / "pages").mkdir()
    tasks = stitch_tasks(annotated, Objects(download_dir / "objects"))
    stitched = _stitch_all(tasks, output / "pages", download.max_megapixels, executor, workspace)
    facts = with_images(annotated.facts, stitched)

    ledger = Ledger(waivers)
    given = given_counts(facts)
    pages = ledger.judge("pages", "page", facts, page_checks(), facts["id"].tolist())
    _require_mostly_good(ledger.quarantine(), len(facts), validation, workspace)
    for page_id in set(stitched) - set(pages["page_id"]):
        (output / "pages" / f"{page_id}.png").unlink(missing_ok=True)
    tables = judge_contents(
        pages,
        annotated.tables,
        validation,
        ledger,
        buckets=buckets,
        count_tokens=caption_token_counter(text_encoder) if text_encoder else None,
    )
    tables["panels"]["dhash"] = _panel_hashes(tables["panels"], stitched)
    quarantine = ledger.quarantine()
    counts = conservation(given, accepted_counts(pages, tables), quarantine)
    statistics = compute_statistics(pages, tables["panels"])
    report = {
        "checks": ledger.checks,
        "suites": ledger.suites,
        "reasons": ledger.reasons(),
        "unknown_keys": annotated.unknown_keys,
        "waivers": waivers.outcome(),
        "series": series_counts(facts, pages, tables["panels"], quarantine),
        "drift": drift_against(compare_with, statistics, validation, workspace / "drift.json"),
    }
    for name, table in {"pages": pages, **tables, "quarantine": quarantine}.items():
        write_table(name, table, output)
    for name, document in (("validation", report), ("statistics", statistics), ("counts", counts)):
        (output / f"{name}.json").write_text(json.dumps(document, indent=1))


def given_counts(facts: pd.DataFrame) -> dict[str, int]:
    """Pages, panels and boxes that the annotation file has."""
    return {"page": len(facts), "panel": int(facts["num_panels"].sum()), "box": int(facts["num_boxes"].sum())}


def accepted_counts(pages: pd.DataFrame, tables: Mapping[str, pd.DataFrame]) -> dict[str, int]:
    """Pages, panels and boxes that were accepted."""
    boxes = len(tables["characters"]) + len(tables["dialogs"])
    return {"page": len(pages), "panel": len(tables["panels"]), "box": boxes}


def _panel_hashes(panels: pd.DataFrame, stitched: Mapping[str, Stitched]) -> list[str]:
    places: zip[Any] = zip(panels["page_id"], panels["panel_index"], strict=True)
    return [stitched[page_id].panel_dhashes[index] for page_id, index in places]


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
