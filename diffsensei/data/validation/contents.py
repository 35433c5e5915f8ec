"""What is on accepted pages: panels, characters and dialogs, measured and judged from the top down.

Characters and dialogs are judged in accepted panels only; nothing here looks at a pixel.
"""

from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from diffsensei.config.schema import BucketConfig, ValidationConfig
from diffsensei.data.panels.buckets import assign_buckets, build_buckets
from diffsensei.data.tables import boxes_of, measure_boxes, share_inside_panel
from diffsensei.data.validation.checks import HTML, REFUSAL_TEXT, character_checks, dialog_checks, panel_checks
from diffsensei.data.validation.ledger import Ledger
from diffsensei.geometry import area

MIN_COMMON_CAPTION = 10
"""Panels that may share a caption whatever their share: in a small set one per cent is less than a panel."""

CAPTIONS_AT_ONCE = 32_768

CaptionTokens = Callable[[Sequence[str]], tuple[list[int], int]]
"""Captions -> how many tokens each has without the two that frame it, and how many a text encoder sees."""


def judge_contents(
    pages: pd.DataFrame,
    tables: dict[str, pd.DataFrame],
    validation: ValidationConfig,
    ledger: Ledger,
    *,
    buckets: BucketConfig | None,
    count_tokens: CaptionTokens | None,
) -> dict[str, pd.DataFrame]:
    """Accepted ``panels``, ``characters`` and ``dialogs`` of the accepted ``pages``, boxes clamped to their page.

    ``tables`` is emptied on the way, as two copies of the largest are a gigabyte. Without ``buckets`` no enlargement is
    judged, without ``count_tokens`` no caption's length.
    """
    margin = validation.box_tolerance_px

    def measured(name: str) -> pd.DataFrame:
        table = tables.pop(name)
        return measure_boxes(table[table["page_id"].isin(pages["page_id"])], pages, tolerance_px=margin)

    dialogs = measured("dialogs")
    panels = _with_panel_measures(measured("panels"), dialogs)
    panels["upscale"] = _upscale(panels, buckets) if buckets is not None else np.nan
    panels["caption_tokens"], panels["truncated_tokens"] = _tokens(panels["caption"], count_tokens)
    panels = ledger.judge("panels", "panel", panels, panel_checks(validation), panels["panel_id"].tolist())
    accepted = {"panels": panels}
    for name, letter, checks in (
        ("characters", "c", character_checks(validation)),
        ("dialogs", "d", dialog_checks(validation)),
    ):
        table = dialogs if name == "dialogs" else measured(name)
        boxes = table[table["panel_id"].isin(panels["panel_id"])].reset_index(drop=True)
        boxes["share_inside"] = share_inside_panel(boxes, panels)
        boxes["num_panels"], boxes["num_boxes"] = 0, 0
        if name == "characters":
            boxes["num_references"] = _num_references(boxes)
        ids = [f"{panel}-{letter}{place}" for panel, place in zip(boxes["panel_id"], boxes["box_index"], strict=True)]
        accepted[name] = ledger.judge(name, name.removesuffix("s"), boxes, checks, ids)
    return accepted


def _with_panel_measures(panels: pd.DataFrame, dialogs: pd.DataFrame) -> pd.DataFrame:
    _measure_captions(panels)
    size = area(boxes_of(panels))
    covered = share_inside_panel(dialogs, panels) * area(boxes_of(dialogs))
    covered = pd.Series(covered).groupby(dialogs["panel_id"]).sum().reindex(panels["panel_id"]).fillna(0.0).to_numpy()
    panels["dialog_share"] = np.divide(covered, size, out=np.full(len(panels), np.nan), where=size > 0)
    panels["num_panels"] = 0
    panels["num_boxes"] = panels["num_characters"] + panels["num_dialogs"]
    return panels


def _upscale(panels: pd.DataFrame, config: BucketConfig) -> NDArray[np.float64]:
    """How many times each panel is enlarged to cover its bucket; NaN for panels without area."""
    boxes = boxes_of(panels)
    sides = boxes[:, 2:] - boxes[:, :2]
    upscale = np.full(len(panels), np.nan)
    valid = np.isfinite(sides).all(axis=1) & (sides > 0).all(axis=1)
    if valid.any():
        buckets = build_buckets(config)
        widths, heights = sides[valid].T
        sizes = np.array([(bucket.height, bucket.width) for bucket in buckets], dtype=np.float64)
        chosen = sizes[assign_buckets(heights, widths, buckets, config)]
        upscale[valid] = np.maximum(chosen[:, 0] / heights, chosen[:, 1] / widths)
    return upscale


def _measure_captions(panels: pd.DataFrame) -> None:
    """Add what the checks of captions look at: one at a time, as a copy of all of them is a quarter of a gigabyte."""
    measures = {name: np.zeros(len(panels), dtype=np.int64) for name in ("caption_letters", "caption_characters")}
    measures |= {name: np.zeros(len(panels), dtype=bool) for name in ("is_refusal", "has_markup")}
    digests = np.zeros(len(panels), dtype=np.int64)
    for place, caption in enumerate(panels["caption"]):
        measures["caption_letters"][place] = len(caption.strip())
        measures["caption_characters"][place] = len(caption)
        measures["is_refusal"][place] = REFUSAL_TEXT.search(caption) is not None
        measures["has_markup"][place] = HTML.search(caption) is not None
        digests[place] = hash(caption)
    for name, values in measures.items():
        panels[name] = values
    _, places, uses = np.unique(digests, return_inverse=True, return_counts=True)
    shares = np.where(uses > MIN_COMMON_CAPTION, uses / max(len(panels), 1), 0.0)
    panels["caption_share"] = shares[places]


def _tokens(captions: pd.Series, count_tokens: CaptionTokens | None) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Tokens of each caption, and how many of them no text encoder sees; NaN where nothing counts them."""
    tokens, truncated = np.full(len(captions), np.nan), np.full(len(captions), np.nan)
    if count_tokens is not None:
        for start in range(0, len(captions), CAPTIONS_AT_ONCE):
            part = slice(start, start + CAPTIONS_AT_ONCE)
            codes, distinct = pd.factorize(captions.iloc[part])
            counts, limit = count_tokens(distinct.tolist())
            tokens[part] = np.array(counts, dtype=np.float64)[codes]
            truncated[part] = np.maximum(tokens[part] - limit, 0.0)
    return tokens, truncated


def _num_references(characters: pd.DataFrame) -> pd.Series:
    """For each character, the other clean boxes (type 0) of its id on its page."""
    clean = (characters["type"] == 0).astype(int)
    return clean.groupby([characters["page_id"], characters["character_id"]]).transform("sum") - clean
