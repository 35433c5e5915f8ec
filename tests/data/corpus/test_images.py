"""Every image of the corpus gets its verdict, within the limits of time and memory."""

from pathlib import Path

import pytest

from tests.data.corpus.entry import Entry
from tests.data.corpus.images import ENTRIES


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.name)
def test_verdict(entry: Entry, tmp_path: Path) -> None:
    assert entry.run(tmp_path) == entry.expected


def test_names_differ() -> None:
    assert len({entry.name for entry in ENTRIES}) == len(ENTRIES) >= 34
