"""Pages: sizes to draw at, composition, and a story drawn from files to files."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from diffsensei.config.schema import SamplingConfig
from diffsensei.inference.page import compose_page, drawing_size, generate_story, story_requests
from diffsensei.inference.pipeline import build_pipeline
from diffsensei.inference.story import Story, StoryPage


@given(st.floats(20, 2000), st.floats(20, 2000), st.sampled_from([64, 256, 1024]))
def test_panels_are_drawn_near_the_trained_area_at_their_aspect(height: float, width: float, side: int) -> None:
    drawn_height, drawn_width = drawing_size(height, width, side)
    assert drawn_height % 8 == drawn_width % 8 == 0
    scale = side / (height * width) ** 0.5
    assert abs(drawn_height - height * scale) <= 8
    assert abs(drawn_width - width * scale) <= 8


def test_composition_places_frames_and_letters() -> None:
    page = StoryPage.model_validate(
        {
            "width": 100,
            "height": 80,
            "panels": [
                {"box": [0.1, 0.1, 0.5, 0.9], "caption": "x"},
                {"box": [0.6, 0.1, 0.9, 0.5], "caption": "y", "dialogs": [{"box": [0, 0, 1, 1], "text": "Go"}]},
            ],
        }
    )
    sheet = np.asarray(compose_page(page, [Image.new("L", (8, 16), 100), Image.new("L", (8, 8), 200)]))
    assert sheet.shape == (80, 100)
    assert (sheet[8, 10:50] == 0).all()
    assert (sheet[10:70, 12:48] == 100).all()
    assert (sheet[:, :10] == 255).all()
    second = sheet[10:38, 62:88]
    assert (second == 200).any()
    assert (second < 100).any()


def test_seeds_follow_the_story_unless_a_panel_has_its_own() -> None:
    panel = {"box": [0.0, 0.0, 1.0, 1.0], "caption": "x"}
    page = {"width": 100, "height": 100, "panels": [panel, panel | {"seed": 5}, panel]}

    def seeds(story_seed: int) -> list[int]:
        story = Story.model_validate({"pages": [page], "seed": story_seed})
        return [request.seed for request in story_requests(story, 64)[0]]

    assert seeds(0)[1] == seeds(1)[1] == 5
    assert len({*seeds(0), *seeds(1)}) == 5


def test_a_story_file_becomes_pages(
    trained: Any, requests_folder: Path, sampling: SamplingConfig, tmp_path: Path
) -> None:
    pipeline = build_pipeline(trained.foundations, trained.stage1, None, torch.device("cpu"))
    pipeline.save_pretrained(tmp_path / "pipeline")
    character = {"name": "mika", "box": [0.2, 0.2, 0.8, 1.0]}
    panel = {"box": [0.05, 0.05, 0.95, 0.5], "caption": "a girl", "characters": [character]}
    story = tmp_path / "story.json"
    image = str(requests_folder / "references" / "a.png")
    pages = [{"width": 120, "height": 160, "panels": [panel]}] * 2
    story.write_text(json.dumps({"characters": {"mika": image}, "pages": pages}))

    def draw(output: Path) -> list[bytes]:
        written = generate_story(
            story=story,
            pipeline=tmp_path / "pipeline",
            sampling=sampling.replaced(steps=2),
            panel_side=32,
            num_threads=1,
            output=output,
        )
        assert [path.name for path in written] == ["page-001.png", "page-002.png"]
        return [path.read_bytes() for path in written]

    first = draw(tmp_path / "first")
    assert first == draw(tmp_path / "second")
    assert first[0] != first[1]
    with Image.open(tmp_path / "first" / "page-001.png") as page:
        assert (page.mode, page.size) == ("L", (120, 160))


def test_an_unlettered_bubble_stays_empty() -> None:
    box = {"box": [0.0, 0.0, 1.0, 1.0]}
    page = StoryPage.model_validate(
        {"width": 64, "height": 64, "panels": [box | {"caption": "", "dialogs": [box | {"text": "  "}]}]}
    )
    inside = np.asarray(compose_page(page, [Image.new("L", (8, 8), 200)]))[3:-3, 3:-3]
    assert (inside == 200).all()


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)
