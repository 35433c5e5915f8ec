"""PDFs: scans keep their pixels, drawings are drawn, and what a PDF may cost is limited."""

from pathlib import Path

import numpy as np
import pytest

from diffsensei.data.images import decode_image
from diffsensei.data.refusal import Refusal
from diffsensei.data.sources import pdf
from diffsensei.data.sources.pdf import offer_pdf
from tests.data.sources.pdf_files import drawn_pdf, scanned_pdf, write_pdf

LIMIT = 10**7
PIXELS = np.random.default_rng(0).integers(0, 256, (64, 48), dtype=np.uint8)


def write(tmp_path: Path, data: bytes) -> Path:
    path = tmp_path / "book.pdf"
    path.write_bytes(data)
    return path


def test_a_scan_is_its_own_jpeg(tmp_path: Path) -> None:
    data = scanned_pdf(PIXELS)
    (page,) = offer_pdf(write(tmp_path, data), 300)
    image = page.read(LIMIT)
    assert image.startswith(b"\xff\xd8\xff")
    assert image in data, "the file's own bytes"


def test_a_scan_of_another_coding_keeps_its_resolution(tmp_path: Path) -> None:
    (page,) = offer_pdf(write(tmp_path, scanned_pdf(PIXELS, jpeg=False)), 300)
    gray = decode_image(page.read(LIMIT), max_megapixels=1).gray
    assert gray.shape == (64, 48)
    assert set(np.unique(gray)) == {0, 255}


def test_a_drawing_is_drawn_at_the_resolution_asked_for(tmp_path: Path) -> None:
    pages = list(offer_pdf(write(tmp_path, drawn_pdf(num_pages=2)), 144))
    assert [page.name for page in pages] == ["0001.png", "0002.png"]
    gray = decode_image(pages[1].read(LIMIT), max_megapixels=1).gray
    assert gray.shape == (72, 144)
    assert (gray[:, :71] == 0).all()
    assert (gray[:, 73:] == 255).all()


@pytest.mark.parametrize(
    ("limit", "size", "reason"), [(10, (72, 36), "too_large"), (LIMIT, (14400, 14400), "too_many_pixels")]
)
def test_what_is_too_much_is_refused(tmp_path: Path, limit: int, size: tuple[int, int], reason: str) -> None:
    (page,) = offer_pdf(write(tmp_path, drawn_pdf(size=size)), 144)
    with pytest.raises(Refusal) as caught:
        page.read(limit)
    assert caught.value.reason == reason


def test_a_renderer_that_hangs_or_dies_costs_one_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = tmp_path / "renderer.py"
    monkeypatch.setattr(pdf.pdf_renderer, "__file__", str(script))
    for body, reason in (
        ("import time; time.sleep(60)", "pdf_timeout"),
        ("import os; os.abort()", "pdf_limit"),
        ("print('x' * 200)", "pdf_limit"),
    ):
        script.write_text(body)
        monkeypatch.setattr(pdf, "TIMEOUT_S", 0.5)
        with pytest.raises(Refusal) as caught:
            pdf.run_renderer(tmp_path / "x.pdf", "count", max_output=100)
        assert caught.value.reason == reason


def test_the_renderer_lives_under_limits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = (
        f"import sys; sys.path.insert(0, {str(Path(pdf.pdf_renderer.__file__).parent)!r})",
        "import pdf_renderer",
        "pdf_renderer.main(sys.argv[1:])",
        "bytearray(4 * 2**30)",
    )
    script = tmp_path / "renderer.py"
    script.write_text("\n".join(lines))
    monkeypatch.setattr(pdf.pdf_renderer, "__file__", str(script))
    with pytest.raises(Refusal, match="MemoryError"):
        pdf.run_renderer(write(tmp_path, drawn_pdf()), "count", max_output=100)


@pytest.mark.parametrize(
    ("data", "message"),
    [(b"%PDF-1.7\nnothing", "broken_pdf"), (write_pdf([b"<< /Type /Catalog >>"]), "pages|broken_pdf")],
)
def test_what_is_no_pdf_is_named(tmp_path: Path, data: bytes, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        list(offer_pdf(write(tmp_path, data), 300))


def test_a_book_of_too_many_pages_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pdf, "MAX_PAGES", 2)
    with pytest.raises(ValueError, match="3 pages; expected 1 to 2"):
        list(offer_pdf(write(tmp_path, drawn_pdf(num_pages=3)), 300))
