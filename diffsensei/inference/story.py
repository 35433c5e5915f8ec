"""The story file: what ``diffsensei generate story.json`` draws.

    {
      "characters": {"mika": "mika.png", "ren": "ren.png"},
      "pages": [
        {
          "width": 640, "height": 960,
          "panels": [
            {
              "box": [0.04, 0.03, 0.96, 0.48],
              "caption": "A girl with short hair laughs in the rain.",
              "characters": [{"name": "mika", "box": [0.1, 0.2, 0.5, 1.0]}],
              "dialogs": [{"box": [0.6, 0.05, 0.95, 0.4], "text": "Rain again!"}]
            }
          ]
        }
      ]
    }

Images lie relative to the file. A panel's box is relative to its page, other boxes to their panel, all xyxy in [0, 1].
"""

from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, Field, ValidationError, model_validator

from diffsensei.config.base import Config


def _has_area_inside(box: tuple[float, float, float, float]) -> tuple[float, float, float, float]:
    x1, y1, x2, y2 = box
    if not (0 <= x1 < x2 <= 1 and 0 <= y1 < y2 <= 1):
        raise ValueError(f"expected [x1, y1, x2, y2] with 0 <= x1 < x2 <= 1 and 0 <= y1 < y2 <= 1, got {list(box)}")
    return box


StoryBox = Annotated[tuple[float, float, float, float], AfterValidator(_has_area_inside)]
Seed = Annotated[int, Field(ge=0, lt=2**63)]


class StoryCharacter(Config):
    """A character in a panel."""

    name: str
    """A key of the story's ``characters``."""
    box: StoryBox


class StoryDialog(Config):
    """A speech bubble."""

    box: StoryBox
    text: str = ""
    """Lettered into the bubble; empty leaves it to a letterer."""


class StoryPanel(Config):
    """One panel."""

    box: StoryBox
    """Where on the page."""
    caption: str
    characters: tuple[StoryCharacter, ...] = ()
    dialogs: tuple[StoryDialog, ...] = ()
    seed: Seed | None = None
    """Another drawing of the same panel; null derives it from the story's seed."""


class StoryPage(Config):
    """One page, in pixels."""

    width: Annotated[int, Field(ge=64, le=8192)]
    height: Annotated[int, Field(ge=64, le=8192)]
    panels: Annotated[tuple[StoryPanel, ...], Field(min_length=1)]


class Story(Config):
    """The whole file."""

    characters: dict[str, str] = Field(default_factory=dict)
    """Name to image file, relative to the story file. One image serves the whole story."""
    pages: Annotated[tuple[StoryPage, ...], Field(min_length=1)]
    seed: Seed = 0

    @model_validator(mode="after")
    def _cast_is_known(self) -> "Story":
        for page_number, page in enumerate(self.pages, start=1):
            for panel_number, panel in enumerate(page.panels, start=1):
                for character in panel.characters:
                    if character.name not in self.characters:
                        raise ValueError(
                            f"page {page_number}, panel {panel_number}: character {character.name!r} has no image; "
                            f"known: {', '.join(sorted(self.characters)) or 'none'}"
                        )
        return self


def read_story(path: Path) -> Story:
    """Raises ValueError, in one line naming the field, if the file or a character's image is missing or malformed."""
    if not path.is_file():
        raise ValueError(f"expected a story file at {path}, found none; give a JSON file")
    try:
        story = Story.model_validate_json(path.read_text())
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "story"
        raise ValueError(f"{path}: {where}: {first['msg']}") from error
    for name, image in sorted(story.characters.items()):
        if not (path.parent / image).is_file():
            raise ValueError(f"{path}: characters.{name}: expected an image at {path.parent / image}, found none")
    return story
