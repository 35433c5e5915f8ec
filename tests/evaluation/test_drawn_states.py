"""The states of a drawn world's characters, found again from what a benchmark asks for."""

import json
from pathlib import Path

import numpy as np
import pytest

from diffsensei.config.schema import SyntheticSource
from diffsensei.data.page_paths import page_id_of
from diffsensei.data.synthetic.page import draw_page
from diffsensei.data.synthetic.world import draw_world
from diffsensei.evaluation.benchmark import BenchmarkCharacter, BenchmarkPanel
from diffsensei.evaluation.drawn_states import copy_states, drawn_states
from diffsensei.geometry import cover_crop, to_relative
from diffsensei.progress import Progress

SOURCE = SyntheticSource(num_series=1, pages_per_series=3, page_height=160, seed=4)


@pytest.fixture(scope="module")
def world(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("world")
    draw_world(SOURCE, folder, Progress(folder / "progress.json", "draw", 3, "pages"))
    return folder


def _asked(page: dict, index: int, height: int, width: int, order: list[int]) -> BenchmarkPanel:
    """Panel ``index`` at another size, so with its sides cut off, and its characters in another order."""
    panel = page["panels"][index]
    frame = np.rint(panel["box"])
    boxes = to_relative(np.array([panel["characters"][i]["box"] for i in order]).reshape(-1, 4), frame)
    moved = cover_crop(boxes, int(frame[3] - frame[1]), int(frame[2] - frame[0]), height, width)
    characters = tuple(
        BenchmarkCharacter(
            id=str(slot), box=tuple(box), reference="r.png", source_kind="same_panel", place="p:0", source="p:0", type=0
        )
        for slot, box in enumerate(np.clip(moved, 0, 1).round(6).tolist())
    )
    return BenchmarkPanel(
        panel_id=f"{page_id_of(page['image_path'])}-{index}",
        page_id=page_id_of(page["image_path"]),
        series="s",
        panel_index=index,
        height=height,
        width=width,
        caption="",
        characters=characters,
        unfed_dialogs=(),
    )


def test_states_are_those_that_were_drawn_whatever_the_order_and_size(world: Path) -> None:
    truth = json.loads((world / "world.json").read_text())["pages"]
    asked, expected = [], []
    for number, page in enumerate(truth):
        for index, placed in enumerate(draw_page(SOURCE, 0, number).panels):
            order = list(range(len(placed.drawn.characters)))[::-1]
            asked.append(_asked(page, index, 48, 80, order))
            expected.append([placed.drawn.characters[i].state for i in order])
    found = drawn_states(world, asked)
    assert found is not None
    pairs = [pair for row, trues in zip(found, expected, strict=True) for pair in zip(row, trues, strict=True)]
    known = [(state, true) for state, true in pairs if state]
    assert len(known) >= 0.9 * sum(map(len, expected)) > 10  # a box mostly cut off may be nobody's
    for state, true in known:
        assert state == {name: getattr(true, name) for name in ("expression", "pose", "facing", "distance")}


def test_a_copy_knows_the_states_of_its_pages_and_no_others(world: Path, tmp_path: Path) -> None:
    truth = json.loads((world / "world.json").read_text())["pages"]
    kept, left = (_asked(page, 0, 48, 80, list(range(len(page["panels"][0]["characters"])))) for page in truth[:2])
    copy_states(world, {kept.page_id}, tmp_path / "copy")
    whole = drawn_states(world, [kept, left])
    assert whole is not None
    assert any(whole[0])
    assert any(whole[1])
    assert drawn_states(tmp_path / "copy", [kept, left]) == [whole[0], [None] * len(left.characters)]

    (tmp_path / "no-world").mkdir()
    copy_states(tmp_path / "no-world", {kept.page_id}, tmp_path / "nothing")
    assert drawn_states(tmp_path / "nothing", [kept]) is None


def test_a_box_that_nobody_has_and_a_page_that_is_not_drawn_have_no_state(world: Path) -> None:
    page = json.loads((world / "world.json").read_text())["pages"][0]
    index = next(i for i, panel in enumerate(page["panels"]) if panel["characters"])
    panel = _asked(page, index, 64, 64, [0])
    elsewhere = panel.characters[0].replaced(box=(0.0, 0.0, 0.05, 0.05))
    assert drawn_states(world, [panel.replaced(characters=(elsewhere.model_dump(),))]) == [[None]]
    assert drawn_states(world, [panel.replaced(page_id="0" * 16)]) == [[None]]
    assert drawn_states(world, [panel.replaced(panel_index=99)]) == [[None]]
    assert drawn_states(world, [panel.replaced(characters=())]) == [[]]


def test_what_is_no_drawn_world_has_no_states_at_all(tmp_path: Path) -> None:
    assert drawn_states(tmp_path, []) is None
