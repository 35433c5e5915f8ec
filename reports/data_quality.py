"""What the data checks accepted, set aside and warned about."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from pydantic import BaseModel

MAX_EXAMPLES = 20
"""Quarantine rows shown; the rest stay in the table of the validate stage."""


class Counts(BaseModel):
    """Conservation at one level: input = ok + quarantined + missing."""

    input: int
    ok: int
    quarantined: int
    missing: int

    @property
    def share_ok(self) -> float:
        return self.ok / self.input if self.input else 0.0


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

    @property
    def num_failed(self) -> int:
        """Checks that at least one row failed."""
        return sum(not check.success for check in self.checks)


def read_data_quality(validate: Path) -> DataQuality:
    """What the validate stage wrote. Raises ValueError where a file is missing."""
    files = [validate / name for name in ("counts.json", "validation.json", "quarantine.parquet")]
    absent = [path.name for path in files if not path.is_file()]
    if absent:
        raise ValueError(f"{validate} holds no validation result: {', '.join(absent)} missing; run the validate stage")
    counts, validation, quarantine = files
    report = json.loads(validation.read_text())
    table = pd.read_parquet(quarantine)
    reasons = table.groupby(["level", "reason"]).size().sort_values(ascending=False, kind="stable")
    return DataQuality(
        counts={level: Counts.model_validate(entry) for level, entry in json.loads(counts.read_text()).items()},
        checks=tuple(CheckLine.model_validate(check) for check in report["checks"]),
        reasons=tuple((str(level), str(reason), int(count)) for (level, reason), count in reasons.items()),
        examples=tuple(
            {name: str(row[name]) for name in ("level", "id", "check", "reason", "evidence")}
            for row in table.head(MAX_EXAMPLES).to_dict("records")
        ),
        num_quarantined=len(table),
    )
