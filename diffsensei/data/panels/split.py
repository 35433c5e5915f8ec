"""Which pages are held out (paper sec. 3.2: two pages of each series; its page list is unpublished, so a rule decides).

The rule needs nothing but the accepted tables: pages with enough panels and a recurring character, in the order of a
hash of their path, so adding a page never reshuffles the others. Pages that look like another page are passed over.
"""

import hashlib
from typing import Any

import numpy as np
import pandas as pd

from diffsensei.config.schema import SplitConfig
from diffsensei.data.duplicates import LookAlikes
from diffsensei.data.panels.leakage import repeated_panels, require_no_leak

RULE = "sha256-rank/1"
"""Name of the rule; raise its number when the same tables would give other pages."""
EVERYTHING = "everything/1"
"""Name of the rule for data that is never trained on."""


def eligible_pages(pages: pd.DataFrame, panels: pd.DataFrame, characters: pd.DataFrame, min_panels: int) -> pd.Series:
    """(len(pages),) bool: at least ``min_panels`` accepted panels, and an id that is seen in two of them."""
    num_panels = panels.groupby("page_id").size().reindex(pages["page_id"], fill_value=0).to_numpy()
    seen = characters.groupby(["page_id", "character_id"])["panel_id"].nunique()
    recurring = seen[seen >= 2].index.get_level_values("page_id")
    return pd.Series((num_panels >= min_panels) & pages["page_id"].isin(recurring).to_numpy(), index=pages.index)


def choose_split(
    pages: pd.DataFrame, panels: pd.DataFrame, characters: pd.DataFrame, config: SplitConfig
) -> dict[str, Any]:
    """The split as JSON: rule, held-out pages (id, path, image digest), and what it could not give.

    Raises ValueError when no page qualifies, or none is left to train on.
    """
    eligible = eligible_pages(pages, panels, characters, config.min_panels)
    alike = LookAlikes(pages["dhash"].tolist())
    copies = pages["image_sha256"].value_counts()
    rank = pages["image_path"].map(lambda path: hashlib.sha256(f"{RULE}:{path}".encode()).hexdigest())
    ordered = pages.assign(rank=rank, position=np.arange(len(pages)))[eligible.to_numpy()].sort_values("rank")
    chosen: list[int] = []
    passed_over: list[str] = []
    short: dict[str, int] = {}
    for series in sorted(set(pages["series"])):
        taken = 0
        for row in ordered[ordered["series"] == series].itertuples():
            if taken == config.eval_pages_per_series:
                break
            if copies[row.image_sha256] > 1 or len(alike.matches(row.position)):
                passed_over.append(row.page_id)
                continue
            chosen.append(row.position)
            taken += 1
        if taken < config.eval_pages_per_series:
            short[series] = taken
    if not chosen or len(chosen) == len(pages):
        raise ValueError(
            f"{len(chosen)} of {len(pages)} accepted pages can be held out; expected some, and some left to train on: "
            f"bring more pages, or lower data.split.min_panels ({config.min_panels}) or "
            f"data.split.eval_pages_per_series ({config.eval_pages_per_series})"
        )
    is_eval = np.isin(np.arange(len(pages)), chosen)
    held_out = pages[is_eval]
    require_no_leak(held_out, pages[~is_eval])
    of_eval = panels["page_id"].isin(held_out["page_id"])
    return {
        "rule": RULE,
        "config": config.model_dump(mode="json"),
        "num_pages": len(pages),
        "num_eligible": int(eligible.sum()),
        "eval": held_out[["page_id", "image_path", "series", "image_sha256"]].to_dict("records"),
        "passed_over_as_look_alikes": passed_over,
        "series_with_fewer": short,
        "panels_drawn_again_in_training": repeated_panels(panels[of_eval], panels[~of_eval]),
        "next_to_a_training_page": _num_adjacent(pages, set(held_out["page_id"])),
    }


def hold_out_everything(
    pages: pd.DataFrame, panels: pd.DataFrame, trained_pages: pd.DataFrame, trained_panels: pd.DataFrame
) -> dict[str, Any]:
    """The split of data that is only ever evaluated on, as JSON like `choose_split`'s, beside what is trained on.

    Raises ValueError if it is empty, or has a page that is trained on.
    """
    if pages.empty:
        raise ValueError("no page was accepted, so there is none to evaluate on; see the validation report")
    require_no_leak(pages, trained_pages)
    return {
        "rule": EVERYTHING,
        "num_pages": len(pages),
        "eval": pages[["page_id", "image_path", "series", "image_sha256"]].to_dict("records"),
        "panels_drawn_again_in_training": repeated_panels(panels, trained_panels),
        "next_to_a_training_page": 0,
    }


def _num_adjacent(pages: pd.DataFrame, eval_ids: set[str]) -> int:
    """Held-out pages that follow or precede a training page of the same folder: they share a scene with it."""
    folders = pages["image_path"].str.rpartition("/")[0].to_numpy()
    held_out = pages["page_id"].isin(eval_ids).to_numpy()
    neighbours = (folders[1:] == folders[:-1]) & (held_out[1:] != held_out[:-1])
    first, second = np.append(neighbours, False), np.insert(neighbours, 0, False)
    return int((held_out & (first | second)).sum())
