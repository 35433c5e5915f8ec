"""The table of halves keeps what became of each."""

from pathlib import Path

from diffsensei.data.halves import Half, read_halves, write_halves
from diffsensei.data.refusal import Refusal

FIRST = Half(url="https://a/1", state="ok", sha256="0" * 64, width=3, height=4)
SECOND = Half.refused("https://a/2", Refusal("timeout", "late", state="missing", transient=True))


def test_halves_table(tmp_path: Path) -> None:
    write_halves([FIRST, SECOND], tmp_path / "halves.parquet")
    rows = read_halves(tmp_path / "halves.parquet")
    assert rows[FIRST.url] == FIRST
    assert rows[SECOND.url].reason == "timeout"
    write_halves([], tmp_path / "none.parquet")
    assert read_halves(tmp_path / "none.parquet") == {}
