"""Panels drawn at another size than their own: what a method draws on, and how that becomes the panel."""

from collections.abc import Sequence
from dataclasses import dataclass

from PIL import Image

from diffsensei.geometry import cover_size
from diffsensei.methods.method import Box, Character, Panel


@dataclass(frozen=True)
class OnCanvas:
    """``panel`` with the size it is drawn at; everything else is the panel's."""

    panel: Panel
    height: int
    width: int

    @property
    def panel_id(self) -> str:
        return self.panel.panel_id

    @property
    def caption(self) -> str:
        return self.panel.caption

    @property
    def characters(self) -> Sequence[Character]:
        return self.panel.characters

    @property
    def dialogs(self) -> Sequence[Box]:
        return self.panel.dialogs

    @property
    def seed(self) -> int:
        return self.panel.seed

    @property
    def given(self) -> str:
        return self.panel.given


def fit_to_panel(image: Image.Image, panel: Panel) -> Image.Image:
    """``image`` resized to cover the panel and cropped at the centre: nothing is stretched."""
    height, width = cover_size(image.height, image.width, panel.height, panel.width)
    left, top = (width - panel.width) // 2, (height - panel.height) // 2
    resized = image.resize((width, height), Image.Resampling.BICUBIC)
    return resized.crop((left, top, left + panel.width, top + panel.height))
