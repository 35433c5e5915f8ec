"""What the store holds of a configuration's data, found by the configuration alone."""

import json
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from diffsensei.config import load_preset
from flows.cli import app
from infra.store import Store
from tasks.data_results import find_machine_layer
from tests.data.annotation.pages_on_disk import write_pages
from tests.tasks.finished_stages import finish_stages


@pytest.fixture
def own(tmp_path: Path) -> str:
    """The source of a folder of one's own."""
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "000.png").write_bytes(b"not read here")
    return f"data.source={json.dumps({'kind': 'files', 'paths': [str(tmp_path / 'mine')]})}"


def finished(store: Path, tmp_path: Path, *overrides: str) -> None:
    """Everything up to the machine's boxes: drawn pages, without frames as they came, with frames as detected."""
    results = {"annotations": tmp_path / "listed", "download": write_pages(tmp_path / "brought", count=2, frames=True)}
    shutil.copytree(results["download"], results["annotations"])
    if overrides:
        results["detect"] = tmp_path / "detected"
        results["detect"].mkdir()
        shutil.copy(results["download"] / "annotations.json", results["detect"])
        pages = json.loads((results["download"] / "annotations.json").read_text())
        (results["download"] / "annotations.json").write_text(json.dumps([{**page, "frames": []} for page in pages]))
    finish_stages(Store(store), load_preset("tiny", overrides), results)


def invoke(*arguments: str) -> tuple[int, str, str]:
    done = CliRunner().invoke(app, ["data", *arguments])
    return done.exit_code, done.stdout, done.stderr


def test_boxes_lie_where_the_machine_found_them(tmp_path: Path, own: str) -> None:
    store = Store(tmp_path / "store")
    with pytest.raises(ValueError, match="run `diffsensei run ingest`"):
        find_machine_layer(load_preset("tiny"), store)
    finished(tmp_path / "store", tmp_path / "drawn")
    images, annotated = find_machine_layer(load_preset("tiny"), store)
    assert images == annotated
    finished(tmp_path / "store", tmp_path / "own", own)
    images, annotated = find_machine_layer(load_preset("tiny", [own]), store)
    assert (images / "objects").is_dir()
    assert json.loads((annotated / "annotations.json").read_text())[0]["frames"]


def test_the_commands_of_corrections_find_their_pages(
    tmp_path: Path, own: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DIFFSENSEI_STORE", str(tmp_path / "store"))
    code, _, error = invoke("edit-sheet", "-o", str(tmp_path / "sheets"), "--set", own)
    assert code == 2
    assert "run `diffsensei run ingest` with the same --preset and --set" in error
    finished(tmp_path / "store", tmp_path / "own", own)
    code, told, _ = invoke("edit-sheet", "-o", str(tmp_path / "sheets"), "--set", own)
    assert code == 0
    assert len(told.splitlines()) == 2
    labels = tmp_path / "labels"
    code, told, _ = invoke("export-labels", "-o", str(labels), "--format", "label-studio", "--set", own)
    assert code == 0
    tasks = json.loads(Path(told.splitlines()[0]).read_text())
    exported = [{**task, "annotations": [{"result": task["predictions"][0]["result"]}]} for task in tasks]
    (tmp_path / "export.json").write_text(json.dumps(exported))
    edits = tmp_path / "edits.jsonl"
    code, told, error = invoke("import-labels", str(tmp_path / "export.json"), "-o", str(edits), "--set", own)
    assert (code, told) == (0, f"2 edits: {edits}\n"), error
    code, told, _ = invoke("agreement", str(edits), "--set", own)
    assert code == 0
    assert told.startswith("2 of 2 pages gone over, 0 changed")
