"""PDFs written by hand, object by object: sound ones and bad ones."""

import io

import numpy as np
from PIL import Image


def write_pdf(objects: list[bytes], trailer: bytes = b"", *, root: int = 1) -> bytes:
    """A PDF of ``objects`` (numbered from 1) with a true cross-reference table; ``trailer`` adds entries to its own."""
    data = bytearray(b"%PDF-1.7\n")
    offsets = []
    for number, body in enumerate(objects, start=1):
        offsets.append(len(data))
        data += b"%d 0 obj\n" % number + body + b"\nendobj\n"
    start = len(data)
    data += b"xref\n0 %d\n0000000000 65535 f \n" % (len(objects) + 1)
    data += b"".join(b"%010d 00000 n \n" % offset for offset in offsets)
    data += b"trailer\n<< /Size %d /Root %d 0 R %s >>\nstartxref\n%d\n%%%%EOF\n" % (
        len(objects) + 1,
        root,
        trailer,
        start,
    )
    return bytes(data)


def drawn_pdf(
    *, size: tuple[int, int] = (72, 36), num_pages: int = 1, catalog: bytes = b"", trailer: bytes = b""
) -> bytes:
    """``num_pages`` equal pages of ``size`` points with a black left half."""
    pages = b" ".join(b"%d 0 R" % (4 + index) for index in range(num_pages))
    content = b"0 g 0 0 %d %d re f" % (size[0] // 2, size[1])
    page = b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 %d %d] /Contents 3 0 R >>" % size
    return write_pdf(
        [
            b"<< /Type /Catalog /Pages 2 0 R %s >>" % catalog,
            b"<< /Type /Pages /Kids [%s] /Count %d >>" % (pages, num_pages),
            b"<< /Length %d >>\nstream\n%s\nendstream" % (len(content), content),
            *[page] * num_pages,
        ],
        trailer,
    )


def scanned_pdf(pixels: np.ndarray, *, jpeg: bool = True) -> bytes:
    """A page that is one image: ``pixels`` (h, w) as a JPEG, or as bits of a fax."""
    file = io.BytesIO()
    image = Image.fromarray(pixels)
    (image if jpeg else image.convert("1")).save(file, "PDF")
    return file.getvalue()
