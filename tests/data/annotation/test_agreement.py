"""Against numbers worked out by hand."""

import pytest

from diffsensei.data.annotation.agreement import compare_namings, summarise


def test_by_hand() -> None:
    """abc|de against ab|cde: same in first 3+1, in second 1+3, in both ab and de; 10 pairs, 1.6 expected by chance."""
    page = compare_namings(
        "p", dict(zip("abcde", [0, 0, 0, 1, 1], strict=True)), dict(zip("abcde", "xxyyy", strict=True))
    )
    assert (page.num_characters, page.same_both, page.same_first, page.same_second) == (5, 2, 4, 4)
    assert page.f1 == pytest.approx(0.5)
    assert page.ari == pytest.approx((2 - 1.6) / (4 - 1.6))


def test_names_do_not_matter() -> None:
    page = compare_namings("p", {"a": 0, "b": 0, "c": 1}, {"a": "1", "b": "1", "c": "0"})
    assert (page.f1, page.ari) == (1.0, 1.0)


def test_worse_than_chance_is_negative() -> None:
    """ab|cd against ac|bd: no common pair, 2 * 2 / 6 expected."""
    page = compare_namings("p", dict(zip("abcd", "xxyy", strict=True)), dict(zip("abcd", "xyxy", strict=True)))
    assert page.f1 == 0
    assert page.ari == pytest.approx((0 - 4 / 6) / (2 - 4 / 6))


@pytest.mark.parametrize(
    ("first", "second", "f1", "ari"),
    [
        ({}, {}, None, None),
        ({"a": 0}, {"a": 1}, None, None),
        ({"a": 0, "b": 1}, {"a": 0, "b": 1}, None, 1.0),
        ({"a": 0, "b": 0}, {"a": 0, "b": 0}, 1.0, 1.0),
        ({"a": 0, "b": 0}, {"a": 0, "b": 1}, 0.0, 0.0),
        ({"a": 0, "b": 0}, {"b": 1, "c": 1}, None, None),
    ],
)
def test_edges(first: dict[str, int], second: dict[str, int], f1: float | None, ari: float | None) -> None:
    page = compare_namings("p", first, second)
    assert (page.f1, page.ari) == (f1, ari)


def test_summary_pools_pairs_and_averages_pages() -> None:
    good = compare_namings("p", dict.fromkeys("abc", 0), dict.fromkeys("abc", 0))
    bad = compare_namings("q", {"a": 0, "b": 0}, {"a": 0, "b": 1})
    summary = summarise([good, bad])
    assert (summary["pages"], summary["characters"]) == (2, 5)
    assert summary["f1"] == pytest.approx(2 * 3 / 7)
    assert summary["ari"] == pytest.approx(0.5)
    assert summary["ari_interval"] == [0.0, 1.0]
    assert summary == summarise([good, bad])


def test_summary_of_nothing() -> None:
    assert summarise([]) == {
        "pages": 0, "characters": 0, "f1": None, "f1_interval": [None, None], "ari": None, "ari_interval": [None, None],
    }  # fmt: skip
