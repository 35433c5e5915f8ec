"""The story file: what ``diffsensei generate story.json`` draws (docs/story.md).

    {
      "characters": {"mika": "cast/mika.png"},
      "pages": [
        {"panels": [
          {"caption": "a girl laughs in the rain", "characters": [{"name": "mika"}], "dialogs": [{"text": "Rain!"}]},
          {"caption": "a street in the rain"}
        ]}
      ]
    }

Every box may be left out (`layout` and `placement` then choose). A panel's box is relative to its page, other boxes to
their panel, all xyxy in [0, 1].
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, ConfigDict, Field, ValidationError, model_validator

from diffsensei.config.base import Config
from diffsensei.methods.reference_image import read_reference

MAX_FILE_BYTES = 4 * 2**20
MAX_AUTOMATIC_PANELS = 12
"""More panels than a page of manga holds need boxes of their own."""
MAX_PIXELS = 500_000_000
"""Of all pages together, since they are kept until the last is drawn: 229 pages of the default size."""


def _has_area_inside(box: tuple[float, float, float, float]) -> tuple[float, float, float, float]:
    x1, y1, x2, y2 = box
    if not (0 <= x1 < x2 <= 1 and 0 <= y1 < y2 <= 1):
        raise ValueError(f"expected [x1, y1, x2, y2] with 0 <= x1 < x2 <= 1 and 0 <= y1 < y2 <= 1, got {list(box)}")
    return box


StoryBox = Annotated[tuple[float, float, float, float], AfterValidator(_has_area_inside)]
Seed = Annotated[int, Field(ge=0, lt=2**63)]
Reading = Literal["rtl", "ltr"]


class StoryCharacter(Config):
    """A character in a panel."""

    name: str
    """A key of the story's ``characters``."""
    box: StoryBox | None = None
    """Where in the panel; null puts those without a box side by side at the bottom, in reading order."""


class StoryDialog(Config):
    """A speech bubble."""

    box: StoryBox | None = None
    """Where in the panel; null puts those without a box at the top, in reading order."""
    text: Annotated[str, Field(max_length=1000)] = ""
    """Lettered into the bubble; empty leaves it to a letterer."""


class StoryPanel(Config):
    """One panel."""

    box: StoryBox | None = None
    """Where on the page; all panels of a page have one, or none has and the page is laid out automatically."""
    weight: Annotated[float, Field(ge=0.2, le=5.0)] = 1.0
    """Automatic layout: share of the page's area beside the other panels'."""
    aspect: Annotated[float, Field(ge=0.2, le=5.0)] | None = None
    """Automatic layout: wished width over height; a hint."""
    caption: str
    characters: Annotated[tuple[StoryCharacter, ...], Field(max_length=64)] = ()
    """The model takes fewer: as many as it was trained with."""
    dialogs: Annotated[tuple[StoryDialog, ...], Field(max_length=64)] = ()
    """In order of speaking."""
    seed: Seed | None = None
    """Another drawing of the same panel; null derives it from the story's seed."""


class StoryPage(Config):
    """One page, in pixels."""

    width: Annotated[int, Field(ge=64, le=8192)] = 1240
    height: Annotated[int, Field(ge=64, le=8192)] = 1754
    margin: Annotated[float, Field(ge=0.0, le=0.2)] = 0.04
    """Automatic layout: blank paper around the panels, over the page's shorter side."""
    gutter: Annotated[float, Field(ge=0.0, le=0.1)] = 0.016
    """Automatic layout: space between panels side by side, over the page's shorter side; rows are half as much
    further apart."""
    panels: Annotated[tuple[StoryPanel, ...], Field(min_length=1, max_length=64)]
    """In reading order."""

    @model_validator(mode="after")
    def _boxes_for_all_or_none(self) -> "StoryPage":
        boxed = [panel.box is not None for panel in self.panels]
        if any(boxed) and not all(boxed):
            raise ValueError(
                f"panel {boxed.index(False) + 1} of {len(boxed)} has no box but others have; give every panel of the "
                "page a box, or none"
            )
        if not boxed[0] and len(boxed) > MAX_AUTOMATIC_PANELS:
            raise ValueError(
                f"expected at most {MAX_AUTOMATIC_PANELS} panels on a page without boxes, got {len(boxed)}; give them "
                "boxes or spread them over pages"
            )
        return self


class Story(Config):
    """The whole file."""

    model_config = ConfigDict(serialize_by_alias=True)

    schema_address: Annotated[str | None, Field(alias="$schema")] = None
    """For editors; ignored."""
    characters: dict[str, str] = Field(default_factory=dict)
    """Name to image file, relative to the story file and inside its folder. One image serves the whole story."""
    pages: Annotated[tuple[StoryPage, ...], Field(min_length=1)]
    reading: Reading = "rtl"
    """Reading direction: from right to left as in Japan, or from left to right."""
    paper: Literal["grey", "black and white"] = "grey"
    """256 shades, or ink and paper only (panels are dithered, letters and frames are not)."""
    seed: Seed = 0

    @model_validator(mode="after")
    def _pages_fit_into_memory(self) -> "Story":
        pixels = sum(page.width * page.height for page in self.pages)
        if pixels > MAX_PIXELS:
            raise ValueError(f"expected at most {MAX_PIXELS} pixels in all pages, got {pixels}; split the story")
        return self

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
    """Raises ValueError, in one line naming the field, if the file is missing or malformed."""
    if not path.is_file():
        raise ValueError(f"expected a story file at {path}, found none; give a JSON file")
    if path.stat().st_size > MAX_FILE_BYTES:
        raise ValueError(f"{path}: expected at most {MAX_FILE_BYTES} bytes of JSON, got {path.stat().st_size}")
    try:
        return parse_story(path.read_bytes())
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def parse_story(data: str | bytes) -> Story:
    """A story from JSON text. Raises ValueError, in one line naming the first field at fault."""
    try:
        return Story.model_validate_json(data)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "story"
        raise ValueError(f"{where}: {first['msg'].removeprefix('Value error, ')}") from error


def character_images(story: Story, folder: Path, given: Mapping[str, Path] | None = None) -> dict[str, Path]:
    """The image of each of the story's characters, once it has been read whole.

    A story names images inside its own ``folder``, subfolders included; what leads out of it (an absolute path, ``..``
    or a symbolic link) is refused, so that a story from somebody else reads nothing else of yours. Images from
    elsewhere are ``given`` by the caller: by name, instead of the story's own. Raises ValueError naming the character.
    """
    given = given or {}
    unknown = sorted(given.keys() - story.characters.keys())
    if unknown:
        raise ValueError(
            f"the story has no character {unknown[0]!r}; known: {', '.join(sorted(story.characters)) or 'none'}"
        )
    images = {name: given.get(name) or _inside(folder, name, path) for name, path in story.characters.items()}
    for name, image in images.items():
        try:
            read_reference(image)
        except ValueError as error:
            raise ValueError(f"characters.{name}: {error}") from error
    return images


def _inside(folder: Path, name: str, path: str) -> Path:
    if "\0" in path or not path:
        raise ValueError(f"characters.{name}: expected the path of an image, got {path!r}")
    try:
        image = (folder / path).resolve()
        is_inside = not Path(path).is_absolute() and image.is_relative_to(folder.resolve())
    except (OSError, RuntimeError) as error:
        raise ValueError(f"characters.{name}: {path!r} cannot be followed ({error})") from error
    if not is_inside:
        raise ValueError(
            f"characters.{name}: expected an image inside the story's folder, {path!r} leads out of it; copy it there "
            f"or give it yourself with --character {name}={path}"
        )
    return image
