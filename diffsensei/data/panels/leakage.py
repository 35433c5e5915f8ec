"""Panels of held-out pages that are drawn again on a page to train on: recaps, re-used art, credits.

Whole pages in both sets stop the run (`require_no_leak`); a panel is reported, as series repeat themselves.
"""

from typing import Any

import pandas as pd

from diffsensei.data.duplicates import LookAlikes

NUM_LISTED = 100
"""Pairs written into the split; the count is of all."""


def repeated_panels(panels: pd.DataFrame, eval_ids: set[str]) -> dict[str, Any]:
    """How many panels of the pages ``eval_ids`` look like a panel to train on, and which.

    ``panels``: page_id, panel_id and dhash (16 hex digits, empty for near-blank panels, which are not compared).
    """
    held_out = panels["page_id"].isin(eval_ids).to_numpy()
    known = panels["dhash"].ne("").to_numpy()
    pairs = LookAlikes(panels["dhash"].tolist()).pairs_between(held_out)
    names = panels["panel_id"].to_numpy()
    return {
        "compared": int((held_out & known).sum()),
        "near_blank": int((held_out & ~known).sum()),
        "repeated": len(pairs),
        "examples": [{"eval": str(names[one]), "train": str(names[other])} for one, other in pairs[:NUM_LISTED]],
    }
