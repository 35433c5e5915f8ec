"""The law of conservation, and which check an item is set aside by."""

import pandas as pd
import pytest

from diffsensei.data.validation.checks import Check, CheckResult, Expectation
from diffsensei.data.validation.quarantine import conservation, quarantine_table, set_aside
from diffsensei.data.validation.waivers import Waivers

NOTHING = Expectation("ExpectColumnValuesToBeNull")


def result(severity: str, reason: str, column: str, failed: list[int], **options: object) -> CheckResult:
    return CheckResult(Check(severity, "D0", reason, reason, column, NOTHING, **options), 3, failed)


TABLE = pd.DataFrame(
    {
        "page_id": ["a", "b", "c"],
        "entry": [0, 1, 2],
        "fault": ["dead: url1 HTTP 404", None, None],
        "side": [1.0, 2.5, 3.0],
        "num_panels": [4, 5, 6],
        "num_boxes": [40, 50, 60],
    }
)


def test_first_failing_check_counts() -> None:
    results = [
        result("missing", "missing", "fault", [0], is_message=True, names_reason=True),
        result("quarantine", "small", "side", [0, 1]),
        result("warning", "odd", "side", [2]),
    ]
    accepted, rows = set_aside(TABLE, results, level="page", ids=["a", "b", "c"], waivers=Waivers())
    assert accepted["page_id"].tolist() == ["c"]
    assert [(row["state"], row["reason"], row["evidence"]) for row in rows] == [
        ("missing", "dead", "url1 HTTP 404"),
        ("quarantined", "small", "side=2.5"),
    ]
    counts = conservation(
        {"page": 3, "panel": 15, "box": 150}, {"page": 1, "panel": 6, "box": 60}, quarantine_table(rows)
    )
    assert counts["panel"] == {"input": 15, "ok": 6, "quarantined": 5, "missing": 4, "removed": 0}
    assert counts["box"] == {"input": 150, "ok": 60, "quarantined": 50, "missing": 40, "removed": 0}


def test_a_lost_row_stops_the_run() -> None:
    _, rows = set_aside(
        TABLE, [result("quarantine", "small", "side", [0])], level="page", ids=["a", "b", "c"], waivers=Waivers()
    )
    with pytest.raises(ValueError, match="box counts do not add up"):
        conservation({"page": 3, "panel": 15, "box": 150}, {"page": 2, "panel": 11, "box": 109}, quarantine_table(rows))


def test_nothing_set_aside() -> None:
    accepted, rows = set_aside(TABLE, [], level="page", ids=["a", "b", "c"], waivers=Waivers())
    assert len(accepted) == 3
    assert quarantine_table(rows).empty
