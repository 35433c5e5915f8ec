"""Panel requests on disk."""

from pathlib import Path

import pytest

from diffsensei.inference.request import CharacterRequest, PanelRequest, read_requests

PANEL = PanelRequest(
    panel_id="p-0",
    height=64,
    width=48,
    caption="a boy runs",
    characters=(CharacterRequest(id="7", box=(0.0, -0.1, 0.5, 1.0), reference="references/p-0-0.png"),),
    dialogs=((0.5, 0.0, 1.0, 0.4),),
    seed=3,
)


def write(path: Path, *lines: str) -> Path:
    path.write_text("\n".join(lines) + "\n")
    return path


def test_requests_come_back_and_a_records_other_fields_are_ignored(tmp_path: Path) -> None:
    richer = PANEL.model_dump_json()[:-1] + ',"series":"a","panel_index":7}'
    other = PANEL.replaced(panel_id="p-1")
    assert read_requests(write(tmp_path / "panels.jsonl", richer, other.model_dump_json())) == [PANEL, other]


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (['{"panel_id":"a"}'], r"panels.jsonl:1: height: Field required"),
        ([PANEL.model_dump_json(), "{"], r"panels.jsonl:2: line: Invalid JSON"),
        ([PANEL.model_dump_json()] * 2, r"got \['p-0'\] more often"),
        ([PANEL.model_dump_json().replace("p-0", "../p", 1)], r"panels.jsonl:1: panel_id"),
    ],
)
def test_faults_are_named_in_one_line(tmp_path: Path, lines: list[str], message: str) -> None:
    with pytest.raises(ValueError, match=message) as error:
        read_requests(write(tmp_path / "panels.jsonl", *lines))
    assert "\n" not in str(error.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no such file"):
        read_requests(tmp_path / "panels.jsonl")
