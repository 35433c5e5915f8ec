"""The program that opens a PDF, run in a process of its own under limits: a page in, pixels out.

Imports nothing of ours, so that it starts quickly and holds nothing worth stealing. PDFium comes without a script
engine and fetches nothing; forms and open actions are never run as no form environment is made.

    pdf_renderer.py FILE count                        -> {"pages": n}
    pdf_renderer.py FILE PAGE DPI MAX_PIXELS MAX_SIDE -> {"kind": "gray", "width": w, "height": h} and w*h bytes,
                                                         or {"kind": "jpeg"} and the scan's own file
A failure is {"reason": ..., "evidence": ...}. The header is one line of JSON.
"""

import json
import resource
import sys
from typing import Any

MEMORY_BYTES = 2 * 2**30
CPU_S = 60
OUTPUT_BYTES = 128 * 2**20
FULL_PAGE = 0.95
"""Share of both page edges from which on an image is the page."""


def main(arguments: list[str]) -> None:
    """Answer on stdout."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_S, CPU_S))
    resource.setrlimit(resource.RLIMIT_FSIZE, (OUTPUT_BYTES, OUTPUT_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    import pypdfium2

    path, what, *numbers = arguments
    try:
        document = pypdfium2.PdfDocument(path)
        if what == "count":
            _answer({"pages": len(document)})
        else:
            _answer(*_page(document[int(what)], *map(int, numbers)))
    except pypdfium2.PdfiumError as error:
        locked = getattr(error, "err_code", None) == pypdfium2.raw.FPDF_ERR_PASSWORD
        _answer({"reason": "encrypted_pdf" if locked else "broken_pdf", "evidence": str(error)})
    except MemoryError:
        _answer({"reason": "pdf_limit", "evidence": f"needs more than {MEMORY_BYTES >> 20} MiB"})


def _page(page: Any, dpi: int, max_pixels: int, max_side: int) -> tuple[dict[str, Any], bytes]:
    """Header and body of a page: its scan as it is, else drawn at the scan's resolution, else at ``dpi``."""
    import pypdfium2

    width, height = page.get_size()
    scale = dpi / 72
    scan = _scan(page, pypdfium2)
    if scan is not None:
        columns, rows = scan.get_px_size()
        if columns * rows <= max_pixels and max(columns, rows) <= max_side:
            if _is_plain_jpeg(page, scan, pypdfium2):
                return {"kind": "jpeg"}, bytes(scan.get_data(decode_simple=False))
            scale = columns / width if page.get_rotation() in (0, 180) else rows / width
    if not (width * scale * height * scale <= max_pixels and max(width, height) * scale <= max_side):
        return {
            "reason": "too_many_pixels",
            "evidence": f"{width:.0f}x{height:.0f} points at {72 * scale:.0f} dpi",
        }, b""
    bitmap = page.render(scale=scale, grayscale=True, may_draw_forms=False)
    rows_of_bytes = memoryview(bitmap.buffer).cast("B")
    pixels = b"".join(
        bytes(rows_of_bytes[y * bitmap.stride : y * bitmap.stride + bitmap.width]) for y in range(bitmap.height)
    )
    return {"kind": "gray", "width": bitmap.width, "height": bitmap.height}, pixels


def _scan(page: Any, pypdfium2: Any) -> Any:
    """The image that is all there is on the page, or None."""
    found = []
    for thing in page.get_objects(max_depth=2):
        found.append(thing)
        if len(found) > 1:
            return None
    if not found or found[0].type != pypdfium2.raw.FPDF_PAGEOBJ_IMAGE:
        return None
    left, bottom, right, top = found[0].get_bounds()
    x1, y1, x2, y2 = page.get_cropbox()
    covered = min(right, x2) - max(left, x1) >= FULL_PAGE * (x2 - x1)
    return found[0] if covered and min(top, y2) - max(bottom, y1) >= FULL_PAGE * (y2 - y1) else None


def _is_plain_jpeg(page: Any, scan: Any, pypdfium2: Any) -> bool:
    """Whether the scan is one JPEG that lies upright on an upright page, in grey or RGB: then the file is the page."""
    matrix = scan.get_matrix()
    upright = page.get_rotation() == 0 and abs(matrix.b) + abs(matrix.c) < 1e-3 and matrix.a > 0 and matrix.d > 0
    spaces = (pypdfium2.raw.FPDF_COLORSPACE_DEVICEGRAY, pypdfium2.raw.FPDF_COLORSPACE_DEVICERGB)
    return upright and scan.get_filters() == ["DCTDecode"] and scan.get_metadata().colorspace in spaces


def _answer(header: dict[str, Any], body: bytes = b"") -> None:
    sys.stdout.buffer.write(json.dumps(header).encode() + b"\n" + body)


if __name__ == "__main__":
    main(sys.argv[1:])
