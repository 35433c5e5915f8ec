"""Rows are counted in every layout that PNG has, against files that other programs wrote."""

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from diffsensei.data.images import decode_image
from diffsensei.data.png_rows import PASSES, _num_row_bytes, num_missing_bytes
from diffsensei.data.refusal import Refusal


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width: int, height: int, depth: int, color: int, rows: bytes, *, interlaced: bool = False) -> bytes:
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, color, 0, 0, interlaced))
    palette = chunk(b"PLTE", bytes(3 * 2**depth)) if color == 3 else b""
    packed = zlib.compress(rows)
    halves = chunk(b"IDAT", packed[:9]) + chunk(b"IDAT", packed[9:])
    return b"\x89PNG\r\n\x1a\n" + header + palette + halves + chunk(b"IEND", b"")


@pytest.mark.parametrize("mode", ["1", "L", "P", "LA", "RGB", "RGBA", "I;16"])
@pytest.mark.parametrize("size", [(1, 1), (7, 5), (129, 33)])
def test_whole_files_miss_nothing(mode: str, size: tuple[int, int]) -> None:
    buffer = io.BytesIO()
    Image.new(mode, size).save(buffer, "PNG")
    assert num_missing_bytes(buffer.getvalue()) == 0
    assert decode_image(buffer.getvalue(), max_megapixels=1).gray.shape == size[::-1]


@pytest.mark.parametrize("size", [(1, 1), (2, 3), (5, 9), (64, 48)])
def test_interlaced_bytes_are_what_the_decoder_needs(size: tuple[int, int]) -> None:
    width, height = size
    num_bytes = _num_row_bytes(width, height, 8, True)
    # Each pixel is in one pass; each row of a pass has a byte more.
    rows = sum(len(range(y, height, down)) for x, y, across, down in PASSES if len(range(x, width, across)))
    assert num_bytes == width * height + rows
    whole = png(width, height, 8, 0, bytes(num_bytes), interlaced=True)
    assert decode_image(whole, max_megapixels=1).gray.shape == (height, width)
    cut = png(width, height, 8, 0, bytes(num_bytes - 1), interlaced=True)
    assert num_missing_bytes(cut) == 1


@pytest.mark.parametrize(("depth", "color", "row_bytes"), [(1, 0, 3), (2, 3, 5), (8, 0, 17), (8, 2, 49), (16, 6, 129)])
def test_what_ends_early_is_refused(depth: int, color: int, row_bytes: int) -> None:
    row = b"\0" + bytes(np.full(row_bytes - 1, 0x5A, np.uint8))
    height = 20
    whole = png(16, height, depth, color, row * height)
    assert decode_image(whole, max_megapixels=1).gray.shape == (height, 16)
    for missing in (1, row_bytes, 7 * row_bytes):
        cut = png(16, height, depth, color, (row * height)[:-missing])
        with pytest.raises(Refusal) as caught:
            decode_image(cut, max_megapixels=1)
        assert caught.value.reason == "truncated_image"


def test_black_pages_are_accepted() -> None:
    buffer = io.BytesIO()
    Image.new("L", (300, 400)).save(buffer, "PNG")
    assert not decode_image(buffer.getvalue(), max_megapixels=1).gray.any()
