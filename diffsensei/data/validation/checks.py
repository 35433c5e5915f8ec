"""The data checks: each one expectation on one column of one table, run with great_expectations.

A check that fails quarantines its rows or warns about them; nothing is ever deleted. Numbers D1-D20 name the families
of faults that manga annotations were seen to have.
"""

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal

import pandas as pd

from diffsensei.config.schema import ValidationConfig

Severity = Literal["quarantine", "missing", "removed", "warning"]

MAX_CHARACTERS = 4
"""Characters a panel can condition on (reference code); more are counted, as training drops the rest."""
MAX_DIALOGS = 8
ASPECT_RANGE = (0.25, 4.0)
"""Height over width that the training buckets cover (reference code)."""
MAX_CAPTION_CHARACTERS = 10_000
"""Ten times the longest that a captioner of images writes; more is not a caption."""
MAX_PANELS = 200
"""Panels of a double page: the paper's mean is ten."""
MAX_UPSCALE = 2.0
"""Enlargement beyond which a panel has little of the detail that its training size has room for."""
MAX_MISORDERED = 0.25
"""Pairs of panels that may be listed against the reading order: free layouts have no single one."""
MAX_CHROMA = 12.0
"""Mean channel distance above which a page counts as coloured; JPEG noise of a grey scan stays below 3."""
MAX_CAPTION_SHARE = 0.01
MAX_DIALOG_SHARE = 0.8
NUM_EXAMPLES = 10
REFUSAL_TEXT = re.compile(
    r"^\s*(?:i.?m sorry|i am sorry|i apologi[sz]e|sorry, |as an ai\b|i can(?:not|.?t) |i.?m unable|i am unable)", re.I
)
"""How the caption of a captioner that would not answer begins."""
HTML = re.compile(r"<[A-Za-z/!][^>]*>")


@dataclass(frozen=True)
class Expectation:
    """A class of great_expectations by name, and its arguments beside the column."""

    name: str
    arguments: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Check:
    """``expected`` of every value in ``column``; a row where it fails has ``reason``, and ``evidence`` columns show it.

    A column of messages (null where all is well) is its own evidence; with ``names_reason`` a message is
    ``reason: evidence``. What fails a ``waivable`` check can be used all the same where a person says so.
    """

    severity: Severity
    id: str
    reason: str
    title: str
    column: str
    expected: Expectation
    evidence: tuple[str, ...] = ()
    is_message: bool = False
    names_reason: bool = False
    waivable: bool = False


@dataclass(frozen=True)
class CheckResult:
    """A check, what great_expectations said, and the positions (row numbers) that failed."""

    check: Check
    evaluated: int
    failed: list[int]


def _at_least(value: float) -> Expectation:
    return Expectation("ExpectColumnValuesToBeBetween", {"min_value": value})


def _above(value: float) -> Expectation:
    return Expectation("ExpectColumnValuesToBeBetween", {"min_value": value, "strict_min": True})


def _at_most(value: float) -> Expectation:
    return Expectation("ExpectColumnValuesToBeBetween", {"max_value": value})


def _one_of(*values: object) -> Expectation:
    return Expectation("ExpectColumnValuesToBeInSet", {"value_set": list(values)})


_ABSENT = Expectation("ExpectColumnValuesToBeNull")
_FIGURES = ("element_count", "missing_count", "missing_percent", "unexpected_count", "unexpected_percent")
_BOX = ("x1", "y1", "x2", "y2")
_stop = partial(Check, "quarantine")
_judge = partial(Check, "quarantine", waivable=True)
_warn = partial(Check, "warning")


