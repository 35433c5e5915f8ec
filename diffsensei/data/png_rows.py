"""Whether a PNG holds all the rows that its header promises: decoders leave the missing ones black and say nothing."""

import struct
import zlib
from collections.abc import Iterator

HEADER_END = 33
"""Signature and the IHDR chunk."""
CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
"""Colour type -> samples per pixel."""
PASSES = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
"""Adam7 (PNG specification, 8.2): first column and row of each pass, and its steps."""
PIECE = 1 << 20


def num_missing_bytes(data: bytes) -> int:
    """Bytes of rows that the sound PNG file ``data`` lacks; 0 for a whole picture.

    The rows are inflated piece by piece and not kept, no more of them than the header promises. Raises zlib.error or
    struct.error where ``data`` is no sound PNG.
    """
    width, height, depth, color, _, _, interlaced = struct.unpack(">IIBBBBB", data[16:29])
    missing = _num_row_bytes(width, height, depth * CHANNELS[color], bool(interlaced))
    inflater = zlib.decompressobj()
    for packed in _image_data(data):
        while packed and missing > 0:
            missing -= len(inflater.decompress(packed, min(PIECE, missing)))
            packed = inflater.unconsumed_tail
    return missing


def _num_row_bytes(width: int, height: int, bits_per_pixel: int, interlaced: bool) -> int:
    total = 0
    for x, y, across, down in PASSES if interlaced else ((0, 0, 1, 1),):
        columns, rows = max(0, -(-(width - x) // across)), max(0, -(-(height - y) // down))
        total += rows * (1 + -(-columns * bits_per_pixel // 8)) if columns else 0
    return total


def _image_data(data: bytes) -> Iterator[bytes]:
    """The contents of the IDAT chunks."""
    place = HEADER_END
    while place + 12 <= len(data):
        (length,) = struct.unpack_from(">I", data, place)
        if data[place + 4 : place + 8] == b"IDAT":
            yield data[place + 8 : place + 8 + length]
        place += 12 + length
