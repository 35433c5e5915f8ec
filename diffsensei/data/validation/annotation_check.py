"""Every check that an annotation file can fail by itself: what its owner wants to know before a page is fetched."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from diffsensei.config.schema import BucketConfig, ValidationConfig
from diffsensei.data.annotation_file import iterate_annotations
from diffsensei.data.validation.caption_tokens import caption_token_counter
from diffsensei.data.validation.checks import page_checks
from diffsensei.data.validation.contents import judge_contents
from diffsensei.data.validation.coverage_by_series import series_counts
from diffsensei.data.validation.ledger import Ledger
from diffsensei.data.validation.page_facts import page_facts, with_annotated_sizes
from diffsensei.data.validation.pages import accepted_counts, given_counts
from diffsensei.data.validation.quarantine import conservation
from diffsensei.data.validation.statistics import compute_statistics, drift_against
from diffsensei.data.validation.waivers import read_waivers


@dataclass(frozen=True)
class AnnotationCheck:
    """What the checks found: as `validate_pages` writes it, but for what images would show."""

    counts: dict[str, dict[str, int]]
    report: dict[str, Any]
    statistics: dict[str, Any]
    quarantine: pd.DataFrame

    @property
    def quarantined_pages(self) -> float:
        """Share of the pages that are set aside, in [0, 1]."""
        pages = self.counts["page"]
        return pages["quarantined"] / max(pages["input"], 1)


def check_annotations(
    path: Path, validation: ValidationConfig, buckets: BucketConfig, text_encoder: str = ""
) -> AnnotationCheck:
    """Judge schema, paths, boxes, captions and counts of the annotation file ``path``, one page in memory at a time.

    Halves have no height in the format, so boxes are held against the page's width alone. Without ``text_encoder``
    captions' tokens are not counted. Raises ValueError (one line) if the file cannot be read at all, or drifted.
    """
    waivers = read_waivers(validation.waivers)
    annotated = page_facts(iterate_annotations(path), None)
    if annotated.facts.empty:
        raise ValueError(f"annotation file {path} is an empty list; expected at least one page")
    facts = with_annotated_sizes(annotated.facts)
    ledger = Ledger(waivers)
    pages = ledger.judge("pages", "page", facts, page_checks(with_images=False), facts["id"].tolist())
    tables = judge_contents(
        pages,
        annotated.tables,
        validation,
        ledger,
        buckets=buckets,
        count_tokens=caption_token_counter(text_encoder) if text_encoder else None,
    )
    quarantine = ledger.quarantine()
    statistics = compute_statistics(pages, tables["panels"])
    report = {
        "checks": ledger.checks,
        "suites": ledger.suites,
        "reasons": ledger.reasons(),
        "unknown_keys": annotated.unknown_keys,
        "waivers": waivers.outcome(),
        "series": series_counts(facts, pages, tables["panels"], quarantine),
        "drift": drift_against(validation.compare_with, statistics, validation),
    }
    counts = conservation(given_counts(facts), accepted_counts(pages, tables), quarantine)
    return AnnotationCheck(counts, report, statistics, quarantine)
