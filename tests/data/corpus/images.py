"""Bad image files, and odd ones that are fine: through the decoder, in the sandbox, within time and memory."""

import io
import itertools
import struct
import time
import zipfile
import zlib
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, PngImagePlugin

from diffsensei.data.images import decode_image, encode_png
from diffsensei.data.refusal import Refusal
from diffsensei.data.sandbox import Limits, shared_sandbox
from tests.data.corpus.entry import Entry

MAX_MEGAPIXELS = 40.0
MAX_SECONDS = 5.0
MAX_MEMORY_MB = 200
"""What the decoder may take beyond what its process held before."""
HEIGHT, WIDTH = 120, 160
ZIP_MAGIC = b"PK\x03\x04"

Make = Callable[[], bytes]


def decode_measured(data: bytes) -> tuple[str, bytes, float]:
    """(verdict, the picture as we store it, megabytes that decoding took at its peak). Runs in the sandbox's child."""
    Path("/proc/self/clear_refs").write_text("5")  # the peak counts from here
    before = _memory_mb("VmRSS")
    verdict, stored = "accepted", b""
    try:
        image = decode_image(data, max_megapixels=MAX_MEGAPIXELS)
    except Refusal as refusal:
        verdict = refusal.reason
    peak = _memory_mb("VmHWM") - before
    if verdict == "accepted":
        stored = encode_png(image.gray)
    return verdict, stored, peak


def _memory_mb(field: str) -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(field))


def verdict_on(make: Make, _: Path) -> str:
    """The decoder's verdict; AssertionError where it took too long or too much, or kept more than pixels."""
    data = make()
    sandbox = shared_sandbox(Limits(memory_mb=1024, cpu_s=5, wall_s=20.0))
    sandbox.run(_memory_mb, "VmRSS")  # a child is there, so that its start does not count
    began = time.monotonic()
    try:
        verdict, stored, memory_mb = sandbox.run(decode_measured, data)
    except Refusal as refusal:
        return refusal.reason
    assert time.monotonic() - began < MAX_SECONDS
    assert memory_mb < MAX_MEMORY_MB, f"{memory_mb:.0f} MB"
    assert ZIP_MAGIC not in stored
    assert b"<script" not in stored
    return verdict


@cache
def picture() -> Image.Image:
    rng = np.random.default_rng(0)
    pixels = np.add.outer(np.arange(HEIGHT), np.arange(WIDTH)) % 200 + rng.integers(0, 50, (HEIGHT, WIDTH))
    return Image.fromarray(pixels.astype(np.uint8))


