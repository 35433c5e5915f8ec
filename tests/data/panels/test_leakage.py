"""Panels that are drawn again: near copies are found, blank ones prove nothing."""

import pandas as pd

from diffsensei.data.panels.leakage import repeated_panels

PANELS = pd.DataFrame(
    [
        ("eval", "eval-0", "00ff00ff00ff00ff"),
        ("eval", "eval-1", "0123456789abcdef"),
        ("eval", "eval-2", ""),
        ("train", "train-0", ""),
        ("train", "train-1", "00ff00ff00ff00f0"),
        ("train", "train-2", "00ff00ff00ff00e0"),
    ],
    columns=["page_id", "panel_id", "dhash"],
)


def test_a_panel_of_four_other_bits_is_the_same() -> None:
    found = repeated_panels(PANELS, {"eval"})
    assert found == {
        "compared": 2,
        "near_blank": 1,
        "repeated": 1,
        "examples": [{"eval": "eval-0", "train": "train-1"}],
    }


def test_within_one_side_nothing_leaks() -> None:
    assert repeated_panels(PANELS, {"eval", "train"})["repeated"] == 0
    assert repeated_panels(PANELS, set())["compared"] == 0
