"""Each check fails exactly the rows it is about, with the ids that quarantine needs."""

import re

import pandas as pd
import pytest

from diffsensei.config.presets import tiny
from diffsensei.data.validation.checks import (
    HTML,
    REFUSAL_TEXT,
    character_checks,
    dialog_checks,
    page_checks,
    panel_checks,
    run_checks,
)

VALIDATION = tiny().data.validation.replaced(min_panel_side=32, box_tolerance_px=2)
GOOD_PANEL = {
    "finite": True,
    "shorter_side": 100.0,
    "overshoot_px": 0.0,
    "caption_letters": 6,
    "num_control_characters": 0,
    "caption": "a girl",
    "caption_share": 0.0,
    "caption_characters": 6,
    "is_refusal": False,
    "has_markup": False,
    "truncated_tokens": 0,
    "upscale": 1.0,
    "aspect": 1.0,
    "num_repeated_ids": 0,
    "num_characters": 1,
    "num_dialogs": 1,
    "dialog_share": 0.1,
}
FAULTS = {
    "panel_not_finite": {"finite": False, "shorter_side": None, "overshoot_px": None, "aspect": None},
    "panel_outside_page": {"overshoot_px": 2.5},
    "panel_clamped": {"overshoot_px": 1.5},
    "panel_too_small": {"shorter_side": 31.0},
    "empty_caption": {"caption_letters": 0},
    "control_characters": {"num_control_characters": 1},
    "refusal_caption": {"is_refusal": True},
    "html_caption": {"has_markup": True},
    "common_caption": {"caption_share": 0.02},
    "long_caption": {"truncated_tokens": 1},
    "endless_caption": {"caption_characters": 10_001},
    "upscaled_panel": {"upscale": 2.1},
    "extreme_aspect": {"aspect": 5.0},
    "duplicate_character_id": {"num_repeated_ids": 1},
    "many_characters": {"num_characters": 5},
    "many_dialogs": {"num_dialogs": 9},
    "dialogs_cover_panel": {"dialog_share": 0.9},
}


def test_panel_checks_fail_their_own_rows() -> None:
    rows = [GOOD_PANEL, *({**GOOD_PANEL, **fault} for fault in FAULTS.values())]
    checks = panel_checks(VALIDATION)
    results, statistics = run_checks(pd.DataFrame(rows), checks, "panels")
    failed = {result.check.reason: set(result.failed) for result in results}
    position = {name: number for number, name in enumerate(FAULTS, start=1)}
    expected = {name: {place} for name, place in position.items()}
    expected["panel_inverted"] = set()
    expected["panel_clamped"] |= {position["panel_outside_page"]}
    assert failed == expected
    by_reason = {result.check.reason: result for result in results}
    assert by_reason["panel_not_finite"].evaluated == len(rows)
    assert by_reason["panel_too_small"].evaluated == len(rows) - 1
    assert statistics["statistics"]["evaluated_expectations"] == len(checks)
    assert not statistics["success"]


def test_an_area_of_zero_is_inverted_not_only_small() -> None:
    results, _ = run_checks(pd.DataFrame([GOOD_PANEL | {"shorter_side": 0.0}]), panel_checks(VALIDATION), "panels")
    first = next(result.check.reason for result in results if result.failed)
    assert first == "panel_inverted"


@pytest.mark.parametrize("checks", [page_checks(), character_checks(VALIDATION), dialog_checks(VALIDATION)])
def test_empty_tables_pass(checks: list) -> None:
    table = pd.DataFrame({check.column: pd.Series(dtype=object) for check in checks})
    results, statistics = run_checks(table, checks, "empty")
    assert statistics["success"]
    assert [result.evaluated for result in results] == [0] * len(checks)


@pytest.mark.parametrize(
    ("pattern", "text", "matches"),
    [
        (REFUSAL_TEXT, "As an AI language model, I", True),
        (REFUSAL_TEXT, "  I\u2019m sorry, but", True),
        (REFUSAL_TEXT, "I can't help with that", True),
        (REFUSAL_TEXT, "Sorry, the image", True),
        (REFUSAL_TEXT, "A man says he is sorry, as an aide", False),
        (REFUSAL_TEXT, "A sorry-looking cat", False),
        (HTML, "a <br/> b", True),
        (HTML, "3 < 4 > 2", False),
    ],
)
def test_patterns(pattern: re.Pattern[str], text: str, matches: bool) -> None:
    assert (pattern.search(text) is not None) is matches
