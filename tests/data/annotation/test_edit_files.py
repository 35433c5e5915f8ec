"""Bad files of corrections end in the one line that the corpus says."""

import json
from pathlib import Path

import pytest

from diffsensei.data.annotation.edit_files import read_edit_files
from diffsensei.data.annotation.machine_layer import MachineLayer
from tests.data.corpus.edit_files import EDIT, ENTRIES, PAGE
from tests.data.corpus.entry import Entry


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.name)
def test_the_corpus(entry: Entry, tmp_path: Path) -> None:
    assert entry.run(tmp_path) == entry.expected


def test_files_are_told_apart_by_content(tmp_path: Path) -> None:
    machine = MachineLayer([PAGE.model_dump()])
    contents = {"a.xml": json.dumps(EDIT), "b.jsonl": "\ufeff <annotations/>", "c.txt": " []", "d.json": ""}
    for name, content in contents.items():
        (tmp_path / name).write_text(content)
    edits = read_edit_files([tmp_path / name for name in contents], machine)
    assert [edit.action for edit in edits] == ["identity"]
