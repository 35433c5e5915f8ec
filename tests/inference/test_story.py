"""Story files: what is accepted, and how faults are told."""

import copy
import json
import re
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from diffsensei import inference
from diffsensei.data.synthetic.portraits import write_cast
from diffsensei.inference.story import MAX_FILE_BYTES, Story, character_images, parse_story, read_story
from diffsensei.methods.reference_image import read_reference

REPOSITORY = Path(__file__).parents[2]
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
        (changed("pages", 0, "panels", 0, "dialogs", 0, "box", value=[-0.1, 0, 1, 1]), r"dialogs.0.box: .*0 <= x1"),
        (changed("pages", 0, "panels", 0, "dialogs", 0, "box", value=[0, 0, 1.5, 1]), r"dialogs.0.box: .*<= 1"),
        (changed("pages", 0, "panels", 0, "characters", 0, "box", value=[0, 0, float("nan"), 1]), r"finite number"),
        (changed("pages", 0, "panels", 0, "characters", 0, "box", value=[0, 0, 1]), r"box.3: Field required"),
        (changed("pages", 0, "panels", value=[{"caption": ""}, {"caption": "", "box": [0, 0, 1, 1]}]), "panel 1 of 2"),
        (
            changed("pages", 0, "panels", value=[{"caption": ""}] * 13),
            r"at most 12 panels on a page without boxes, got",
        ),
        (changed("reading", value="up"), r"reading: "),
        (STORY | {"pages": [STORY["pages"][0] | {"width": 8192, "height": 8192}] * 8}, "at most 500000000 pixels"),
        (changed("pages", 0, "width", value=9), r"pages.0.width: "),
        ("nothing", r"story: Input should be an object"),
    ],
)
def test_faults_are_named_in_one_line(tmp_path: Path, story: object, message: str) -> None:
    with pytest.raises(ValueError, match=message) as error:
        read_story(write(tmp_path, story))
    assert "\n" not in str(error.value)


def test_what_is_no_json_is_one_line(tmp_path: Path) -> None:
    path = tmp_path / "story.json"
    for data in (b"{", b"\xff\xfe\x00", b"", b"[" * 100_000):
        path.write_bytes(data)
        with pytest.raises(ValueError, match=r"story.json: story: Invalid JSON") as error:
            read_story(path)
        assert "\n" not in str(error.value)
    path.write_bytes(b" " * (MAX_FILE_BYTES + 1))
    with pytest.raises(ValueError, match="expected at most"):
        read_story(path)


def test_the_document_shows_a_story_and_names_that_exist() -> None:
    text = (REPOSITORY / "docs" / "story.md").read_text()
    (example,) = re.findall(r"```json\n(.*?)```", text, flags=re.DOTALL)
    assert len(parse_story(example).pages[0].panels) == 2
    (program,) = re.findall(r"```python\n(.*?)```", text, flags=re.DOTALL)
    (imported,) = re.findall(r"from diffsensei.inference import (.*)", program)
    assert [name for name in imported.split(", ") if name not in inference.__all__] == []
    assert all(hasattr(inference, name) for name in inference.__all__)


def test_the_committed_schema_is_the_schema() -> None:
    committed = json.loads((REPOSITORY / "docs" / "story.schema.json").read_text())
    assert committed == Story.model_json_schema()


def test_the_schema_may_be_named_in_the_file() -> None:
    story = parse_story(json.dumps(STORY | {"$schema": "story.schema.json"}))
    assert story.replaced(seed=3).seed == 3


def test_the_example_is_a_story_with_the_cast_of_the_synthetic_world(tmp_path: Path) -> None:
    folder = REPOSITORY / "examples" / "rainy-day"
    story = read_story(folder / "story.json")
    images = character_images(story, folder)
    write_cast(1, 2, tmp_path)
    for name, portrait in {"mika": "long-ribbon", "ren": "spiky-none", "aunt": "bob-hat"}.items():
        assert (read_reference(images[name]) == read_reference(tmp_path / f"{portrait}.png")).all()


def with_image(name: str) -> Story:
    return Story.model_validate(STORY | {"characters": {"mika": name}})


def test_images_lie_inside_the_storys_folder_unless_given_by_hand(tmp_path: Path) -> None:
    folder = tmp_path / "story"
    (folder / "cast").mkdir(parents=True)
    outside, inside = tmp_path / "secret.png", folder / "cast" / "mika.png"
    for path in (outside, inside):
        Image.new("L", (8, 8)).save(path)
    (folder / "link.png").symlink_to(outside)
    (folder / "alias.png").symlink_to(inside)
    for name in ("cast/mika.png", "alias.png", "cast/../cast/mika.png"):
        assert character_images(with_image(name), folder) == {"mika": inside}
    for name in ("../secret.png", str(outside), str(inside), "link.png", "cast/../../secret.png"):
        with pytest.raises(ValueError, match=r"characters.mika: expected an image inside the story's folder"):
            character_images(with_image(name), folder)
    assert character_images(with_image("../secret.png"), folder, {"mika": outside}) == {"mika": outside}
    for name in ("", "a\0b", "cast"):
        with pytest.raises(ValueError, match=r"characters.mika: expected"):
            character_images(with_image(name), folder)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="expected a story file"):
        read_story(tmp_path / "story.json")
