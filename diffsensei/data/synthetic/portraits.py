"""Reference images of a cast: each member alone on white paper, as a story's character library wants them."""

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from diffsensei.data.synthetic.captions import describe_look
from diffsensei.data.synthetic.cast import Identity, Series, State, draw_series
from diffsensei.data.synthetic.character import draw_character, lay_over
from diffsensei.data.synthetic.ink import WHITE, Image

SIDE = 160
_RADIUS = 0.2
"""Half height of the head over the side: a half length shot."""
_SUPERSAMPLE = 2
_STATE = State("neutral", "standing", "left", "medium", intense=False)


@dataclass(frozen=True)
class Portrait:
    """A written reference image."""

    path: Path
    look: str
    """The words of captions for it, for example ``short black hair, glasses, white shirt``."""


def write_cast(seed: int, series: int, folder: Path) -> list[Portrait]:
    """``<hair>-<accessory>.png`` for every member of series ``series`` of the world ``seed``, into ``folder``.

    The same bytes for the same arguments. Raises ValueError if the folder cannot be written to.
    """
    drawn = draw_series(seed, series)
    portraits = []
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for identity in drawn.cast:
            path = folder / f"{identity.hair_shape}-{identity.accessory}.png"
            data = cv2.imencode(".png", draw_portrait(drawn, identity), [cv2.IMWRITE_PNG_COMPRESSION, 9])[1]
            path.write_bytes(data.tobytes())
            portraits.append(Portrait(path, describe_look(identity)))
    except OSError as error:
        raise ValueError(
            f"cannot write character images to {folder}: {error.strerror}; choose another folder"
        ) from error
    return portraits


def draw_portrait(series: Series, identity: Identity, side: int = SIDE) -> Image:
    """``identity`` (side, side) from the waist up, calm, facing left."""
    pixels = side * _SUPERSAMPLE
    radius = _RADIUS * pixels
    unit = radius / 20
    paper = np.full((pixels, pixels), WHITE, np.uint8)
    layer = draw_character(
        identity, series.style, _STATE, x=pixels / 2, y=0.44 * pixels, radius=radius,
        line=max(1, round(series.style.line_weight * 0.05 * radius)), tone_period=series.style.tone_period * unit,
        height=pixels, width=pixels,
    )  # fmt: skip
    lay_over(paper, layer, halo=1)
    return np.asarray(cv2.resize(paper, (side, side), interpolation=cv2.INTER_AREA), dtype=np.uint8)
