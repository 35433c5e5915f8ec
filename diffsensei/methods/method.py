"""What every compared method is, and the panel description it reads: the only things evaluation needs to know."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Protocol

from PIL import Image

from diffsensei.config.schema import SamplingConfig

CAPTION = "caption"
CHARACTER_IMAGES = "character_images"
CHARACTER_BOXES = "character_boxes"
DIALOG_BOXES = "dialog_boxes"

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


class Method(Protocol):
    """A way of drawing panels."""

    @property
    def name(self) -> str: ...

    @property
    def consumes(self) -> frozenset[str]:
        """The parts of a panel it reads (constants above); others have no influence, to the bit."""
        ...

    def generate(
        self, panels: Sequence[Panel], folder: Path, sampling: SamplingConfig
    ) -> Iterator[tuple[str, Image.Image]]:
        """Each panel's id and grey image, in any order. References lie relative to ``folder``."""
        ...