def page_checks(*, with_images: bool = True) -> list[Check]:
    """Checks of the table with one row per annotation entry; without images, those that the file alone can fail."""
    told = partial(Check, is_message=True, names_reason=True)
    geometry = told("quarantine", "D3", "geometry", "halves have the annotated size", "stitch_fault", _ABSENT)
    of_file = [
        _stop("D1", "bad_annotation", "entry follows the schema", "parse_fault", _ABSENT, is_message=True),
        _stop("D2", "bad_path", "image_path is relative and normalised", "path_fault", _ABSENT, is_message=True),
        _stop("D2", "duplicate_path", "image_path is unique", "duplicate_of", _ABSENT, is_message=True),
    ]
    contents = [
        _stop("D1", "no_panels", "page has panels", "num_panels", _at_least(1)),
        _judge("D1", "too_many_panels", f"at most {MAX_PANELS} panels", "num_panels", _at_most(MAX_PANELS)),
        _warn("D1", "unknown_keys", "no keys that the format lacks", "num_unknown_keys", _at_most(0)),
        _warn("D17", "reading_order", "read from the right", "misordered_share", _at_most(MAX_MISORDERED)),
    ]
    if not with_images:
        return [*of_file, geometry, *contents]
    return [
        *of_file,
        told("quarantine", "D4", "image", "halves are whole images", "image_fault", _ABSENT),
        geometry,
        *contents,
        told("removed", "D20", "removed", "halves were not taken down", "removed_fault", _ABSENT),
        told("missing", "D20", "missing", "halves were to be had", "missing_fault", _ABSENT),
        _warn("D3", "rescaled_page", "page needed no rescaling", "rescaled", _one_of(False)),
        _warn("D14", "duplicate_page", "page image is unique", "image_copies", _at_most(1)),
        _warn("D14", "near_duplicate_page", "no other page looks the same", "near_copies", _at_most(0)),
        _warn("D16", "colour_page", "page is black and white", "chroma", _at_most(MAX_CHROMA)),
    ]


def panel_checks(config: ValidationConfig) -> list[Check]:
    """Checks of the panels on accepted pages."""
    low, high = ASPECT_RANGE
    side = config.min_panel_side
    within_aspect = Expectation("ExpectColumnValuesToBeBetween", {"min_value": low, "max_value": high})
    control = "num_control_characters"
    return [
        *_box_checks("panel", config),
        _judge("D7", "panel_too_small", f"shorter edge of at least {side} px", "shorter_side", _at_least(side), _BOX),
        _stop("D12", "empty_caption", "caption is not empty", "caption_letters", _at_least(1), ("caption",)),
        _stop("D12", "control_characters", "caption is plain text", control, _at_most(0), ("caption",)),
        _judge("D12", "refusal_caption", "caption is no refusal", "is_refusal", _one_of(False), ("caption",)),
        _stop(
            "D12",
            "endless_caption",
            f"at most {MAX_CAPTION_CHARACTERS} characters",
            "caption_characters",
            _at_most(MAX_CAPTION_CHARACTERS),
        ),
        _warn("D12", "html_caption", "caption has no markup", "has_markup", _one_of(False), ("caption",)),
        _warn("D12", "common_caption", "few panels share it", "caption_share", _at_most(MAX_CAPTION_SHARE)),
        _warn("D13", "long_caption", "caption fits the text encoders", "truncated_tokens", _at_most(0)),
        _warn("D8", "upscaled_panel", f"enlarged at most {MAX_UPSCALE:g} times", "upscale", _at_most(MAX_UPSCALE)),
        _warn("D8", "extreme_aspect", "aspect fits a bucket", "aspect", within_aspect),
        _warn("D9", "duplicate_character_id", "ids differ within a panel", "num_repeated_ids", _at_most(0)),
        _warn("D11", "many_characters", f"at most {MAX_CHARACTERS}", "num_characters", _at_most(MAX_CHARACTERS)),
        _warn("D11", "many_dialogs", f"at most {MAX_DIALOGS}", "num_dialogs", _at_most(MAX_DIALOGS)),
        _warn("D18", "dialogs_cover_panel", "dialogs leave room to draw", "dialog_share", _at_most(MAX_DIALOG_SHARE)),
    ]


def character_checks(config: ValidationConfig) -> list[Check]:
    """Checks of the characters in accepted panels."""
    side = config.min_character_side
    return [
        *_box_checks("character", config),
        *_inside_checks("character", config),
        _stop("D1", "unknown_type", "type is 0, 1 or 2", "type", _one_of(0, 1, 2)),
        _warn("D7", "small_character", f"shorter edge of at least {side} px", "shorter_side", _at_least(side)),
        _warn("D10", "no_other_reference", "another clean box of this id", "num_references", _at_least(1)),
    ]


