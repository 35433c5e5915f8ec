"""Image bytes from outside to grey pixels, with every cap checked before memory is spent; and our own lossless PNGs.

Manga pages are black and white (paper sec. 3.2), so a page is one grey channel from here on.
"""

import io
import struct
import warnings
import zlib
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from diffsensei.data.png_rows import num_missing_bytes
from diffsensei.data.refusal import Refusal

Gray = NDArray[np.uint8]

FORMATS = ("JPEG", "PNG", "WEBP")
MAX_SIDE = 12_000
"""Longest accepted edge in pixels: no scan is larger, and one row of it is what a decoder allocates at least."""
PNG_COMPRESSION = 1
"""zlib level of stored PNGs: level 6 is five times slower for a few per cent."""
BROKEN = (OSError, ValueError, SyntaxError, EOFError, IndexError, KeyError, TypeError, zlib.error, struct.error)
"""Pillow's plugins raise almost anything on crafted files; all of it means the same to the page."""
DHASH_MIN_CONTRAST = 6.0
"""Standard deviation of the 8x9 thumbnail below which a page counts as blank and its hash says nothing."""


@dataclass(frozen=True)
class DecodedImage:
    """Grey pixels (H, W), and ``chroma``: mean distance of the colour channels in [0, 255], 0 for grey files."""

    gray: Gray
    chroma: float


def sniff_format(data: bytes) -> str | None:
    """``JPEG``, ``PNG`` or ``WEBP`` by the leading bytes, else None; file names and content types are not believed."""
    if data.startswith(b"\xff\xd8\xff"):
        return "JPEG"
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        return "PNG"
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "WEBP"
    return None


def decode_image(data: bytes, *, max_megapixels: float) -> DecodedImage:
    """Decode all of ``data``.

    Raises `Refusal`: ``not_an_image``, ``too_many_pixels``, ``animated_image``, ``truncated_image``, ``broken_image``,
    ``decoder_out_of_memory``.
    """
    kind = sniff_format(data)
    if kind is None:
        raise Refusal("not_an_image", f"starts with {data[:16]!r}")
    with warnings.catch_warnings():
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        try:
            with Image.open(io.BytesIO(data), formats=(kind,)) as image:
                width, height = image.size
                if width * height > max_megapixels * 1e6 or max(width, height) > MAX_SIDE:
                    raise Refusal("too_many_pixels", f"{width}x{height}")
                if getattr(image, "n_frames", 1) != 1:
                    raise Refusal("animated_image", f"{getattr(image, 'n_frames', 1)} frames")
                image.load()
                _require_all_rows(image, data)
                return DecodedImage(_to_gray(image), _chroma(image))
        except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
            raise Refusal("too_many_pixels", str(error)) from None
        except UnidentifiedImageError:
            raise Refusal("broken_image", f"{kind} header cannot be read") from None
        except MemoryError:
            raise Refusal("decoder_out_of_memory", f"{kind}, {len(data)} bytes") from None
        except (
            OSError,
            ValueError,
            SyntaxError,
            EOFError,
            IndexError,
            KeyError,
            TypeError,
            zlib.error,
            struct.error,
        ) as error:
            cut = "truncated" in str(error) or "Truncated" in str(error) or isinstance(error, EOFError)
            raise Refusal("truncated_image" if cut else "broken_image", f"{kind}, {len(data)} bytes: {error}") from None


def image_size(data: bytes, *, max_megapixels: float) -> tuple[int, int]:
    """(height, width) of an image all of which decodes. Raises as `decode_image`."""
    height, width = decode_image(data, max_megapixels=max_megapixels).gray.shape
    return height, width


def _require_all_rows(image: Image.Image, data: bytes) -> None:
    """Refuse a PNG whose rows end early, in a stream that is sound otherwise.

    Its last row is black then; only where it is, are the rows counted, which costs what decoding does.
    """
    if image.format != "PNG":
        return
    last_row = image.crop((0, image.height - 1, image.width, image.height))
    if image.info.get("interlace") or last_row.getbbox(alpha_only=False) is None:
        missing = num_missing_bytes(data)
        if missing:
            raise Refusal("truncated_image", f"PNG, {missing} bytes of its rows are missing")


def _to_gray(image: Image.Image) -> Gray:
    """Grey pixels; transparency lies on white paper, 16-bit samples keep their upper byte."""
    if image.mode.startswith("I;16"):
        return (np.asarray(image).astype(np.uint16) >> 8).astype(np.uint8)
    if image.mode in ("LA", "PA", "RGBA", "La", "RGBa") or "transparency" in image.info:
        paper = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(paper, image.convert("RGBA"))
    return np.array(image.convert("L"))


def _chroma(image: Image.Image) -> float:
    """Mean of max - min over the colour channels of a thumbnail: 0 for grey, tens for a colour page."""
    if image.mode in ("1", "L", "LA", "La") or image.mode.startswith("I"):
        return 0.0
    channels = np.asarray(image.convert("RGB").reduce(max(1, min(image.size) // 64)), dtype=np.int16)
    return round(float((channels.max(axis=2) - channels.min(axis=2)).mean()), 3)


def encode_png(gray: Gray) -> bytes:
    """A lossless L-mode PNG of ``gray`` (H, W); the same bytes for the same pixels."""
    ok, data = cv2.imencode(".png", gray, [cv2.IMWRITE_PNG_COMPRESSION, PNG_COMPRESSION])
    assert ok
    return data.tobytes()


def decode_own_png(data: bytes | memoryview) -> Gray:
    """Pixels (H, W) of a PNG that `encode_png` wrote; not for bytes from outside. Raises ValueError when damaged."""
    gray = cv2.imdecode(np.frombuffer(data, dtype=np.uint8), cv2.IMREAD_GRAYSCALE) if len(data) else None
    if gray is None:
        raise ValueError(f"a stored PNG of {len(data)} bytes does not decode: the file is damaged; run its stage again")
    return np.asarray(gray, dtype=np.uint8)


def difference_hash(gray: Gray) -> int | None:
    """64-bit dHash: does each cell of an 8x9 thumbnail grow darker to the right. None for a page that is near blank."""
    thumbnail = cv2.resize(gray, (9, 8), interpolation=cv2.INTER_AREA).astype(np.float32)
    if thumbnail.std() < DHASH_MIN_CONTRAST:
        return None
    bits = (thumbnail[:, 1:] < thumbnail[:, :-1]).ravel()
    return int.from_bytes(np.packbits(bits).tobytes(), "big")
