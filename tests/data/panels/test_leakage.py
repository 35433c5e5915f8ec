"""What is evaluated on and trained on as well: a page stops the run, near copies are found, blanks prove nothing."""

import pandas as pd
import pytest

from diffsensei.data.panels.leakage import repeated_panels, require_no_leak

HASH = "00ff00ff00ff00ff"


def pages(*rows: tuple[str, str, str]) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=["image_path", "image_sha256", "dhash"])


def panels(*rows: tuple[str, str]) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=["panel_id", "dhash"])


TRAINED = pages(("t/0.png", "a", "f" * 16), ("t/1.png", "b", HASH), ("t/2.png", "c", ""))


def test_other_pages_pass() -> None:
    require_no_leak(pages(("e/0.png", "x", "0123456789abcdef")), TRAINED)
    require_no_leak(pages(("e/0.png", "x", "00ff00ff00ff00e0")), TRAINED)  # five bits
    require_no_leak(pages(("e/0.png", "x", HASH)), TRAINED.iloc[:0])


@pytest.mark.parametrize(
    ("digest", "dhash", "twin"),
    [("x", "00ff00ff00ff00f0", "t/1.png"), ("a", "", "t/0.png"), ("c", "0" * 16, "t/2.png")],
)
def test_a_page_on_both_sides_is_named_with_its_twin(digest: str, dhash: str, twin: str) -> None:
    evaluated = pages(("e/0.png", "y", "0123456789abcdef"), ("e/1.png", digest, dhash))
    with pytest.raises(ValueError, match=rf"'e/1\.png' is to be evaluated on and is also trained on, as '{twin}'"):
        require_no_leak(evaluated, TRAINED)


def test_blank_pages_all_look_alike_and_that_proves_nothing() -> None:
    require_no_leak(pages(("e/0.png", "x", "")), TRAINED.assign(dhash=""))


def test_a_panel_of_four_other_bits_is_the_same() -> None:
    evaluated = panels(("eval-0", HASH), ("eval-1", "0123456789abcdef"), ("eval-2", ""))
    trained = panels(("train-0", ""), ("train-1", "00ff00ff00ff00f0"), ("train-2", "00ff00ff00ff00e0"))
    assert repeated_panels(evaluated, trained) == {
        "compared": 2,
        "near_blank": 1,
        "repeated": 1,
        "examples": [{"eval": "eval-0", "train": "train-1"}],
    }


def test_within_one_side_nothing_leaks() -> None:
    twice = panels(("one", HASH), ("other", HASH))
    assert repeated_panels(twice, twice.iloc[:0])["repeated"] == 0
    assert repeated_panels(twice.iloc[:0], twice)["compared"] == 0
