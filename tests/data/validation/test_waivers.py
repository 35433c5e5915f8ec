"""Waivers: an item is kept in spite of a check that allows it, and of no other."""

import json
from pathlib import Path

import pytest

from diffsensei.config.presets import paper
from diffsensei.data.validation.annotation_check import check_annotations
from diffsensei.data.validation.waivers import read_waivers
from tests.data.corpus.annotation_files import GOOD

DATA = paper().data


def test_accepted_refused_and_unused(tmp_path: Path) -> None:
    small, outside = (json.loads(json.dumps(GOOD)) | {"image_path": name} for name in ("s/small.jpg", "s/outside.jpg"))
    small["frames"][0]["bbox"] = [10, 10, 40, 410]
    outside["frames"][0]["bbox"] = [1e9, 0, 2e9, 10]
    annotations = tmp_path / "annotations.json"
    annotations.write_text(json.dumps([small, outside]))
    rows = check_annotations(annotations, DATA.validation, DATA.buckets).quarantine
    assert rows["reason"].tolist() == ["panel_too_small", "panel_outside_page"]
    waivers = [{"id": row.id, "reason": row.reason} for row in rows.itertuples()]
    waivers.append({"id": "nobody", "reason": "panel_too_small", "note": "mistyped"})
    path = tmp_path / "waivers.json"
    path.write_text(json.dumps(waivers))
    again = check_annotations(annotations, DATA.validation.replaced(waivers=str(path)), DATA.buckets)
    assert again.quarantine["reason"].tolist() == ["dialog_outside_panel", "panel_outside_page"]
    assert again.counts["panel"] == {"input": 2, "ok": 1, "quarantined": 1, "missing": 0, "removed": 0}
    outcome = again.report["waivers"]
    assert {name: [waiver["id"] for waiver in listed] for name, listed in outcome.items()} == {
        "applied": [waivers[0]["id"]],
        "refused": [waivers[1]["id"]],
        "unused": ["nobody"],
    }


@pytest.mark.parametrize("content", ["", "{}", '[{"id": 3}]', '[{"id": "a", "reason": "b", "until": "c"}]'])
def test_a_file_that_is_none_is_refused_on_one_line(tmp_path: Path, content: str) -> None:
    path = tmp_path / "waivers.json"
    path.write_text(content)
    with pytest.raises(ValueError, match=r"data\.validation\.waivers") as refused:
        read_waivers(str(path))
    assert "\n" not in str(refused.value)
    with pytest.raises(ValueError, match="does not exist"):
        read_waivers(str(tmp_path / "none.json"))


def test_no_file_no_waivers() -> None:
    assert read_waivers("").outcome() == {"applied": [], "refused": [], "unused": []}
