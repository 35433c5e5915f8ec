"""What the data checks accepted, set aside and warned about."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from markupsafe import Markup
from pydantic import BaseModel

from reports.charts import histogram

EXAMPLES_PER_REASON = 3
"""Quarantine rows shown of each reason; the rest stay in the table of the validate stage."""
DISTRIBUTIONS = {
    "panels_per_page": "panels on a page",
    "panel_side_px": "panel size (root of its area), px",
    "caption_tokens": "caption, CLIP tokens",
    "characters_per_panel": "characters in a panel",
    "dialogs_per_panel": "dialogs in a panel",
    "page_width_px": "page width, px",
}


class Counts(BaseModel):
    """Conservation at one level: input = ok + quarantined + missing + removed."""

    input: int
    ok: int
    quarantined: int
    missing: int
    removed: int

    @property
    def share_ok(self) -> float:
        return self.ok / self.input if self.input else 0.0


class SeriesLine(BaseModel):
    """Pages of one series by state, its accepted panels, and pages with a peculiarity (None: not looked for)."""

    series: str
    input: int
    ok: int
    quarantined: int
    missing: int
    removed: int
    panels: int
    misordered: int
    colour: int | None


class DriftLine(BaseModel):
    """How far a distribution is from that of the version compared with (PSI)."""

    name: str
    distance: float
    mean: float | None
    mean_before: float | None
    severity: str


class Leakage(BaseModel):
    """Held-out pages and what of them is seen in training."""

    eval_pages: int
    next_to_a_training_page: int
    panels_compared: int
    panels_repeated: int
    examples: tuple[tuple[str, str], ...]
    """(held-out panel, the panel to train on that looks the same)."""


class CheckLine(BaseModel):
    id: str
    reason: str
    title: str
    severity: str
    table: str
    evaluated: int
    unexpected: int
    success: bool


@dataclass(frozen=True)
class DataQuality:
    counts: Mapping[str, Counts]
    checks: tuple[CheckLine, ...]
    reasons: tuple[tuple[str, str, int], ...]
    """(level, reason, count), most frequent first."""
    examples: tuple[Mapping[str, Any], ...]
    num_quarantined: int
    series: tuple[SeriesLine, ...]
    drift: tuple[DriftLine, ...]
    unknown_keys: Mapping[str, int]
    waivers: Mapping[str, int]
    """applied, refused and unused waivers: how many."""
    charts: tuple[Markup, ...]
    share_of_captions_truncated: float | None
    leakage: Leakage | None

    @property
    def num_failed(self) -> int:
        """Checks that at least one row failed."""
        return sum(not check.success for check in self.checks)


def read_data_quality(validate: Path, panels: Path | None = None) -> DataQuality:
    """What the validate stage wrote, and of the ``panels`` stage its split.

    Raises ValueError where a file is missing.
    """
    files = [validate / name for name in ("counts.json", "validation.json", "statistics.json", "quarantine.parquet")]
    absent = [path.name for path in files if not path.is_file()]
    if absent:
        raise ValueError(f"{validate} holds no validation result: {', '.join(absent)} missing; run the validate stage")
    counts, report, statistics = (json.loads(path.read_text()) for path in files[:3])
    table = pd.read_parquet(files[3])
    reasons = table.groupby(["level", "reason"]).size().sort_values(ascending=False, kind="stable")
    examples = table.groupby(["level", "reason"], sort=False).head(EXAMPLES_PER_REASON)
    return DataQuality(
        counts={level: Counts.model_validate(entry) for level, entry in counts.items()},
        checks=tuple(CheckLine.model_validate(check) for check in report["checks"]),
        reasons=tuple((str(level), str(reason), int(count)) for (level, reason), count in reasons.items()),
        examples=tuple(
            {name: str(row[name]) for name in ("state", "level", "id", "check", "reason", "evidence")}
            for row in examples.to_dict("records")
        ),
        num_quarantined=len(table),
        series=tuple(SeriesLine.model_validate(line) for line in report["series"]),
        drift=tuple(DriftLine.model_validate(line) for line in report["drift"]),
        unknown_keys=report["unknown_keys"],
        waivers={name: len(waivers) for name, waivers in report["waivers"].items()},
        charts=tuple(_charts(statistics["distributions"])),
        share_of_captions_truncated=statistics["share_of_captions_truncated"],
        leakage=None if panels is None else _leakage(json.loads((panels / "split.json").read_text())),
    )


def _charts(distributions: Mapping[str, Any]) -> Iterator[Markup]:
    for name, title in DISTRIBUTIONS.items():
        distribution = distributions[name]
        if distribution["count"]:
            yield histogram(
                distribution["histogram"],
                distribution["edges"],
                name=f"distribution-{name}",
                label=title,
                title=f"{title}: median {distribution['quantiles'][3]:g} of {distribution['count']:,}",
            )


def _leakage(split: Mapping[str, Any]) -> Leakage:
    repeated = split["panels_drawn_again_in_training"]
    return Leakage(
        eval_pages=len(split["eval"]),
        next_to_a_training_page=split["next_to_a_training_page"],
        panels_compared=repeated["compared"],
        panels_repeated=repeated["repeated"],
        examples=tuple((pair["eval"], pair["train"]) for pair in repeated["examples"]),
    )