def dialog_checks(config: ValidationConfig) -> list[Check]:
    """Checks of the dialogs in accepted panels."""
    return [*_box_checks("dialog", config), *_inside_checks("dialog", config)]


def _box_checks(kind: str, config: ValidationConfig) -> list[Check]:
    margin = config.box_tolerance_px
    title = f"box leaves its page by at most {margin} px"
    return [
        _stop("D5", f"{kind}_not_finite", "box is finite", "finite", _one_of(True), _BOX),
        _stop("D5", f"{kind}_inverted", "box has area", "shorter_side", _above(0), _BOX),
        _stop("D5", f"{kind}_outside_page", title, "overshoot_px", _at_most(margin), _BOX),
        _warn("D5", f"{kind}_clamped", "box lies on its page", "overshoot_px", _at_most(0)),
    ]


def _inside_checks(kind: str, config: ValidationConfig) -> list[Check]:
    least = config.min_share_inside_panel
    title = f"at least {least:g} of the box is in its panel"
    return [
        _judge("D6", f"{kind}_outside_panel", "box touches its panel", "share_inside", _above(0), _BOX),
        _warn("D6", f"{kind}_mostly_outside", title, "share_inside", _at_least(least)),
    ]


def run_checks(table: pd.DataFrame, checks: Sequence[Check], name: str) -> tuple[list[CheckResult], dict[str, Any]]:
    """Run one suite over ``table``; also returns great_expectations' own statistics of it.

    Null cells are not judged, so a measure that could not be taken fails only the check that says why.
    Raises RuntimeError when an expectation itself breaks.
    """
    os.environ["GX_ANALYTICS_ENABLED"] = "false"  # read once, at import; it would phone home
    import great_expectations as gx
    from great_expectations.data_context.types.base import ProgressBarsConfig

    rows = table[sorted({check.column for check in checks})].reset_index(drop=True)
    rows["row"] = range(len(rows))
    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = ProgressBarsConfig(globally=False)
    asset = context.data_sources.add_pandas("tables").add_dataframe_asset(name)
    batch = asset.add_batch_definition_whole_dataframe("all").get_batch(batch_parameters={"dataframe": rows})
    expectations = [
        getattr(gx.expectations, check.expected.name)(
            column=check.column, meta={"place": place}, **check.expected.arguments
        )
        for place, check in enumerate(checks)
    ]
    report = batch.validate(
        gx.ExpectationSuite(name=name, expectations=expectations),
        result_format={"result_format": "COMPLETE", "unexpected_index_column_names": ["row"]},
    )
    results: dict[int, CheckResult] = {}
    for outcome in report.results:
        assert outcome.expectation_config is not None
        place = outcome.expectation_config.meta["place"]
        if outcome.exception_info.get("raised_exception"):
            raise RuntimeError(f"check {checks[place].reason} broke: {outcome.exception_info['exception_message']}")
        failed = [int(entry["row"]) for entry in outcome.result["unexpected_index_list"] or []]
        evaluated = outcome.result["element_count"] - (outcome.result.get("missing_count") or 0)
        results[place] = CheckResult(checks[place], evaluated, sorted(failed))
    # Without the values that failed: great_expectations' pages do not escape them, and captions come from outside.
    told = [
        {
            "success": outcome.success,
            "expectation_config": {
                "type": outcome.expectation_config.type,
                "kwargs": {"column": checks[place].column, **checks[place].expected.arguments},
                "meta": {"notes": f"{checks[place].id} {checks[place].reason}: {checks[place].title}"},
            },
            "result": {name: value for name, value in outcome.result.items() if name in _FIGURES},
        }
        for outcome in report.results
        if outcome.expectation_config is not None
        for place in (outcome.expectation_config.meta["place"],)
    ]
    statistics = {"success": report.success, "statistics": dict(report.statistics), "results": told}
    return [results[place] for place in range(len(checks))], statistics
