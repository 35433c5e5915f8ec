from pathlib import Path

import pytest

from diffsensei.data.tombstones import read_tombstones, record_tombstone


def test_a_page_is_found_by_any_of_its_names_and_the_first_reason_stays(tmp_path: Path) -> None:
    assert read_tombstones(tmp_path / "absent").digest() == ""
    record_tombstone(tmp_path, "S/1.jpg", "the author asked", page_ids=["a" * 16], sha256=["b" * 64])
    record_tombstone(tmp_path, "https://h/1", "the publisher asked", urls=["https://h/1"], sha256=["b" * 64])
    stones = read_tombstones(tmp_path)
    for name in ("a" * 16, "b" * 64):
        found = stones.find(["x", name])
        assert found is not None
        assert found.reason == "the author asked"
    assert stones.find(["https://h/1"]).reason == "the publisher asked"  # type: ignore[union-attr]
    assert stones.find(["c" * 64, ""]) is None


def test_what_is_taken_down_decides_the_digest_and_not_why(tmp_path: Path) -> None:
    for name, reason in (("one", "the author asked"), ("two", "a court decided")):
        record_tombstone(tmp_path / name, "S/1.jpg", reason, page_ids=["a" * 16])
    one, two = (read_tombstones(tmp_path / name).digest() for name in ("one", "two"))
    assert one == two
    record_tombstone(tmp_path / "two", "S/2.jpg", "a court decided", page_ids=["b" * 16])
    assert read_tombstones(tmp_path / "two").digest() != one


def test_a_request_needs_a_reason_and_a_page_and_a_damaged_one_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="needs a reason"):
        record_tombstone(tmp_path, "S/1.jpg", "  ", page_ids=["a" * 16])
    with pytest.raises(ValueError, match="names no page"):
        record_tombstone(tmp_path, "what", "the author asked")
    (tmp_path / "torn.json").write_text('{"asked": ')
    with pytest.raises(ValueError, match=r"torn\.json is no tombstone"):
        read_tombstones(tmp_path)
