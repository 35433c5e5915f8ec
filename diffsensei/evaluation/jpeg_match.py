"""The same codec on both sides of a comparison of distributions.

The reference downloader stored the true pages as JPEG of quality 75, generated panels were never compressed; JPEG alone
moves FID (Parmar et al. 2022). Both sides take one more round trip, so that neither is told by its codec.
"""

from io import BytesIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image


def jpeg_round_trip(image: NDArray[np.uint8], quality: int) -> NDArray[np.uint8]:
    """``image`` (H, W) encoded as grey JPEG of ``quality`` (1 to 100) and decoded again."""
    stream = BytesIO()
    Image.fromarray(image).save(stream, format="JPEG", quality=quality)
    with Image.open(stream) as picture:
        return np.asarray(picture)
