"""Story files: what is accepted, and how faults are told."""

import copy
import json
from pathlib import Path
from typing import Any

import pytest

from diffsensei.inference.story import read_story

STORY: dict[str, Any] = {
    "characters": {"mika": "mika.png"},
    "pages": [
        {
            "width": 200,
            "height": 300,
            "panels": [
                {
                    "box": [0.0, 0.0, 1.0, 0.5],
                    "caption": "a girl laughs",
                    "characters": [{"name": "mika", "box": [0.1, 0.2, 0.5, 1.0]}],
                    "dialogs": [{"box": [0.6, 0.1, 0.9, 0.4], "text": "Ha!"}],
                }
            ],
        }
    ],
}


def write(folder: Path, story: object) -> Path:
    (folder / "mika.png").touch()
    path = folder / "story.json"
    path.write_text(json.dumps(story))
    return path


def test_a_story_is_read(tmp_path: Path) -> None:
    story = read_story(write(tmp_path, STORY))
    assert story.pages[0].panels[0].characters[0].name == "mika"
    assert story.pages[0].panels[0].dialogs[0].text == "Ha!"
    assert story.seed == 0


def changed(*path: str | int, value: object) -> object:
    story = copy.deepcopy(STORY)
    place: Any = story
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = value
    return story


@pytest.mark.parametrize(
    ("story", "message"),
    [
        (changed("pages", 0, "panels", 0, "box", value=[0.5, 0, 0.2, 1]), r"pages.0.panels.0.box: .*x1 < x2"),
        (changed("pages", 0, "panels", 0, "captoin", value="x"), r"pages.0.panels.0.captoin: Extra inputs"),
        (changed("pages", 0, "panels", value=[]), r"pages.0.panels: "),
        (changed("characters", value={}), r"panel 1: character 'mika' has no image; known: none"),
        (changed("characters", "ren", value="ren.png"), r"characters.ren: expected an image at"),
        (changed("pages", 0, "width", value=9), r"pages.0.width: "),
        ("nothing", r"story: Input should be an object"),
    ],
)
def test_faults_are_named_in_one_line(tmp_path: Path, story: object, message: str) -> None:
    with pytest.raises(ValueError, match=message) as error:
        read_story(write(tmp_path, story))
    assert "\n" not in str(error.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="expected a story file"):
        read_story(tmp_path / "story.json")
