"""The stage on a synthetic world whose machine confuses people, and annotators who know the truth."""

import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from diffsensei.data.annotation.edits import Edit, IdentityEdit, Review, write_edits
from diffsensei.data.annotation.machine_layer import MachineLayer
from diffsensei.data.annotation.refinement import refine_annotations

WHEN = datetime(2026, 1, 2, tzinfo=UTC)


def corrections(world: Any, annotator: str, pages: list[str]) -> list[Edit]:
    """What somebody who knows the truth corrects."""
    edits: list[Edit] = []
    for key in pages:
        who: dict[str, Any] = {"page_key": key, "annotator": annotator, "ts": WHEN}
        edits.append(Review(**who))
        for name, true in world.truth[key].items():
            seen = world.machine.boxes(key)[name].character_id
            if seen != true:
                edits.append(IdentityEdit(**who, box_id=name, old_id=seen, new_id=true))
    return edits


@pytest.fixture
def refine(world: Any, tmp_path: Path) -> Callable[..., Path]:
    def refined(*files: list[Edit]) -> Path:
        names = []
        for number, edits in enumerate(files):
            names.append(str(tmp_path / f"edits-{number}.jsonl"))
            write_edits(edits, Path(names[-1]))
        output, workspace = tmp_path / "output", tmp_path / "workspace"
        output.mkdir()
        workspace.mkdir()
        refine_annotations(annotations=world.folder, edits=tuple(names), workspace=workspace, output=output)
        return output

    return refined


def read(path: Path) -> Any:
    return json.loads(path.read_text())


def test_corrections_lead_to_the_truth(world: Any, refine: Callable[..., Path]) -> None:
    keys = list(world.truth)
    first = corrections(world, "ann", keys)
    assert sum(isinstance(edit, IdentityEdit) for edit in first) > len(keys)
    output = refine(first, corrections(world, "bob", keys[:2]))
    final = MachineLayer(read(output / "annotations.json"))
    for key in keys:
        ids = {name: box.character_id for name, box in final.boxes(key).items() if box.kind == "character"}
        assert ids == world.truth[key]
    agreement = read(output / "agreement.json")
    assert agreement["machine_and_final"]["f1"] < 0.9
    (between,) = agreement["annotators"]
    assert (between["between"], between["pages"], between["f1"], between["ari"]) == (["ann", "bob"], 2, 1.0, 1.0)
    again = refine_again(world, output, refine)
    assert again["machine_and_final"]["f1"] == 1.0


def refine_again(world: Any, output: Path, refine: Callable[..., Path]) -> Any:
    """The agreement when the corrected layer is the machine's and everything was gone over."""
    edits = [Review(page_key=key, annotator="eve", ts=WHEN) for key in world.truth]
    write_edits(edits, output.parent / "reviews.jsonl")
    target = output.parent / "again"
    target.mkdir()
    refine_annotations(
        annotations=output,
        edits=(str(output.parent / "reviews.jsonl"),),
        workspace=output.parent / "workspace",
        output=target,
    )
    return read(target / "agreement.json")


def test_layers_say_who(world: Any, refine: Callable[..., Path]) -> None:
    key = next(iter(world.truth))
    edits = corrections(world, "ann", [key])
    output = refine(edits)
    layers = pd.read_parquet(output / "layers.parquet")
    assert len(layers) == sum(len(world.machine.boxes(key)) for key in world.truth)
    changed = layers[layers.state == "changed"]
    assert set(changed.by) == {"ann"}
    assert set(layers[layers.state == "kept"].by) == {"machine"}
    assert len(changed) == len(edits) - 1
    assert (changed.machine_id != changed.final_id).all()
    counts = read(output / "layers.json")
    assert (counts["pages"], counts["pages_changed"], counts["pages_untouched"]) == (4, 1, 3)
    assert counts["ids_changed_by_page"] == {key: len(changed)}
    before, after = read(world.folder / "annotations.json"), read(output / "annotations.json")
    assert before[1:] == after[1:]
    assert before[0] != after[0]


def test_disputes_are_listed_and_change_nothing(world: Any, refine: Callable[..., Path]) -> None:
    key = next(iter(world.truth))
    edits = corrections(world, "ann", [key])[1:]
    others = [edit.model_copy(update={"annotator": "bob", "new_id": 99}) for edit in edits]
    output = refine(edits, others)
    disputes = [json.loads(line) for line in (output / "adjudication.jsonl").read_text().splitlines()]
    assert len(disputes) == len(edits)
    assert [edit["annotator"] for edit in disputes[0]["edits"]] == ["ann", "bob"]
    assert read(output / "annotations.json") == read(world.folder / "annotations.json")
    assert read(output / "agreement.json")["annotators"][0]["pages"] == 1


def test_pages_that_cannot_be_read_pass_as_they_are(world: Any, tmp_path: Path) -> None:
    pages = read(world.folder / "annotations.json")
    pages[1:1] = [{"image_path": 3}, {**pages[0], "image_path": "../x"}, pages[0]]
    for name in ("annotations", "workspace", "output"):
        (tmp_path / name).mkdir()
    (tmp_path / "annotations" / "annotations.json").write_text(json.dumps(pages))
    output = tmp_path / "output"
    refine_annotations(annotations=tmp_path / "annotations", edits=(), workspace=tmp_path / "workspace", output=output)
    assert read(output / "annotations.json") == pages
    assert read(output / "layers.json")["unreadable_pages"] == 3


def test_a_file_of_something_else(world: Any, tmp_path: Path) -> None:
    (tmp_path / "edits.jsonl").write_bytes(b"PK\x03\x04")
    with pytest.raises(ValueError, match="expected edits JSONL, Label Studio JSON or CVAT XML"):
        refine_annotations(
            annotations=world.folder, edits=(str(tmp_path / "edits.jsonl"),), workspace=tmp_path, output=tmp_path
        )
