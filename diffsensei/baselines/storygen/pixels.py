"""The range in which a StoryGen reads earlier panels, as its saved folder records it.

Released weights were trained on [0, 1]; the published code means to give [-1, 1], which ours are trained on.
"""

import json
from pathlib import Path
from typing import Literal, cast

from torch import Tensor

from diffsensei.baselines.stable_diffusion import grey_to_pixels

PixelRange = Literal["signed", "unit"]
"""[-1, 1] or [0, 1]."""
_FILE, _NAME = "earlier_panels.json", "pixels"


def earlier_pixels(images: Tensor, pixels: PixelRange) -> Tensor:
    """uint8 grey (K, S, S) -> (K, 3, S, S) float32 in the range ``pixels``."""
    signed = grey_to_pixels(images)
    return signed if pixels == "signed" else (signed + 1.0) / 2.0


def write_pixel_range(folder: Path, pixels: PixelRange) -> None:
    """Record it beside ``unet/``."""
    (folder / _FILE).write_text(json.dumps({_NAME: pixels}) + "\n", encoding="utf-8")


def read_pixel_range(folder: Path) -> PixelRange:
    """What was recorded; ``signed`` where nothing was. Raises ValueError for another range."""
    path = folder / _FILE
    if not path.is_file():
        return "signed"
    try:
        value = json.loads(path.read_text(encoding="utf-8"))[_NAME]
    except (ValueError, LookupError, TypeError):
        value = None
    if value not in ("signed", "unit"):
        raise ValueError(f"{path}: expected {_NAME} signed or unit, got {value!r}; import the weights again")
    return cast(PixelRange, value)
