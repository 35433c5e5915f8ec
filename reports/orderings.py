"""Orderings that the paper's Table 2 shows, looked for in this run: found, found without certainty, or not found."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from diffsensei.evaluation.results import MetricResult, Summary
from reports.results_table import figure_text

Verdict = Literal["appears", "undecided", "does not appear"]


@dataclass(frozen=True)
class Ordering:
    """Every method that sees ``condition`` stands above every one that does not, in ``metric``."""

    metric: str
    condition: str
    """Of `MethodInfo.consumes`."""
    sentence: str


ORDERINGS = (
    Ordering("dialog_f1", "dialog_boxes", "Methods that are given dialog boxes have the highest dialog F1."),
    Ordering("dino_c", "character_boxes", "Methods without character boxes have the lowest DINO-C."),
)


@dataclass(frozen=True)
class Finding:
    """``verdict`` and the two methods that it hangs on: the lowest of those above, the highest of those below."""

    sentence: str
    verdict: Verdict
    evidence: str


def find_orderings(summary: Summary) -> list[Finding]:
    """One finding per ordering of which this run has methods on both sides.

    An ordering appears where the lowest interval of the upper side lies above all of the lower side, is undecided where
    only the figures themselves stand in that order, and else does not appear.
    """
    found = []
    for ordering in ORDERINGS:
        sees = {info.name: ordering.condition in info.consumes for info in summary.methods if info.role == "method"}
        rows = [row for row in summary.results if row.metric == ordering.metric and row.method in sees]
        rows = [row for row in rows if row.value is not None]
        above, below = ([row for row in rows if sees[row.method] is side] for side in (True, False))
        if above and below:
            found.append(_finding(ordering, above, below, {info.name: info.label for info in summary.methods}))
    return found


def _finding(
    ordering: Ordering, above: Sequence[MetricResult], below: Sequence[MetricResult], labels: dict[str, str]
) -> Finding:
    lowest, highest = min(above, key=_value), max(below, key=_value)
    verdict: Verdict = "does not appear"
    if _value(lowest) > _value(highest):
        floor = min(_value(row) if row.low is None else row.low for row in above)
        ceiling = max(_value(row) if row.high is None else row.high for row in below)
        verdict = "appears" if floor > ceiling else "undecided"
    evidence = (
        f"lowest of those with: {labels[lowest.method]}, {figure_text(_value(lowest))}; "
        f"highest of those without: {labels[highest.method]}, {figure_text(_value(highest))}"
    )
    return Finding(ordering.sentence, verdict, evidence)


def _value(row: MetricResult) -> float:
    assert row.value is not None
    return row.value
