"""Character images as people bring them: any usual format, with caps checked before memory is spent."""

import warnings
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF")
"""Named, because others (PostScript) run programs."""
MAX_BYTES = 32 * 2**20
MAX_PIXELS = 40_000_000
"""A character sheet at 600 dpi on A4 has 35 million."""
_NOT_AN_IMAGE = (OSError, SyntaxError, ValueError, Image.DecompressionBombError, Image.DecompressionBombWarning)
"""What Pillow raises for files that are damaged or lie about their size."""


def read_reference(path: Path) -> NDArray[np.uint8]:
    """A character image as (H, W) uint8 grey: upright as its camera says, what is transparent on white paper.

    Raises ValueError if it is missing, no image, cut short, or larger than `MAX_BYTES` or `MAX_PIXELS`.
    """
    if not path.is_file():
        raise ValueError(f"expected a character image at {path}, found no file; give an image file")
    size = path.stat().st_size
    if size > MAX_BYTES:
        raise ValueError(f"expected a character image of at most {MAX_BYTES} bytes, {path} has {size}; scale it down")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(path, formats=FORMATS) as image:
                width, height = image.size
                if width * height <= MAX_PIXELS:
                    return _grey(image)
    except _NOT_AN_IMAGE as error:
        reason = " ".join(str(error).split())
        raise ValueError(f"expected a character image at {path}, got {reason}; give an image file") from error
    raise ValueError(
        f"expected a character image of at most {MAX_PIXELS} pixels, {path} has {width} x {height}; scale it down"
    )


def _grey(image: Image.Image) -> NDArray[np.uint8]:
    if image.mode.startswith("I;16"):
        return (np.asarray(image) >> 8).astype(np.uint8)
    upright = ImageOps.exif_transpose(image)
    if not upright.has_transparency_data:
        return np.asarray(upright.convert("L"))
    drawn = upright.convert("LA")
    paper = Image.new("L", drawn.size, 255)
    paper.paste(drawn.getchannel("L"), mask=drawn.getchannel("A"))
    return np.asarray(paper)
