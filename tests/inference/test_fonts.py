"""Fonts: the bundled one writes Latin, others step in for what it lacks, and what is no font is said so."""

from pathlib import Path

import pytest

from diffsensei.inference.fonts import BUNDLED, check_font, font_for, load_font, missing_letters, wide_fonts

ACCENTS = "ÀÉÎõüßçñŁódźøåÆœ¿¡€“”‘’…—"  # noqa: RUF001


def test_the_bundled_font_writes_latin_and_lies_beside_its_licence() -> None:
    assert missing_letters(BUNDLED, "The quick brown fox? 0123456789! " + ACCENTS) == ""
    assert BUNDLED.stat().st_size <= 400_000
    assert "SIL OPEN FONT LICENSE" in (BUNDLED.parent / "OFL.txt").read_text()
    assert load_font(BUNDLED, 20).getname() == ("Comic Neue", "Bold")


def test_the_bundled_font_is_taken_where_it_suffices() -> None:
    assert font_for("Ça va, Mika?") == (BUNDLED, "")


def test_letters_it_lacks_are_named_each_once() -> None:
    assert missing_letters(BUNDLED, "a雨b雨c傘") == "雨傘"
    assert font_for("\U00012345 a") == (BUNDLED, "\U00012345")


def test_a_font_of_the_system_steps_in() -> None:
    able = [path for path in wide_fonts() if not missing_letters(path, "Привет")]
    if not able:
        pytest.skip("no font with Cyrillic among the system's; apt-get install fonts-dejavu")
    assert font_for("Привет") == (able[0], "")


def test_japanese_where_the_system_has_it() -> None:
    able = [path for path in wide_fonts() if not missing_letters(path, "雨の日")]
    if not able:
        pytest.skip("no Japanese font here; apt-get install fonts-ipaexfont-gothic")
    assert font_for("雨の日") == (able[0], "")


def test_what_is_no_font_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"found none; give a \.ttf"):
        check_font(tmp_path / "a.ttf")
    (tmp_path / "a.ttf").write_bytes(b"not a font")
    with pytest.raises(ValueError, match="is no font"):
        check_font(tmp_path / "a.ttf")
    check_font(BUNDLED)