def saved(image: Image.Image, kind: str, **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def png(width: int, height: int, depth: int, color: int, *chunks: bytes) -> bytes:
    """A PNG of given header with ``chunks`` after it."""
    header = struct.pack(">IIBBBBB", width, height, depth, color, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + b"".join(chunks) + chunk(b"IEND", b"")


def one_bit_bomb() -> bytes:
    """50,000 x 50,000 black pixels: 313 MB of rows in about 300 KB."""
    packer = zlib.compressobj(9)
    row = bytes(1 + 50_000 // 8)
    data = b"".join(packer.compress(row * 500) for _ in range(100)) + packer.flush()
    return png(50_000, 50_000, 1, 0, chunk(b"IDAT", data))


def text_bomb() -> bytes:
    """A sound picture with a comment that inflates to 100 MB."""
    data = saved(picture(), "PNG")
    packer = zlib.compressobj(9)
    text = b"".join(packer.compress(bytes(2**20)) for _ in range(100)) + packer.flush()
    return data[:33] + chunk(b"zTXt", b"comment\0\0" + text) + data[33:]


def profile_bomb() -> bytes:
    data = saved(picture(), "PNG")
    return data[:33] + chunk(b"iCCP", b"profile\0\0" + zlib.compress(bytes(100 * 2**20), 9)) + data[33:]


def animation(kind: str, frames: int) -> bytes:
    first, second = Image.new("L", (8, 8), 0), Image.new("L", (8, 8), 255)
    turns = list(itertools.islice(itertools.cycle((second, first)), frames - 1))
    return saved(first, kind, save_all=True, append_images=turns, duration=10)


def with_bytes(data: bytes, place: int, new: bytes) -> bytes:
    return data[:place] + new + data[place + len(new) :]


def cut(data: bytes, share: float) -> bytes:
    return data[: int(share * len(data))]


def jpeg_of_size(width: int, height: int) -> bytes:
    """A small JPEG whose frame header claims another size."""
    data = saved(picture(), "JPEG")
    place = data.index(b"\xff\xc0") + 5
    return with_bytes(data, place, struct.pack(">HH", height, width))


def arithmetic_jpeg() -> bytes:
    """The frame header of an arithmetic-coded JPEG over Huffman-coded data: noise, which no decoder can know."""
    data = saved(picture(), "JPEG")
    return with_bytes(data, data.index(b"\xff\xc0"), b"\xff\xc9")


def with_archive(data: bytes) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("payload.txt", "<script>alert(1)</script>")
    return data + file.getvalue()


def with_text(data: bytes) -> bytes:
    return data + b"<script>alert(1)</script>"


def png_with_text() -> bytes:
    info = PngImagePlugin.PngInfo()
    info.add_text("comment", "<script>alert(1)</script>")
    return saved(picture(), "PNG", pnginfo=info)


def rotated() -> bytes:
    exif = Image.Exif()
    exif[0x0112] = 6
    return saved(picture(), "JPEG", exif=exif)


def palette_with_alpha() -> bytes:
    image = picture().convert("P")
    return saved(image, "PNG", transparency=bytes([0, 128, 255]))


def sixteen_bit() -> bytes:
    ok, data = cv2.imencode(".png", np.arange(HEIGHT * WIDTH, dtype=np.uint16).reshape(HEIGHT, WIDTH))
    assert ok
    return data.tobytes()


def colourful() -> bytes:
    pixels = np.random.default_rng(1).integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)
    return saved(Image.fromarray(pixels), "JPEG", quality=95)


def webp_that_lies(claim: int) -> bytes:
    data = saved(picture().convert("RGB"), "WEBP", lossless=True)
    return with_bytes(data, 4, struct.pack("<I", claim))


def huge_webp() -> bytes:
    """A lossless WebP whose header claims 16,384 x 16,384."""
    data = saved(picture().convert("RGB"), "WEBP", lossless=True)
    place = data.index(b"VP8L") + 9
    return with_bytes(data, place, struct.pack("<I", 0x0FFFFFFF))


def bad_check_sum() -> bytes:
    data = saved(picture(), "PNG")
    place = data.index(b"IDAT") + 40
    return with_bytes(data, place, bytes([data[place] ^ 0xFF]))


def narrower_header() -> bytes:
    """An IHDR that was changed without its check sum."""
    return with_bytes(saved(picture(), "PNG"), 16, struct.pack(">I", WIDTH - 10))


def taller_header() -> bytes:
    """Sound check sums, but rows for half the height only."""
    rows = zlib.compress(bytes((1 + WIDTH) * HEIGHT))
    return png(WIDTH, 2 * HEIGHT, 8, 0, chunk(b"IDAT", rows))


def progressive() -> bytes:
    return saved(picture().resize((640, 480)), "JPEG", progressive=True, quality=90)


_EPS = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\n(touched) (w) file\n%%EOF\n"
_PSD = b"8BPS\0\1" + bytes(6) + struct.pack(">HIIHH", 3, 10, 10, 8, 3) + bytes(20)
_FITS = b"SIMPLE  =                    T".ljust(80) + b"END".ljust(2800)
_SVG = b'<svg xmlns="http://www.w3.org/2000/svg"><image href="file:///etc/passwd"/></svg>'
_HTML = b"<!doctype html><html><body><script>alert(1)</script>Not found</body></html>"

_BAD: tuple[tuple[str, str, Make], ...] = (
    ("50k x 50k one-bit PNG", "too_many_pixels", one_bit_bomb),
    ("PNG with a 100 MB zTXt", "broken_image", text_bomb),
    ("PNG with a 100 MB colour profile", "broken_image", profile_bomb),
    ("GIF of 10,000 frames", "not_an_image", partial(animation, "GIF", 10_000)),
    ("PNG of 10,000 frames", "animated_image", partial(animation, "PNG", 10_000)),
    ("WebP of 10,000 frames", "animated_image", partial(animation, "WEBP", 10_000)),
    ("EPS as png", "not_an_image", lambda: _EPS),
    ("PSD as png", "not_an_image", lambda: _PSD),
    ("FITS as png", "not_an_image", lambda: _FITS),
    ("TIFF as png", "not_an_image", lambda: saved(picture(), "TIFF")),
    ("SVG as png", "not_an_image", lambda: _SVG),
    ("ICO as png", "not_an_image", lambda: saved(picture(), "ICO")),
    ("BMP as png", "not_an_image", lambda: saved(picture(), "BMP")),
    ("HTML as png", "not_an_image", lambda: _HTML),
    ("no bytes", "not_an_image", bytes),
    ("PNG signature alone", "broken_image", lambda: b"\x89PNG\r\n\x1a\n"),
    ("JPEG signature alone", "broken_image", lambda: b"\xff\xd8\xff\xe0"),
    ("PNG cut in its header", "truncated_image", lambda: saved(picture(), "PNG")[:20]),
    ("PNG cut in its data", "truncated_image", lambda: cut(saved(picture(), "PNG"), 0.5)),
    ("PNG without its last bytes of data", "truncated_image", lambda: saved(picture(), "PNG")[:-30]),
    ("PNG with a bad check sum", "broken_image", bad_check_sum),
    ("PNG header changed", "broken_image", narrower_header),
    ("PNG taller than its data", "truncated_image", taller_header),
    ("PNG without data", "broken_image", lambda: png(WIDTH, HEIGHT, 8, 0)),
    ("PNG of no width", "broken_image", lambda: png(0, HEIGHT, 8, 0, chunk(b"IDAT", zlib.compress(b"")))),
    ("PNG that claims 2^31 rows", "too_many_pixels", lambda: png(10, 2**31 - 1, 8, 0, chunk(b"IDAT", b"x"))),
    ("PNG within limits without its data", "truncated_image", lambda: png(6000, 6000, 8, 0, chunk(b"IDAT", b"x"))),
    ("progressive JPEG cut at 10 %", "truncated_image", lambda: cut(progressive(), 0.1)),
    ("progressive JPEG cut at 50 %", "truncated_image", lambda: cut(progressive(), 0.5)),
    ("progressive JPEG cut at 99 %", "truncated_image", lambda: cut(progressive(), 0.99)),
    ("JPEG that claims 65,535 x 65,535", "too_many_pixels", partial(jpeg_of_size, 65_535, 65_535)),
    ("JPEG that claims 13,000 columns", "too_many_pixels", partial(jpeg_of_size, 13_000, 100)),
    ("JPEG of no height", "broken_image", partial(jpeg_of_size, 100, 0)),
    ("JPEG marked arithmetic-coded", "accepted", arithmetic_jpeg),
    ("WebP cut", "broken_image", lambda: cut(saved(picture().convert("RGB"), "WEBP"), 0.5)),
    ("WebP that claims more bytes", "broken_image", partial(webp_that_lies, 10**9)),
    ("WebP that claims fewer bytes", "broken_image", partial(webp_that_lies, 20)),
    ("WebP that claims 16,384 x 16,384", "too_many_pixels", huge_webp),
    ("MPO as jpg", "animated_image", lambda: saved(picture(), "MPO", save_all=True, append_images=[picture()])),
)
_ODD: tuple[tuple[str, Make], ...] = (
    ("JPEG and ZIP in one", lambda: with_archive(saved(picture(), "JPEG"))),
    ("PNG and ZIP in one", lambda: with_archive(saved(picture(), "PNG"))),
    ("JPEG with a script behind it", lambda: with_text(saved(picture(), "JPEG"))),
    ("PNG with a script in a comment", png_with_text),
    ("one pixel", lambda: saved(Image.new("L", (1, 1)), "PNG")),
    ("CMYK JPEG", lambda: saved(picture().convert("CMYK"), "JPEG")),
    ("16-bit PNG", sixteen_bit),
    ("palette with transparency", palette_with_alpha),
    ("JPEG with an orientation", rotated),
    ("colour JPEG", colourful),
    ("progressive JPEG", progressive),
    ("kilobytes of nothing behind a PNG", lambda: saved(picture(), "PNG") + bytes(10_000)),
)

ENTRIES: tuple[Entry, ...] = (
    *(Entry(name, "image", expected, partial(verdict_on, make)) for name, expected, make in _BAD),
    *(Entry(name, "image", "accepted", partial(verdict_on, make)) for name, make in _ODD),
    Entry("GIFAR", "image", "not_an_image", partial(verdict_on, lambda: with_archive(saved(picture(), "GIF")))),
)
