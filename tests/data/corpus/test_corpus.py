"""Every bad file ends as its row says, and does no harm: to this process, to other files, to the network, in time."""

import tempfile
import threading
import time
from collections import Counter
from pathlib import Path

import pytest

from tests.data.corpus import annotation_files, archives, edit_files, images, urls
from tests.data.corpus.entry import Entry
from tests.data.socket_guard import SocketGuard
from tests.data.write_guard import WriteGuard

ENTRIES: tuple[Entry, ...] = (
    *urls.ENTRIES,
    *images.ENTRIES,
    *archives.ENTRIES,
    *annotation_files.ENTRIES,
    *edit_files.ENTRIES,
)
KINDS = ("annotation", "archive", "image", "pdf", "url")
MAX_SECONDS = 30.0
"""Making the file and judging it, on a busy machine; the slowest takes a second where nothing else runs."""
MAX_MEMORY_MB = 256.0
"""What this process may take at its peak beyond what it held before; the files are made in it, too."""


@pytest.fixture(scope="module", autouse=True)
def _warm(tmp_path_factory: pytest.TempPathFactory) -> None:
    """What is imported and started once counts for no entry."""
    for entry in (annotation_files.ENTRIES[0], images.ENTRIES[-2], archives.ENTRIES[13]):
        assert entry.run(tmp_path_factory.mktemp("warm")) == "accepted"


def test_the_corpus_is_large_and_every_row_is_there_once() -> None:
    assert len({(entry.kind, entry.name) for entry in ENTRIES}) == len(ENTRIES) >= 100
    counts = Counter(entry.kind for entry in ENTRIES)
    assert sorted(counts) == sorted(KINDS)
    assert all(entry.expected for entry in ENTRIES)


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: f"{entry.kind}-{entry.name}")
def test_a_bad_file_ends_as_its_row_says_and_does_no_harm(
    entry: Entry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folders = given, here, temporary = [tmp_path / name for name in ("given", "here", "temporary")]
    for folder in folders:
        folder.mkdir()
    monkeypatch.chdir(here)
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    threads, children = threading.active_count(), _children()
    Path("/proc/self/clear_refs").write_text("5")  # the peak counts from here
    held_mb, began = _memory_mb("VmRSS"), time.monotonic()

    with SocketGuard() as sockets, WriteGuard(given, temporary) as writes:
        verdict = entry.run(given)

    assert verdict.startswith(entry.expected) if entry.expected.startswith("error") else verdict == entry.expected
    assert "\n" not in verdict
    assert time.monotonic() - began < MAX_SECONDS
    assert _memory_mb("VmHWM") - held_mb < MAX_MEMORY_MB
    assert sockets.violations == []
    assert writes.violations == []
    assert sorted(path.name for path in tmp_path.iterdir()) == ["given", "here", "temporary"]
    assert not list(here.iterdir())
    assert not list(temporary.iterdir())
    assert not [path for path in given.rglob("*") if "evil" in path.name]
    assert threading.active_count() == threads
    assert len(_children()) <= len(children)


def _memory_mb(field: str) -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(field))


def _children() -> list[str]:
    """Processes that this one started and that still run or wait to be collected."""
    return [child for task in Path("/proc/self/task").glob("*/children") for child in task.read_text().split()]
