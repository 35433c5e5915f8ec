"""Orderings are found, left open or denied by figures and intervals made by hand."""

import pytest

from diffsensei.evaluation.results import MethodInfo, MetricResult, Summary
from reports.orderings import find_orderings

SEES = {"a": (), "b": ("character_boxes",), "c": ("character_boxes", "dialog_boxes")}


def summary(figures: dict[str, tuple[float, float, float] | None]) -> Summary:
    """A run whose dialog F1 is ``figures``: value, low and high by method."""
    results = [
        MetricResult(
            method=name,
            metric="dialog_f1",
            value=figure and figure[0],
            low=figure and figure[1],
            high=figure and figure[2],
            n_used=1,
            n_total=1,
            skipped={},
            state="computed",
            definition="",
            unit="",
            higher_is_better=True,
            interval="",
            by_seed={},
        )
        for name, figure in figures.items()
    ]
    methods = [
        MethodInfo(name=name, label=name.upper(), role="method", description="", consumes=SEES[name])
        for name in figures
    ]
    return Summary(
        metrics=(), methods=tuple(methods), results=tuple(results), comparisons=(), num_series=1, num_pages=1,
        num_panels=1, num_characters=1, num_dialogs=1, seeds=(0,), confidence=0.95, resamples=1, judges={},
    )  # fmt: skip


@pytest.mark.parametrize(
    ("lone", "verdict"),
    [((0.9, 0.8, 1.0), "appears"), ((0.5, 0.3, 0.7), "undecided"), ((0.2, 0.1, 0.3), "does not appear")],
)
def test_what_intervals_decide(lone: tuple[float, float, float], verdict: str) -> None:
    (found,) = find_orderings(summary({"a": (0.1, 0.0, 0.2), "b": (0.3, 0.2, 0.4), "c": lone}))
    assert found.verdict == verdict
    assert found.evidence == f"lowest of those with: C, {lone[0]:.3f}; highest of those without: B, 0.300"


def test_nothing_is_said_of_one_side_alone() -> None:
    assert find_orderings(summary({"a": (0.1, 0.0, 0.2), "b": (0.3, 0.2, 0.4)})) == []
    assert find_orderings(summary({"b": (0.3, 0.2, 0.4), "c": None})) == []
