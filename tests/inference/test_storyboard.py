"""Stories from files to files: requests, drawings, warnings, and nothing written where something is wrong."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from diffsensei.config.schema import SamplingConfig
from diffsensei.inference import DiffSenseiPipeline, DrawingOptions, Lettering, Story, draw_story, generate_story
from diffsensei.inference.pipeline import build_pipeline
from diffsensei.inference.story import character_images, read_story
from diffsensei.inference.storyboard import story_requests

EXAMPLE = Path(__file__).parents[2] / "examples" / "rainy-day" / "story.json"


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def pipeline(trained: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pipeline")
    build_pipeline(trained.foundations, trained.stage1, trained.stage2, torch.device("cpu")).save_pretrained(folder)
    return folder


@pytest.fixture
def story_file(tmp_path: Path) -> Path:
    folder = tmp_path / "story"
    (folder / "cast").mkdir(parents=True)
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 30), dtype=np.uint8)).save(folder / "cast/mika.png")
    panel = {"caption": "a girl", "characters": [{"name": "mika"}], "dialogs": [{"text": "Rain!"}]}
    page = {"width": 120, "height": 160, "panels": [panel, panel]}
    (folder / "story.json").write_text(json.dumps({"characters": {"mika": "cast/mika.png"}, "pages": [page] * 2}))
    return folder / "story.json"


@pytest.fixture
def draw(pipeline: Path, sampling: SamplingConfig, tmp_path: Path) -> Any:
    def drawn(story: Path, output: Path, **options: Any) -> tuple[list[Path], list[str]]:
        warnings: list[str] = []
        written = generate_story(
            story=story,
            pipeline=pipeline,
            sampling=sampling.replaced(steps=2),
            panel_side=32,
            num_threads=1,
            output=output,
            report=warnings.append,
            **options,
        )
        return written, warnings

    return drawn


def test_a_story_file_becomes_the_same_pages_each_time(draw: Any, story_file: Path, tmp_path: Path) -> None:
    first, warnings = draw(story_file, tmp_path / "first")
    assert [path.relative_to(tmp_path).as_posix() for path in first] == ["first/page-001.png", "first/page-002.png"]
    assert warnings == []
    second, _ = draw(story_file, tmp_path / "out" / "rain.png")
    assert [path.name for path in second] == ["rain-001.png", "rain-002.png"]
    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in second]
    assert first[0].read_bytes() != first[1].read_bytes()
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["rain-001.png", "rain-002.png"]
    with Image.open(first[0]) as page:
        assert (page.mode, page.size) == ("L", (120, 160))


def test_a_character_is_the_same_file_on_every_page_and_another_image_shows(
    draw: Any, story_file: Path, tmp_path: Path
) -> None:
    story = read_story(story_file)
    requests = story_requests(story, character_images(story, story_file.parent), 32)
    references = {character.reference for page in requests for panel in page for character in panel.characters}
    assert references == {str(story_file.parent / "cast" / "mika.png")}
    other = tmp_path / "other.png"
    Image.new("L", (64, 20), 30).save(other)
    first, _ = draw(story_file, tmp_path / "a")
    second, _ = draw(story_file, tmp_path / "b", options=DrawingOptions(characters={"mika": other}))
    assert first[0].read_bytes() != second[0].read_bytes()


def test_seeds_follow_the_story_unless_a_panel_has_its_own() -> None:
    panel = {"box": [0.0, 0.0, 1.0, 1.0], "caption": "x"}
    page = {"width": 100, "height": 100, "panels": [panel, panel | {"seed": 5}, panel]}

    def seeds(story_seed: int) -> list[int]:
        story = Story.model_validate({"pages": [page], "seed": story_seed})
        return [request.seed for request in story_requests(story, {}, 64)[0]]

    assert seeds(0)[1] == seeds(1)[1] == 5
    assert len({*seeds(0), *seeds(1)}) == 5


def test_what_was_drawn_otherwise_than_asked_is_told(draw: Any, story_file: Path, tmp_path: Path) -> None:
    story = json.loads(story_file.read_text())
    story["pages"] = story["pages"][:1]
    panel = story["pages"][0]["panels"][1]
    panel["caption"] = "rain " * 90 + "umbrella"
    panel["dialogs"] = [{"box": [0, 0, 0.1, 0.1], "text": "word " * 90}]
    story_file.write_text(json.dumps(story))
    written, warnings = draw(story_file, tmp_path / "page.png")
    assert written == [tmp_path / "page.png"]
    assert len(warnings) == 2
    assert warnings[0].startswith("page1-panel2: the caption is too long, the model does not read 'rain")
    assert warnings[0].endswith("umbrella'; shorten it")
    assert warnings[1].startswith("page 1, panel 2: the text 'word")


@pytest.mark.parametrize(
    ("change", "options", "message"),
    [
        ({"characters": {"mika": "cast/none.png"}}, {}, r"characters.mika: expected a character image at .*no file"),
        ({"seed": -1}, {}, "seed: "),
        ({}, {"options": DrawingOptions(Lettering(font=Path("none.ttf")))}, "expected a font file at none.ttf"),
        ({}, {"options": DrawingOptions(characters={"ren": Path("a.png")})}, "no character 'ren'; known: mika"),
    ],
)
def test_what_is_wrong_is_one_line_and_leaves_nothing(
    draw: Any, story_file: Path, tmp_path: Path, change: dict[str, Any], options: dict[str, Any], message: str
) -> None:
    story_file.write_text(json.dumps(json.loads(story_file.read_text()) | change))
    with pytest.raises(ValueError, match=message) as error:
        draw(story_file, tmp_path / "pages", **options)
    assert "\n" not in str(error.value)
    assert not (tmp_path / "pages").exists()


def test_too_many_characters_are_refused_by_the_number_the_model_takes(
    draw: Any, story_file: Path, tmp_path: Path
) -> None:
    story = json.loads(story_file.read_text())
    story["pages"][1]["panels"][0]["characters"] = [{"name": "mika"}] * 5
    story_file.write_text(json.dumps(story))
    with pytest.raises(ValueError, match="panel page2-panel1: expected at most 4 characters, got 5"):
        draw(story_file, tmp_path / "pages")
    assert not (tmp_path / "pages").exists()


@pytest.mark.slow
def test_the_example_draws_without_a_warning(pipeline: Path, sampling: SamplingConfig) -> None:
    story = read_story(EXAMPLE)
    images = character_images(story, EXAMPLE.parent)
    warnings: list[str] = []
    drawer = DiffSenseiPipeline.from_pretrained(pipeline)
    pages = draw_story(story, images, drawer, sampling.replaced(steps=1), 64, Lettering(), warnings.append)
    assert [page.size for page in pages] == [(1240, 1754)] * 2
    assert [len(page.panels) for page in story.pages] == [5, 4]
    assert warnings == []
