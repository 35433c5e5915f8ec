"""The held-out pages: the rule and its stability; data that is held out whole."""

import numpy as np
import pandas as pd
import pytest

from diffsensei.config.schema import SplitConfig
from diffsensei.data.panels.split import choose_split, hold_out_everything

CONFIG = SplitConfig(eval_pages_per_series=2, min_panels=3)


def accepted(num_series: int = 3, num_pages: int = 8, num_panels: int = 4) -> tuple[pd.DataFrame, ...]:
    """Tables in which every page qualifies and looks like no other."""
    hashes = np.random.default_rng(0).integers(0, 2**63, num_series * num_pages, dtype=np.uint64)
    pages = pd.DataFrame(
        [
            {"page_id": f"{series}-{page}", "image_path": f"s{series}/c1/{page}.png", "series": f"s{series}"}
            for series in range(num_series)
            for page in range(num_pages)
        ]
    )
    pages["dhash"] = [f"{int(value):016x}" for value in hashes]
    pages["image_sha256"] = "sha" + pages["page_id"]
    panels = pages[["page_id"]].merge(pd.DataFrame({"panel": range(num_panels)}), how="cross")
    panels["panel_id"] = panels["page_id"] + "-" + panels["panel"].astype(str)
    panels["dhash"] = [f"{int(value):016x}" for value in np.random.default_rng(1).integers(0, 2**63, len(panels))]
    characters = panels[["page_id", "panel_id"]].assign(character_id="0")
    return pages, panels, characters


def held_out(pages: pd.DataFrame, panels: pd.DataFrame, characters: pd.DataFrame) -> list[str]:
    return [page["page_id"] for page in choose_split(pages, panels, characters, CONFIG)["eval"]]


def test_two_pages_of_each_series() -> None:
    pages, panels, characters = accepted()
    split = choose_split(pages, panels, characters, CONFIG)
    assert [page["series"] for page in split["eval"]] == ["s0", "s0", "s1", "s1", "s2", "s2"]
    assert split["num_eligible"] == 24
    assert split["series_with_fewer"] == {}
    assert all(page["image_sha256"] for page in split["eval"])


def test_order_of_the_file_does_not_matter_and_new_pages_reshuffle_little() -> None:
    pages, panels, characters = accepted()
    assert sorted(held_out(pages.sample(frac=1, random_state=1), panels, characters)) == held_out(
        pages, panels, characters
    )
    fewer = pages[pages["page_id"] != "1-3"]
    kept = set(held_out(pages, panels, characters)) & set(held_out(fewer, panels, characters))
    assert len(kept) >= 5


def test_pages_that_do_not_qualify() -> None:
    pages, panels, characters = accepted()
    first = held_out(pages, panels, characters)[0]
    few_panels = panels[(panels["page_id"] != first) | (panels["panel"] < 2)]
    assert first not in held_out(pages, few_panels, characters)
    once = characters[(characters["page_id"] != first) | characters["panel_id"].str.endswith("-0")]
    assert first not in held_out(pages, panels, once)
    twice_in_one_panel = pd.concat([once, once[once["page_id"] == first]])
    assert first not in held_out(pages, panels, twice_in_one_panel)


def test_look_alikes_are_passed_over() -> None:
    pages, panels, characters = accepted()
    first, second = held_out(pages, panels, characters)[:2]
    pages = pages.set_index("page_id", drop=False)
    pages.loc["2-0", "dhash"] = f"{int(pages.loc[first, 'dhash'], 16) ^ 0b1011:016x}"
    pages.loc["2-1", "image_sha256"] = pages.loc[second, "image_sha256"]
    pages = pages.reset_index(drop=True)
    split = choose_split(pages, panels, characters, CONFIG)
    assert {first, second} <= set(split["passed_over_as_look_alikes"])
    assert not {first, second} & {page["page_id"] for page in split["eval"]}


def test_data_that_is_only_evaluated_on_is_guarded_against_what_is_trained_on() -> None:
    pages, panels, _ = accepted(num_series=2, num_pages=4)
    first, second = (pages["series"] == name for name in ("s0", "s1"))
    of_first = panels["page_id"].str.startswith("0-")
    split = hold_out_everything(pages[first], panels[of_first], pages[second], panels[~of_first])
    assert [page["page_id"] for page in split["eval"]] == ["0-0", "0-1", "0-2", "0-3"]
    assert split["panels_drawn_again_in_training"]["compared"] == 16
    assert hold_out_everything(pages, panels, pages.iloc[:0], panels.iloc[:0])["num_pages"] == 8
    same = pages.assign(image_sha256=[*"abcdefga"])
    with pytest.raises(ValueError, match=r"s0/c1/0.png.*also trained on, as 's1/c1/3.png'"):
        hold_out_everything(same[first], panels[of_first], same[second], panels[~of_first])
    with pytest.raises(ValueError, match="no page was accepted"):
        hold_out_everything(pages.iloc[:0], panels.iloc[:0], pages, panels)


def test_nothing_to_hold_out() -> None:
    with pytest.raises(ValueError, match="0 of 24 accepted pages can be held out"):
        choose_split(*accepted(num_panels=2), CONFIG)
    with pytest.raises(ValueError, match="2 of 2 accepted pages"):
        choose_split(*accepted(num_series=1, num_pages=2), CONFIG)
    split = choose_split(*accepted(num_series=2, num_pages=8), CONFIG.replaced(eval_pages_per_series=7))
    assert split["series_with_fewer"] == {}
