"""What was set aside and why, and the law that nothing vanishes: input = ok + quarantined +
missing + removed.

A page, panel or box that is not accepted gets one row with its first failing check and the value that failed it;
what it contains goes with it and is counted there.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from diffsensei.data.tables import printable
from diffsensei.data.validation.checks import CheckResult
from diffsensei.data.validation.waivers import Waivers

STATES = ("quarantined", "missing", "removed")
LEVELS = ("page", "panel", "box")
MAX_EVIDENCE = 300


def set_aside(
    table: pd.DataFrame, results: Sequence[CheckResult], *, level: str, ids: Sequence[str], waivers: Waivers
) -> tuple[pd.DataFrame, list[dict[str, Any]]]:
    """The accepted rows of ``table`` (in order), and one quarantine row for each other.

    ``results`` are in order of precedence: an item is set aside by the first check that it fails. ``table`` has
    ``num_panels`` and ``num_boxes``, the contents that go with it. ``waivers`` keep what a person accepted.
    """
    verdicts: dict[int, CheckResult] = {}
    for result in results:
        if result.check.severity != "warning":
            for position in result.failed:
                if waivers.accept(ids[position], result.check):
                    continue
                verdicts.setdefault(position, result)
    rows = []
    for position in sorted(verdicts):
        check = verdicts[position].check
        row = table.iloc[position]
        columns = check.evidence or (check.column,)
        reason, evidence = check.reason, ", ".join(f"{name}={_shown(row[name])}" for name in columns)
        if check.is_message:
            evidence = str(row[check.column])
        if check.names_reason:
            reason, _, evidence = evidence.partition(": ")
        rows.append(
            {
                "state": check.severity if check.severity in STATES else "quarantined",
                "level": level,
                "id": ids[position],
                "page_id": row["page_id"],
                "entry": int(row["entry"]),
                "panel_index": row.get("panel_index"),
                "box_index": row.get("box_index"),
                "check": check.id,
                "reason": reason,
                "evidence": printable(evidence)[:MAX_EVIDENCE],
                "num_panels": int(row["num_panels"]),
                "num_boxes": int(row["num_boxes"]),
            }
        )
    accepted = table.drop(index=table.index[sorted(verdicts)]).reset_index(drop=True) if verdicts else table
    return accepted, rows


def _shown(value: Any) -> str:
    return f"{value:.6g}" if isinstance(value, float) else repr(value) if isinstance(value, str) else str(value)


def quarantine_table(rows: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """All quarantine rows as one table, ordered by place in the annotation file."""
    columns = [
        *("state", "level", "id", "page_id", "entry", "panel_index", "box_index"),
        *("check", "reason", "evidence", "num_panels", "num_boxes"),
    ]
    table = pd.DataFrame(list(rows), columns=columns).astype({"panel_index": "Int32", "box_index": "Int32"})
    return table.sort_values(["entry", "panel_index", "level", "box_index"], kind="stable", na_position="first")


def conservation(
    given: Mapping[str, int], accepted: Mapping[str, int], quarantine: pd.DataFrame
) -> dict[str, dict[str, int]]:
    """Per level ``{input, ok, quarantined, missing, removed}``; ``given`` was counted in the raw annotations.

    Raises ValueError unless they add up at every level: then rows were lost or invented on the way.
    """
    counts = {}
    level = quarantine["level"].where(quarantine["level"].isin(["page", "panel"]), "box")
    for name in LEVELS:
        column = {"panel": "num_panels", "box": "num_boxes"}.get(name)
        entry = {"input": int(given[name]), "ok": int(accepted[name])}
        for state in STATES:
            of_state = quarantine["state"] == state
            contained = 0 if column is None else int(quarantine.loc[of_state & (level != name), column].sum())
            entry[state] = int((of_state & (level == name)).sum()) + contained
        if entry["input"] != entry["ok"] + sum(entry[state] for state in STATES):
            raise ValueError(
                f"the {name} counts do not add up: {entry}; expected input = ok + {' + '.join(STATES)}. "
                "This is a fault of the validation itself: please report it with the annotation file"
            )
        counts[name] = entry
    return counts
