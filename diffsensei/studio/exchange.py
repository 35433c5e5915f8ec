"""What the studio's page sends and gets: a story with its images in, places or finished pages out."""

import base64
import io
import tempfile
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import Base64Bytes, Field, ValidationError

from diffsensei.config.base import Config
from diffsensei.config.schema import SamplingConfig
from diffsensei.inference import DiffSenseiPipeline, Lettering, Story, character_images, draw_story, place_page

MAX_STEPS = 200
Message = TypeVar("Message", bound=Config)


class PlaceMessage(Config):
    """A story to place, its characters perhaps without images yet."""

    story: Story


class DrawMessage(Config):
    """A story to draw."""

    story: Story
    images: Annotated[dict[str, Base64Bytes], Field(max_length=64)]
    """The image file of each character, by name."""
    steps: Annotated[int, Field(ge=1, le=MAX_STEPS)]
    lettering: bool = True
    bubbles: bool = False


@dataclass(frozen=True)
class Drawer:
    """A pipeline and how it samples."""

    pipeline: DiffSenseiPipeline
    sampling: SamplingConfig
    panel_side: int
    """Edge in pixels of the square whose area a panel is drawn with."""
    lock: threading.Lock = field(default_factory=threading.Lock)
    """One story at a time: memory is made for one."""


def place(body: bytes) -> dict[str, Any]:
    """The boxes of everything in the story, given and automatic. Raises ValueError, in one line."""
    story = _read(PlaceMessage, body).story
    return {
        "pages": [
            [
                {"box": panel.box, "characters": panel.characters, "dialogs": panel.dialogs}
                for panel in place_page(page, story.reading)
            ]
            for page in story.pages
        ]
    }


def draw(body: bytes, drawer: Drawer) -> dict[str, Any]:
    """Pages as base64 PNG, and warnings. Raises ValueError, in one line, for what cannot be drawn."""
    message = _read(DrawMessage, body)
    absent = sorted(message.story.characters.keys() - message.images.keys())
    if absent:
        raise ValueError(f"expected an image of every character, {absent[0]!r} has none; choose a file for it")
    warnings: list[str] = []
    with tempfile.TemporaryDirectory(prefix="diffsensei-studio-") as name:
        folder = Path(name)
        given: dict[str, Path] = {}
        for number, character in enumerate(message.story.characters):
            given[character] = folder / f"image-{number}"
            given[character].write_bytes(message.images[character])
        try:
            images = character_images(message.story, folder, given)
        except ValueError as error:
            raise ValueError(str(error).replace(f"{folder}/", "")) from error
        with drawer.lock:
            pages = draw_story(
                message.story,
                images,
                drawer.pipeline,
                drawer.sampling.replaced(steps=message.steps),
                drawer.panel_side,
                Lettering(written=message.lettering, bubbles=message.bubbles),
                warnings.append,
            )
    return {"pages": [_png(page) for page in pages], "warnings": warnings}


def _png(page: Any) -> str:
    data = io.BytesIO()
    page.save(data, format="PNG")
    return base64.b64encode(data.getvalue()).decode("ascii")


def _read(kind: type[Message], body: bytes) -> Message:
    try:
        return kind.model_validate_json(body)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "message"
        raise ValueError(f"{where}: {first['msg'].removeprefix('Value error, ')}") from error
