"""The journal survives what crashes do to files."""

from pathlib import Path

import pytest

from diffsensei.data.download.journal import Journal
from diffsensei.data.halves import Half
from diffsensei.data.refusal import Refusal

FIRST = Half(url="https://a/1", state="ok", sha256="0" * 64, width=3, height=4)
SECOND = Half.refused("https://a/2", Refusal("timeout", "late", state="missing", transient=True))


def write(path: Path, *records: Half) -> None:
    with Journal(path) as journal:
        for record in records:
            journal.append(record)


def read(path: Path) -> dict[str, Half]:
    with Journal(path) as journal:
        return journal.read()


def test_round_trip_and_last_record_wins(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    write(path, FIRST, SECOND)
    later = FIRST.model_copy(update={"url": SECOND.url})
    write(path, later)
    assert read(path) == {FIRST.url: FIRST, SECOND.url: later}


def test_torn_at_every_byte(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    write(path, FIRST, SECOND)
    content = path.read_bytes()
    first_line = content.index(b"\n")
    for cut in range(len(content)):
        path.write_bytes(content[:cut])
        assert (FIRST.url in read(path)) == (cut >= first_line)
        write(path, SECOND)
        assert read(path)[SECOND.url] == SECOND


def test_damaged_line_counts_as_never_written(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    write(path, FIRST, SECOND)
    path.write_bytes(path.read_bytes().replace(b'"state":"ok"', b'"state":"\xff\xfe"'))
    assert list(read(path)) == [SECOND.url]


def test_second_writer_is_turned_away(tmp_path: Path) -> None:
    with Journal(tmp_path / "j"), pytest.raises(ValueError, match="another download"), Journal(tmp_path / "j"):
        pass
