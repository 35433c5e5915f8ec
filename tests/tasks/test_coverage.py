"""What falls short, in words; and tables that names from outside cannot break."""

import pytest

from diffsensei.data.coverage import COUNTS, Coverage
from tasks.coverage import print_coverage, shortfalls

FOUND = Coverage(
    rows=[
        {"series": "[red]x", "state": "ok", "reason": "", "split": "train"} | dict.fromkeys(COUNTS, 1),
        {"series": "y", "state": "missing", "reason": "dead_url_404", "split": ""} | dict.fromkeys(COUNTS, 3),
    ],
    totals={
        "all": {"pages": 4, "panels": 8, "characters": 2, "dialogs": 0},
        "ok": {"pages": 1, "panels": 4, "characters": 2, "dialogs": 0},
    },
    held_out={"wanted": 4, "chosen": 1, "lost": 3, "lost_by_series": {"y": 2, "[red]x": 1}},
)


def test_only_what_is_below_its_minimum_is_told() -> None:
    assert shortfalls(FOUND, {"pages": 0.25, "panels": 0.5, "dialogs": 1.0, "held_out": 0.25}) == []
    assert shortfalls(FOUND, {"pages": 0.3, "held_out": 0.5}) == [
        "25.0% of the pages are there, expected at least 30.0%",
        "25.0% of the held-out pages are there, expected at least 50.0%",
    ]


def test_the_tables_show_names_as_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    print_coverage(FOUND)
    shown = capsys.readouterr().out
    assert "[red]x" in shown
    assert "dead_url_404" in shown
    assert "held out: 1 of 4 pages, 3 lost (y 2, [red]x 1)" in shown
