"""What each suite of checks said, and which rows were set aside: the record that a validation leaves."""

from collections.abc import Sequence
from typing import Any

import pandas as pd

from diffsensei.data.validation.checks import NUM_EXAMPLES, Check, CheckResult, run_checks
from diffsensei.data.validation.quarantine import quarantine_table, set_aside
from diffsensei.data.validation.waivers import Waivers


class Ledger:
    """Collects results and quarantine rows, table by table."""

    def __init__(self, waivers: Waivers) -> None:
        self.waivers = waivers
        self.checks: list[dict[str, Any]] = []
        self.suites: dict[str, Any] = {}
        self._rows: list[dict[str, Any]] = []

    def judge(
        self, name: str, level: str, table: pd.DataFrame, checks: list[Check], ids: Sequence[str]
    ) -> pd.DataFrame:
        """Run ``checks`` on ``table`` and return its accepted rows."""
        results, self.suites[name] = run_checks(table, checks, name)
        self.checks += [_summary(result, name, ids) for result in results]
        accepted, rows = set_aside(table, results, level=level, ids=ids, waivers=self.waivers)
        self._rows += rows
        return accepted

    def quarantine(self) -> pd.DataFrame:
        """Everything that was set aside so far."""
        return quarantine_table(self._rows)

    def reasons(self) -> dict[str, dict[str, int]]:
        """Level -> reason -> rows set aside."""
        counts: dict[str, dict[str, int]] = {}
        for (level, reason), count in self.quarantine().groupby(["level", "reason"]).size().items():
            counts.setdefault(level, {})[reason] = int(count)
        return counts


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
