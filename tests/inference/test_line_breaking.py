"""Lines of a bubble: even, no wider than their room, Japanese between its letters, hyphens as a last resort."""

from hypothesis import given
from hypothesis import strategies as st

from diffsensei.inference.line_breaking import break_lines, hyphenated, pieces_of


def lines(text: str, *widths: float) -> list[str] | None:
    return break_lines(pieces_of(text), widths, len)


def test_lines_fill_their_widths_evenly() -> None:
    assert lines("aa bb cc dd", 8, 8) == ["aa bb", "cc dd"]
    assert lines("aa bb cc dd", 4, 9, 4) == ["aa", "bb cc", "dd"]


def test_what_does_not_fit_has_no_lines() -> None:
    assert lines("abcdef", 5) is None
    assert lines("aa bb cc", 5) is None
    assert lines("aa", 5, 5) is None, "exactly as many lines as asked for"


@given(st.text(st.sampled_from("ab c"), max_size=60), st.lists(st.integers(1, 12), min_size=1, max_size=6))
def test_no_word_is_lost_and_no_line_too_wide(text: str, widths: list[int]) -> None:
    found = lines(text, *widths)
    if found is not None:
        assert " ".join(found).split() == text.split()
        assert all(len(line) <= width for line, width in zip(found, widths, strict=True))


def test_japanese_breaks_anywhere_but_before_what_closes() -> None:
    assert [piece.text for piece in pieces_of("寒い。「えっ？」 OK")] == ["寒", "い。", "「えっ？」", "OK"]  # noqa: RUF001
    assert lines("傘を忘れました", 4, 4) in (["傘を忘れ", "ました"], ["傘を忘", "れました"])


def test_spaces_are_kept_only_inside_a_line() -> None:
    assert lines("Mika は here", 9, 4) == ["Mika は", "here"]


def test_only_words_that_are_too_wide_are_split() -> None:
    parts = hyphenated(pieces_of("the incomprehensible word"), 8, len)
    assert [part.text for part in parts] == ["the", "incompr-", "ehensib-", "le", "word"]
    assert [part.after for part in parts] == [" ", "", "", " ", ""]


@given(st.text(st.sampled_from("abcd"), min_size=1, max_size=40), st.integers(1, 9))
def test_split_words_are_whole_without_their_hyphens(word: str, width: int) -> None:
    parts = hyphenated(pieces_of(word), width, len)
    assert "".join(part.text.removesuffix("-") for part in parts) == word
    if width >= 4:
        assert all(len(part.text) <= width for part in parts)
