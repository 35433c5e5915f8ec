import os
import subprocess
import sys
from pathlib import Path

import pytest

from infra.jobs.log import shorten_log

BOUNDS = {"max_bytes": 4000, "start_bytes": 500, "end_bytes": 1000}


def _numbered(count: int) -> str:
    return "".join(f"line {number:06d}\n" for number in range(count))


def test_a_short_log_stays_as_it_is(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text(_numbered(100))
    assert not shorten_log(log, **BOUNDS)
    assert log.read_text() == _numbered(100)


def test_start_and_end_stay_in_whole_lines_and_the_rest_is_counted(tmp_path: Path) -> None:
    log = tmp_path / "log"
    text = _numbered(1000)
    log.write_text(text)
    assert shorten_log(log, **BOUNDS)
    lines = log.read_text().splitlines()
    (place,) = [number for number, line in enumerate(lines) if line.startswith("[")]
    start, end = lines[:place], lines[place + 1 :]
    assert [*start, *end] == [*text.splitlines()[: len(start)], *text.splitlines()[-len(end) :]]
    assert (len(start), len(end)) == (500 // 12, 1000 // 12)
    left_out = len(text) - 12 * (len(start) + len(end))
    assert lines[place] == f"[{left_out} bytes left out here: a log is kept below 4000]"
    assert not shorten_log(log, **BOUNDS)
    with log.open("a") as more:
        more.write(_numbered(1000))
    assert shorten_log(log, **BOUNDS)
    (notice,) = [line for line in log.read_text().splitlines() if line.startswith("[")]
    kept = log.stat().st_size - len(notice) - 1
    assert notice.startswith(f"[{2 * len(text) - kept} bytes left out here"), "all that was ever left out"


@pytest.mark.parametrize("text", [b"x" * 9000, b"\xff\x00" * 4500, b"\n" * 9000])
def test_a_log_without_lines_is_shortened_as_well(tmp_path: Path, text: bytes) -> None:
    log = tmp_path / "log"
    log.write_bytes(text)
    assert shorten_log(log, **BOUNDS)
    assert log.stat().st_size < 4000


def test_whoever_appends_goes_on_behind_the_cut(tmp_path: Path) -> None:
    """A process that holds the log open and floods it: it stays in bounds, and what is left is in order."""
    log = tmp_path / "log"
    code = "for number in range(300_000): print(f'line {number:06d}', flush=number % 50 == 0)"
    with log.open("ab") as stream:
        writer = subprocess.Popen([sys.executable, "-c", code], stdout=stream)
    times, largest = 0, 0
    while writer.poll() is None:
        largest = max(largest, os.stat(log).st_size)
        times += shorten_log(log, max_bytes=100_000, start_bytes=1000, end_bytes=20_000)
    assert times > 3
    lines = [line for line in log.read_text().splitlines() if line.startswith("line")]
    assert lines[-1] == "line 299999"
    assert lines == sorted(lines)
    assert len(set(lines)) == len(lines)
    assert largest < 3_600_000, "the whole would have been that long"
