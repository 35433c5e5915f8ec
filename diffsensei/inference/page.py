"""From a story file to pages: panels drawn at the size the model was trained for, placed, framed and lettered."""

import math
from collections.abc import Callable
from pathlib import Path

import torch
from PIL import Image, ImageDraw

from diffsensei.config.schema import SamplingConfig
from diffsensei.inference.lettering import letter
from diffsensei.inference.pipeline import DiffSenseiPipeline
from diffsensei.inference.request import CharacterRequest, PanelRequest
from diffsensei.inference.story import Story, StoryPage, StoryPanel, read_story
from diffsensei.seeding import stream_seed

FRAME_PX = 2
PAPER, INK = 255, 0
SIZE_MULTIPLE = 8
"""Panels are drawn at multiples of this many pixels: SDXL's autoencoder factor, and a multiple of smaller ones'."""

PixelBox = tuple[int, int, int, int]


def generate_story(
    *,
    story: Path,
    pipeline: Path,
    sampling: SamplingConfig,
    panel_side: int,
    num_threads: int,
    output: Path,
    load: Callable[[Path], DiffSenseiPipeline] = DiffSenseiPipeline.from_pretrained,
) -> list[Path]:
    """Draw ``story`` (a file, see `story`) with the pipeline saved in ``pipeline``; write ``output/page-001.png``...

    ``panel_side`` is the edge in pixels of the square whose area a panel is drawn with (64 for the tiny preset, 1024
    for SDXL) before it is scaled to its place; ``load`` reads the pipeline, after the story. Returns the files written.
    Raises ValueError for a story that cannot be drawn.
    """
    torch.set_num_threads(num_threads)
    plot = read_story(story)
    drawer = load(pipeline)
    if torch.cuda.is_available():
        drawer.to("cuda")
    requests = story_requests(plot, panel_side)
    images = drawer([request for page in requests for request in page], story.parent, sampling)
    remaining = iter(images)
    output.mkdir(parents=True, exist_ok=True)
    written = []
    for number, page in enumerate(plot.pages, start=1):
        path = output / f"page-{number:03d}.png"
        compose_page(page, [next(remaining) for _ in page.panels]).save(path)
        written.append(path)
    return written


def story_requests(story: Story, panel_side: int) -> list[list[PanelRequest]]:
    """One request per panel, by page."""
    return [
        [
            _request(story, panel, page, panel_side, page_number, panel_number)
            for panel_number, panel in enumerate(page.panels, start=1)
        ]
        for page_number, page in enumerate(story.pages, start=1)
    ]


def compose_page(page: StoryPage, images: list[Image.Image]) -> Image.Image:
    """``images`` (grey, one per panel) scaled into their boxes on white paper, framed, with the dialogs' text."""
    sheet = Image.new("L", (page.width, page.height), PAPER)
    draw = ImageDraw.Draw(sheet)
    for panel, image in zip(page.panels, images, strict=True):
        place = _pixels(panel.box, (0, 0, page.width, page.height))
        x1, y1, x2, y2 = place
        sheet.paste(image.resize((x2 - x1, y2 - y1), Image.Resampling.LANCZOS), (x1, y1))
        draw.rectangle((x1, y1, x2 - 1, y2 - 1), outline=INK, width=FRAME_PX)
        for dialog in panel.dialogs:
            if dialog.text.strip():
                letter(sheet, _pixels(dialog.box, place), dialog.text)
    return sheet


def drawing_size(height: float, width: float, panel_side: int) -> tuple[int, int]:
    """(height, width) in multiples of `SIZE_MULTIPLE`, of the same aspect as given and about panel_side^2 in area."""
    scale = panel_side / math.sqrt(height * width)
    rounded = [max(round(side * scale / SIZE_MULTIPLE), 1) * SIZE_MULTIPLE for side in (height, width)]
    return rounded[0], rounded[1]


def _request(
    story: Story, panel: StoryPanel, page: StoryPage, panel_side: int, page_number: int, panel_number: int
) -> PanelRequest:
    x1, y1, x2, y2 = _pixels(panel.box, (0, 0, page.width, page.height))
    height, width = drawing_size(y2 - y1, x2 - x1, panel_side)
    derived = stream_seed(story.seed, "page", page_number, "panel", panel_number)
    return PanelRequest(
        panel_id=f"page{page_number}-panel{panel_number}",
        height=height,
        width=width,
        caption=panel.caption,
        characters=tuple(
            CharacterRequest(id=character.name, box=character.box, reference=story.characters[character.name])
            for character in panel.characters
        ),
        dialogs=tuple(dialog.box for dialog in panel.dialogs),
        seed=derived if panel.seed is None else panel.seed,
    )


def _pixels(box: tuple[float, float, float, float], frame: PixelBox) -> PixelBox:
    """``box`` relative to ``frame`` in pixels, at least one pixel each way."""
    left, top, right, bottom = frame
    x1, x2 = (round(left + edge * (right - left)) for edge in (box[0], box[2]))
    y1, y2 = (round(top + edge * (bottom - top)) for edge in (box[1], box[3]))
    return x1, y1, max(x2, x1 + 1), max(y2, y1 + 1)
