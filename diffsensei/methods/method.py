"""What every compared method is, and the pages it reads: the only things evaluation needs to know."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Protocol, TypeVar

from PIL import Image

from diffsensei.config.schema import SamplingConfig

CAPTION = "caption"
CHARACTER_IMAGES = "character_images"
CHARACTER_BOXES = "character_boxes"
DIALOG_BOXES = "dialog_boxes"
OTHER_PANELS = "other_panels"
"""Other panels of the page: their captions, or their images as the method drew them."""
GIVEN_PANEL = "given_panel"
"""The page's given panel, as it is."""

Box = tuple[float, float, float, float]


class Character(Protocol):
    """A character of a panel: where it stands (xyxy relative to the panel), and an image file of it."""

    @property
    def box(self) -> Box: ...
    @property
    def reference(self) -> str: ...


class Panel(Protocol):
    """A panel to draw, at ``height`` x ``width`` pixels; ``seed`` decides its noise."""

    @property
    def panel_id(self) -> str: ...
    @property
    def height(self) -> int: ...
    @property
    def width(self) -> int: ...
    @property
    def caption(self) -> str: ...
    @property
    def characters(self) -> Sequence[Character]: ...
    @property
    def dialogs(self) -> Sequence[Box]: ...
    @property
    def seed(self) -> int: ...
    @property
    def given(self) -> str:
        """An image file of the panel as it is, or empty. A given panel is not drawn: later ones may follow it."""
        ...


SomePanel = TypeVar("SomePanel", bound=Panel)

Page = Sequence[Panel]
"""The panels of a page in reading order."""


class Method(Protocol):
    """A way of drawing the panels of pages."""

    @property
    def name(self) -> str: ...

    @property
    def consumes(self) -> frozenset[str]:
        """What it reads of pages (constants above); the rest has no influence, to the bit."""
        ...

    @property
    def deviations(self) -> tuple[str, ...]:
        """Where it knowingly departs from its publication, one sentence each; shown in the report."""
        ...

    def pieces(self, pages: Sequence[Page], sampling: SamplingConfig) -> list[list[Page]]:
        """What is drawn together: the images of a piece depend on nothing outside it, to the bit."""
        ...

    def generate(
        self, pages: Sequence[Page], folder: Path, sampling: SamplingConfig
    ) -> Iterator[tuple[str, Image.Image]]:
        """Id and grey image of each panel that is not given, in any order. Files lie relative to ``folder``."""
        ...
