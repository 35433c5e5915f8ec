"""Which reader a file of corrections goes to; the bad ones are in the corpus."""

import json
from pathlib import Path

from diffsensei.data.annotation.edit_files import read_edit_files
from diffsensei.data.annotation.machine_layer import MachineLayer
from tests.data.corpus.edit_files import EDIT, PAGE


def test_files_are_told_apart_by_content(tmp_path: Path) -> None:
    machine = MachineLayer([PAGE.model_dump()])
    contents = {"a.xml": json.dumps(EDIT), "b.jsonl": "\ufeff <annotations/>", "c.txt": " []", "d.json": ""}
    for name, content in contents.items():
        (tmp_path / name).write_text(content)
    edits = read_edit_files([tmp_path / name for name in contents], machine)
    assert [edit.action for edit in edits] == ["identity"]
