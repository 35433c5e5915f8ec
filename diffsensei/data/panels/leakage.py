"""What is evaluated on and trained on as well: whole pages stop the run, panels are counted.

A panel that is drawn again (recaps, re-used art, credits) is only reported, as series repeat themselves.
"""

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from diffsensei.data.duplicates import LookAlikes

NUM_LISTED = 100
"""Pairs written into the split; the count is of all."""


def require_no_leak(evaluated: pd.DataFrame, trained: pd.DataFrame) -> None:
    """Raise ValueError (one line) when a page of ``evaluated`` also is, or looks like, a page of ``trained``.

    Both: image_path, image_sha256 and dhash (empty for near-blank pages, which only their digest can betray).
    """
    names = ["image_sha256", "image_path"]
    copies = evaluated[names].merge(trained[names], on="image_sha256")[["image_path_x", "image_path_y"]]
    paths = pd.concat([evaluated["image_path"], trained["image_path"]]).to_numpy()
    pairs = [*copies.itertuples(index=False), *paths[_look_alikes(evaluated, trained)]]
    if pairs:
        page, twin = pairs[0]
        raise ValueError(
            f"page {page!r} is to be evaluated on and is also trained on, as {twin!r}: expected no page in both; "
            "remove one of the two from its source"
        )


def repeated_panels(evaluated: pd.DataFrame, trained: pd.DataFrame) -> dict[str, Any]:
    """How many panels of ``evaluated`` look like one of ``trained``, and which.

    Both: panel_id and dhash (16 hex digits, empty for near-blank panels, which are not compared).
    """
    pairs = _look_alikes(evaluated, trained)
    names = pd.concat([evaluated["panel_id"], trained["panel_id"]]).to_numpy()
    known = int(evaluated["dhash"].ne("").sum())
    return {
        "compared": known,
        "near_blank": len(evaluated) - known,
        "repeated": len(pairs),
        "examples": [{"eval": str(names[one]), "train": str(names[other])} for one, other in pairs[:NUM_LISTED]],
    }


def _look_alikes(evaluated: pd.DataFrame, trained: pd.DataFrame) -> NDArray[np.intp]:
    """(k, 2) rows of the two tables behind one another: one of ``evaluated``, and the first of ``trained`` like it."""
    alike = LookAlikes([*evaluated["dhash"], *trained["dhash"]])
    return alike.pairs_between(np.arange(len(evaluated) + len(trained)) < len(evaluated))
