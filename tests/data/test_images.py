"""Bytes from outside: every odd file ends in a named refusal, every sound one in its pixels."""

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from diffsensei.data.images import decode_image, decode_own_png, difference_hash, encode_png
from diffsensei.data.refusal import Refusal


def drawing(height: int = 60, width: int = 40, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return np.kron(rng.integers(0, 2, (height // 10, width // 10)), np.ones((10, 10))).astype(np.uint8) * 255


def saved(image: Image.Image, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def bomb(width: int, height: int) -> bytes:
    """A valid 1-bit PNG of that size in a few hundred kilobytes at most."""
    rows = zlib.compress(b"\0" * ((width // 8 + 1) * min(height, 2000)), 9)
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def reason(data: bytes, max_megapixels: float = 40.0) -> str:
    with pytest.raises(Refusal) as caught:
        decode_image(data, max_megapixels=max_megapixels)
    assert caught.value.state == "quarantined"
    assert caught.value.evidence
    return caught.value.reason


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
def test_sound_formats(kind: str) -> None:
    gray = drawing()
    options = {"lossless": True} if kind == "WEBP" else {"quality": 95} if kind == "JPEG" else {}
    decoded = decode_image(saved(Image.fromarray(gray), kind, **options), max_megapixels=1)
    assert decoded.gray.shape == gray.shape
    assert decoded.chroma < 1
    assert np.abs(decoded.gray.astype(int) - gray).max() <= (30 if kind == "JPEG" else 0)


def test_modes_become_grey() -> None:
    gray = drawing()
    deep = Image.fromarray(gray.astype(np.uint16) * 257)
    for image, kind in ((deep, "PNG"), (Image.fromarray(gray).convert("P"), "PNG"), (Image.fromarray(gray), "PNG")):
        np.testing.assert_array_equal(decode_image(saved(image, kind), max_megapixels=1).gray, gray)
    cmyk = saved(Image.fromarray(gray).convert("CMYK"), "JPEG", quality=95)
    assert decode_image(cmyk, max_megapixels=1).gray.shape == gray.shape
    assert decode_image(saved(Image.new("1", (1, 1)), "PNG"), max_megapixels=1).gray.shape == (1, 1)


def test_transparency_lies_on_white_paper() -> None:
    clear = Image.new("RGBA", (8, 8), (0, 0, 0, 0))
    assert (decode_image(saved(clear, "PNG"), max_megapixels=1).gray == 255).all()


def test_chroma_tells_colour_from_grey() -> None:
    colour = saved(Image.new("RGB", (100, 100), (200, 40, 40)), "PNG")
    assert decode_image(colour, max_megapixels=1).chroma == 160
    grey = saved(Image.fromarray(drawing()).convert("RGB"), "JPEG", quality=60)
    assert decode_image(grey, max_megapixels=1).chroma < 3


@pytest.mark.parametrize("share", [0.1, 0.5, 0.99])
@pytest.mark.parametrize(("kind", "options"), [("PNG", {}), ("JPEG", {"progressive": True}), ("WEBP", {})])
def test_cut_files(kind: str, options: dict, share: float) -> None:
    rng = np.random.default_rng(1)
    data = saved(Image.fromarray(rng.integers(0, 256, (200, 200), dtype=np.uint8)), kind, **options)
    assert reason(data[: int(len(data) * share)]) in ("truncated_image", "broken_image")


def test_what_is_no_image() -> None:
    assert reason(b"") == "not_an_image"
    assert reason(b"<html>404</html>") == "not_an_image"
    assert reason(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n") == "not_an_image"
    for kind in ("GIF", "TIFF", "BMP", "ICO"):
        assert reason(saved(Image.new("L", (32, 32)), kind)) == "not_an_image"
    assert reason(b"\x89PNG\r\n\x1a\n" + b"<svg/>" * 20) == "broken_image"


def test_caps_hold_before_decoding() -> None:
    assert reason(bomb(50_000, 50_000)) == "too_many_pixels"
    assert reason(bomb(13_000, 100)) == "too_many_pixels"  # longer than any edge we accept
    assert reason(saved(Image.new("L", (101, 100)), "PNG"), max_megapixels=0.01) == "too_many_pixels"
    text = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", 8, 8, 8, 0, 0, 0, 0))
    text += chunk(b"zTXt", b"k\0\0" + zlib.compress(b"\0" * 50_000_000)) + chunk(b"IEND", b"")
    assert reason(text) in ("broken_image", "truncated_image")


def test_animation_is_refused() -> None:
    frames = [Image.new("L", (8, 8), value) for value in (0, 255)]
    assert reason(saved(frames[0], "WEBP", save_all=True, append_images=frames[1:])) == "animated_image"
    assert reason(saved(frames[0], "PNG", save_all=True, append_images=frames[1:])) == "animated_image"


def test_own_png_is_lossless_and_stable() -> None:
    gray = np.random.default_rng(2).integers(0, 256, (31, 17), dtype=np.uint8)
    data = encode_png(gray)
    assert data == encode_png(gray)
    np.testing.assert_array_equal(decode_own_png(data), gray)
    with Image.open(io.BytesIO(data)) as image:
        assert image.mode == "L"
        assert not image.info
    with pytest.raises(ValueError, match="does not decode"):
        decode_own_png(data[: len(data) // 4])


def test_difference_hash() -> None:
    page = drawing(400, 300, seed=3)
    other = drawing(400, 300, seed=4)
    hashed = difference_hash(page)
    reencoded = difference_hash(decode_image(saved(Image.fromarray(page), "JPEG", quality=40), max_megapixels=1).gray)
    assert hashed is not None
    assert reencoded is not None
    assert (hashed ^ reencoded).bit_count() <= 4
    assert (hashed ^ (difference_hash(other) or 0)).bit_count() > 4
    assert difference_hash(np.full((300, 300), 254, dtype=np.uint8)) is None
