"""From a story to its pages: one request per panel, the pipeline's drawings, composition."""

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import torch
from PIL import Image

from diffsensei.config.schema import SamplingConfig
from diffsensei.inference.captions import cut_captions
from diffsensei.inference.fonts import check_font
from diffsensei.inference.lettering import Lettering
from diffsensei.inference.page import compose_page, drawing_size, panel_pixels
from diffsensei.inference.page_files import page_paths, write_pages
from diffsensei.inference.pipeline import DiffSenseiPipeline
from diffsensei.inference.placement import PlacedPanel, place_page
from diffsensei.inference.request import CharacterRequest, PanelRequest
from diffsensei.inference.story import Story, StoryPage, character_images, read_story
from diffsensei.seeding import stream_seed


@dataclass(frozen=True)
class DrawingOptions:
    """What the person who draws decides, whatever the story."""

    lettering: Lettering = field(default_factory=Lettering)
    characters: Mapping[str, Path] = field(default_factory=dict)
    """Image files from outside the story's folder, by the character's name."""


def generate_story(
    *,
    story: Path,
    pipeline: Path,
    sampling: SamplingConfig,
    panel_side: int,
    num_threads: int,
    output: Path,
    options: DrawingOptions | None = None,
    report: Callable[[str], None] = warnings.warn,
    load: Callable[[Path], DiffSenseiPipeline] = DiffSenseiPipeline.from_pretrained,
) -> list[Path]:
    """Draw the file ``story`` with the pipeline saved in ``pipeline``; returns the files written (`page_paths`).

    ``panel_side`` is the edge in pixels of the square whose area a panel is drawn with (64 for the tiny preset, 1024
    for SDXL) before it is scaled to its place. ``report`` is told, in one line each, what was drawn otherwise than
    asked: captions and texts that were too long. ``load`` reads the pipeline, once the story is known to be sound.
    Raises ValueError for a story that cannot be drawn or a place that cannot be written to, and leaves nothing there.
    """
    options = options or DrawingOptions()
    plot = read_story(story)
    images = character_images(plot, story.parent, options.characters)
    paths = page_paths(output, len(plot.pages))
    torch.set_num_threads(num_threads)
    pages = draw_story(plot, images, load(pipeline), sampling, panel_side, options.lettering, report)
    write_pages(pages, paths)
    return paths


def draw_story(
    story: Story,
    images: Mapping[str, Path],
    pipeline: DiffSenseiPipeline,
    sampling: SamplingConfig,
    panel_side: int,
    lettering: Lettering | None = None,
    report: Callable[[str], None] = warnings.warn,
) -> list[Image.Image]:
    """The pages of ``story``, grey or black and white; ``images`` as `character_images` gives them.

    Raises ValueError for a font that is none, panels that are too small, or more characters than the pipeline takes.
    """
    lettering = lettering or Lettering()
    if lettering.font is not None:
        check_font(lettering.font)
    requests = story_requests(story, images, panel_side)
    every = [request for page in requests for request in page]
    for line in cut_captions(every, pipeline):
        report(line)
    drawn = iter(pipeline(every, Path(), sampling))
    pages = []
    for number, page in enumerate(story.pages, start=1):
        sheet, complaints = compose_page(
            page,
            [next(drawn) for _ in page.panels],
            reading=story.reading,
            black_and_white=story.paper == "black and white",
            lettering=lettering,
        )
        for complaint in complaints:
            report(f"page {number}, {complaint}")
        pages.append(sheet)
    return pages


def story_requests(story: Story, images: Mapping[str, Path], panel_side: int) -> list[list[PanelRequest]]:
    """One request per panel, by page; a character has the same reference wherever it appears."""
    return [
        [
            _request(story, images, page, placed, panel_side, (page_number, panel_number))
            for panel_number, placed in enumerate(place_page(page, story.reading), start=1)
        ]
        for page_number, page in enumerate(story.pages, start=1)
    ]


def _request(
    story: Story,
    images: Mapping[str, Path],
    page: StoryPage,
    placed: PlacedPanel,
    panel_side: int,
    numbers: tuple[int, int],
) -> PanelRequest:
    page_number, panel_number = numbers
    x1, y1, x2, y2 = panel_pixels(page, placed)
    height, width = drawing_size(y2 - y1, x2 - x1, panel_side)
    derived = stream_seed(story.seed, "page", page_number, "panel", panel_number)
    panel = placed.panel
    return PanelRequest(
        panel_id=f"page{page_number}-panel{panel_number}",
        height=height,
        width=width,
        caption=panel.caption,
        characters=tuple(
            CharacterRequest(id=character.name, box=box, reference=str(images[character.name].absolute()))
            for character, box in zip(panel.characters, placed.characters, strict=True)
        ),
        dialogs=placed.dialogs,
        seed=derived if panel.seed is None else panel.seed,
    )
