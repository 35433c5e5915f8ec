"""Names of offered images."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from diffsensei.data.refusal import Refusal
from diffsensei.data.sources.offered import acceptable_name, is_system_file, natural_key


def test_names_sort_as_people_count() -> None:
    names = ["ch10/1.png", "ch2/10.png", "ch2/9.png", "ch2/009.png", "Cover.png", "ch2/9a.png"]
    assert sorted(names, key=natural_key) == [
        "ch2/009.png", "ch2/9.png", "ch2/9a.png", "ch2/10.png", "ch10/1.png", "Cover.png",
    ]  # fmt: skip


@given(st.lists(st.text(max_size=20), max_size=6))
@example(["", "\N{MATHEMATICAL BOLD DIGIT ZERO}"])
def test_any_names_have_one_order(names: list[str]) -> None:
    backwards = list(reversed(names))
    assert sorted(names, key=natural_key) == sorted(backwards, key=natural_key)


def test_what_comic_readers_leave_behind_is_no_page() -> None:
    left = ["ComicInfo.xml", "a/Thumbs.db", "__MACOSX/a.jpg", ".DS_Store", "a/._1.jpg"]
    assert all(map(is_system_file, left))
    assert not is_system_file("a/1.jpg")


def test_names_are_composed_and_plain() -> None:
    assert acceptable_name("e\u0301.png") == "\u00e9.png"
    for name in ("../a", "/a", "C:\\a", "a\0b", "a//b", "~/a", ""):
        with pytest.raises(Refusal):
            acceptable_name(name)
