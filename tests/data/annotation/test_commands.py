"""The commands around corrections, from a finished download to edits and figures."""

import json
from pathlib import Path
from typing import Any

import cv2
import pytest
from typer.testing import CliRunner

from diffsensei.data.page_paths import page_id_of
from flows.cli import app


def invoke(*arguments: str | Path) -> tuple[int, str, str]:
    done = CliRunner().invoke(app, ["data", *map(str, arguments)])
    return done.exit_code, done.stdout, done.stderr


def test_sheets(world: Any, tmp_path: Path) -> None:
    code, told, _ = invoke("edit-sheet", "--annotations", world.folder, "-o", tmp_path / "sheets")
    assert code == 0
    assert [Path(line) for line in told.splitlines()] == [
        tmp_path / "sheets" / f"{page_id_of(key)}.html" for key in world.truth
    ]


@pytest.mark.parametrize("tool", ["label-studio", "cvat"])
def test_there_and_back_through_a_tool(world: Any, tmp_path: Path, tool: str) -> None:
    labels = tmp_path / "labels"
    code, told, _ = invoke("export-labels", "--annotations", world.folder, "--format", tool, "-o", labels)
    assert code == 0
    boxes = Path(told.splitlines()[0])
    key, page = next(iter(world.machine.pages.items()))
    width = sum(image.width for image in page.meta.images)
    assert cv2.imread(str(labels / "images" / f"{page_id_of(key)}.png")).shape[1] == width
    if tool == "label-studio":
        tasks = json.loads(boxes.read_text())
        assert tasks[0]["data"]["image"] == f"/data/local-files/?d=images/{page_id_of(key)}.png"
        exported = [{**task, "annotations": [{"result": task["predictions"][0]["result"]}]} for task in tasks]
        boxes = tmp_path / "export.json"
        boxes.write_text(json.dumps(exported))
    output = tmp_path / "edits.jsonl"
    code, told, error = invoke("import-labels", boxes, "--annotations", world.folder, "-o", output)
    assert (code, error) == (0, "")
    assert told == f"{len(world.truth)} edits: {output}\n"
    assert {json.loads(line)["action"] for line in output.read_text().splitlines()} == {"review"}
    code, told, _ = invoke("agreement", output, "--annotations", world.folder, "-o", tmp_path / "agreement.json")
    assert code == 0
    assert told.startswith("4 of 4 pages gone over, 0 changed, 0 ids changed, 0 boxes in dispute\nmachine and final: 4")
    assert json.loads((tmp_path / "agreement.json").read_text())["machine_and_final"]["f1"] == 1.0


def test_what_is_wrong_is_one_line(world: Any, tmp_path: Path) -> None:
    (tmp_path / "edits.jsonl").write_text("{}")
    code, _, error = invoke("agreement", tmp_path / "edits.jsonl", "--annotations", world.folder)
    assert code == 2
    assert error.startswith("error: edits.jsonl line 1: ")
    assert error.count("\n") == 1
    (tmp_path / "annotations.json").write_text("[]")
    code, _, error = invoke("edit-sheet", "--annotations", tmp_path, "-o", tmp_path / "sheets")
    assert code == 2
    assert "no halves.parquet; give the output of the download stage" in error
    code, _, error = invoke("export-labels", "--annotations", world.folder, "--format", "cvat", "-o", tmp_path)
    assert code == 2
    assert "is not empty; give a new folder" in error
