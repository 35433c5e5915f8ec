"""Character images: what people bring is read, what is damaged or too large is told in one line."""

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from diffsensei.methods.reference_image import MAX_BYTES, read_reference


@pytest.mark.parametrize("suffix", ["png", "jpg", "webp", "bmp", "gif", "tif"])
def test_usual_formats_become_grey(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a.{suffix}"
    Image.new("RGB", (6, 4), (200, 200, 200)).save(path)
    pixels = read_reference(path)
    assert (pixels.shape, pixels.dtype) == ((4, 6), np.uint8)
    assert abs(int(pixels[2, 3]) - 200) <= 2


def test_transparent_is_paper(tmp_path: Path) -> None:
    image = Image.new("RGBA", (4, 2), (0, 0, 0, 0))
    image.putpixel((0, 0), (10, 10, 10, 255))
    image.save(tmp_path / "a.png")
    assert read_reference(tmp_path / "a.png").tolist() == [[10, 255, 255, 255], [255] * 4]


def test_sixteen_bits_keep_their_shades(tmp_path: Path) -> None:
    Image.fromarray(np.array([[0, 0x8000, 0xFFFF]], dtype=np.uint16)).save(tmp_path / "a.png")
    assert read_reference(tmp_path / "a.png").tolist() == [[0, 128, 255]]


def test_a_photograph_is_turned_upright(tmp_path: Path) -> None:
    image = Image.new("L", (6, 4), 9)
    exif = image.getexif()
    exif[0x0112] = 6
    image.save(tmp_path / "a.jpg", exif=exif)
    assert read_reference(tmp_path / "a.jpg").shape == (6, 4)


def png_of_size(width: int, height: int) -> bytes:
    """A PNG that claims a size and has hardly any data."""
    chunks = [(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)), (b"IDAT", zlib.compress(b"\0" * 999))]
    body = b"".join(struct.pack(">I", len(d)) + k + d + struct.pack(">I", zlib.crc32(k + d)) for k, d in chunks)
    return b"\x89PNG\r\n\x1a\n" + body


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "cannot identify"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "cannot identify"),
        (b"\x89PNG\r\n\x1a\n", "cannot identify|truncated|broken"),
        (png_of_size(50, 50), "truncated"),
        (png_of_size(8000, 8000), "at most 40000000 pixels, .* has 8000 x 8000"),
        (png_of_size(60_000, 60_000), "decompression bomb"),
    ],
)
def test_damaged_and_huge_images_are_one_line(tmp_path: Path, data: bytes, message: str) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(data)
    with pytest.raises(ValueError, match=message) as error:
        read_reference(path)
    assert "\n" not in str(error.value)
    assert str(path) in str(error.value)


def test_large_files_folders_and_nothing_are_refused_unread(tmp_path: Path) -> None:
    with (tmp_path / "large.png").open("wb") as file:
        file.truncate(MAX_BYTES + 1)
    for name in ("large.png", "none.png", "."):
        with pytest.raises(ValueError, match="expected a character image"):
            read_reference(tmp_path / name)
