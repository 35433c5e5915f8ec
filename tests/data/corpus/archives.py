"""Bad archives, PDFs and annotation XML, each handed to the code that reads what people bring."""

import io
import json
import stat
import struct
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

from diffsensei.config.presets import tiny
from diffsensei.config.schema import FilesSource, Manga109Source
from diffsensei.data.halves import read_halves
from diffsensei.data.images import encode_png
from diffsensei.data.sources import archives, pdf
from diffsensei.data.sources.annotations import collect_annotations
from diffsensei.data.sources.images import import_images
from tests.data.corpus.entry import Entry
from tests.data.sources.manga109_folder import TITLES, write_manga109
from tests.data.sources.pdf_files import drawn_pdf, write_pdf

PAGE = encode_png(np.random.default_rng(0).integers(0, 256, (24, 16), dtype=np.uint8))
DOWNLOAD = tiny().data.download
ACCEPTED = "accepted"


def import_file(root: Path, name: str, data: bytes) -> str:
    """The verdict on a file called ``name``: of all its pages, the first that is not accepted."""
    (root / name).write_bytes(data)
    return import_source(root, FilesSource(paths=(str(root / name),)))


def import_source(root: Path, source: FilesSource | Manga109Source) -> str:
    """List the pages of ``source`` and import their images, as the stages do."""
    folders = {folder: root / folder for folder in ("listed", "listing", "importing", "imported")}
    for folder in folders.values():
        folder.mkdir()
    try:
        collect_annotations(source=source, workspace=folders["listing"], output=folders["listed"])
        import_images(
            source=source,
            download=DOWNLOAD,
            annotations=folders["listed"],
            workspace=folders["importing"],
            output=folders["imported"],
        )
    except ValueError as error:
        return f"error: {error}".replace(str(root), "ROOT")
    halves = read_halves(folders["imported"] / "halves.parquet")
    pages = json.loads((folders["imported"] / "annotations.json").read_text())
    assert len(pages) == len(halves) > 0, "every page has one fate"
    return next((half.reason for half in halves.values() if half.state != "ok"), ACCEPTED)


def zipped(*members: tuple[str | zipfile.ZipInfo, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    """A ZIP file of ``members`` beside a sound page."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", method) as archive:
        archive.writestr("zz-sound.png", PAGE)
        for name, data in members:
            archive.writestr(name, data, method)
    return file.getvalue()


def archive(name: str, expected: str, make: Callable[[], bytes], file: str = "book.cbz") -> Entry:
    """An entry for a file that ``make`` gives the bytes of."""
    return Entry(
        name, "pdf" if file.endswith("pdf") else "archive", expected, lambda root: import_file(root, file, make())
    )


def _member(name: str, *, mode: int = 0, data: bytes = PAGE) -> bytes:
    info = zipfile.ZipInfo(name)
    info.external_attr = mode << 16
    return zipped((info, data))


def _with_nul() -> bytes:
    return _member("a.png-.exe").replace(b"a.png-.exe", b"a.png\0.exe")


def _doubled() -> bytes:
    return zipped(("b.png", PAGE), ("c.png", PAGE)).replace(b"c.png", b"b.png")


def _encrypted() -> bytes:
    data = bytearray(zipped(("a.png", PAGE)))
    for signature, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        start = -1
        while (start := data.find(signature, start + 1)) >= 0:
            data[start + offset] |= 1
    return bytes(data)


def _wrong_checksum() -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as made:
        made.writestr("a.png", PAGE)
    data = bytearray(file.getvalue())
    data[data.find(PAGE[-12:])] ^= 0xFF
    return bytes(data)


def _stated_size(size: int, *, zip64: bool = False) -> bytes:
    """An archive whose directory states that its page unpacks to ``size`` bytes."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as made:
        made.writestr("a.png", PAGE)
    data = bytearray(file.getvalue())
    start = data.find(b"PK\x01\x02")
    if not zip64:
        struct.pack_into("<L", data, start + 24, size)
        return bytes(data)
    extra = struct.pack("<HHQ", 1, 8, size)
    struct.pack_into("<L", data, start + 24, 0xFFFFFFFF)
    struct.pack_into("<H", data, start + 30, len(extra))
    end = data.find(b"PK\x05\x06")
    data[end:end] = extra
    struct.pack_into("<L", data, data.find(b"PK\x05\x06") + 12, end + len(extra) - start)
    return bytes(data)


def _bomb() -> bytes:
    return zipped(("bomb.png", b"\x89PNG\r\n\x1a\n" + bytes(8 * 2**20)))


def _with(module: object, name: str, value: object, run: Callable[[Path], str]) -> Callable[[Path], str]:
    """``run`` while a cap is lower, so that the input stays small."""

    def lowered(root: Path) -> str:
        usual = getattr(module, name)
        setattr(module, name, value)
        try:
            return run(root)
        finally:
            setattr(module, name, usual)

    return lowered


def _capped(name: str, expected: str, limits: archives.ArchiveLimits, make: Callable[[], bytes]) -> Entry:
    init = archives.Archive.__init__
    lowered = lambda self, path, _=None: init(self, path, limits)  # noqa: E731
    return Entry(name, "archive", expected, _with(archives.Archive, "__init__", lowered,
                 lambda root: import_file(root, "book.cbz", make())))  # fmt: skip


def _tar() -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as made:
        info = tarfile.TarInfo("../../evil.png")
        info.size = len(PAGE)
        made.addfile(info, io.BytesIO(PAGE))
    return file.getvalue()


LAUGHS = b'<!DOCTYPE l [<!ENTITY a "ha"><!ENTITY b "%s">]><l>&b;</l>' % (b"&a;" * 1000)
SECRET = b'<!DOCTYPE l [<!ENTITY x SYSTEM "file:///etc/passwd">]><l>&x;</l>'


def _encrypted_pdf() -> bytes:
    empty = b"<" + b"00" * 32 + b">"
    lock = b"/Filter /Standard /V 2 /R 3 /Length 128 /P -4 /O %s /U %s" % (empty, empty)
    return drawn_pdf(trailer=b"/ID [<00> <00>] /Encrypt << %s >>" % lock)


def _circular_pdf() -> bytes:
    return write_pdf(
        [b"<< /Type /Catalog /Pages 2 0 R >>", b"<< /Type /Pages /Kids [2 0 R 2 0 R] /Count 2 /Parent 2 0 R >>"]
    )


def _self_drawing_pdf() -> bytes:
    own = b"/Resources << /XObject << /F 4 0 R >> >>"
    form = b"<< /Type /XObject /Subtype /Form /BBox [0 0 72 36] /Length 5 %s >>" % own
    page = b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 72 36] /Contents 5 0 R %s >>" % own
    return write_pdf(
        [
            b"<< /Type /Catalog /Pages 2 0 R >>",
            b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
            page,
            form + b"\nstream\n/F Do\nendstream",
            b"<< /Length 5 >>\nstream\n/F Do\nendstream",
        ]
    )


SCRIPT = b"/OpenAction << /S /JavaScript /JS (while\\(true\\){}) >>"
LAUNCH = b"/OpenAction << /S /Launch /F (/bin/sh) >>"


def xml(name: str, expected: str, change: Callable[[str], str]) -> Entry:
    """An entry for a Manga109 folder, the XML of whose first title was changed."""

    def run(root: Path) -> str:
        write_manga109(root / "manga109")
        path = root / "manga109" / "annotations" / f"{TITLES[0]}.xml"
        path.write_text(change(path.read_text()))
        return import_source(root, Manga109Source(root=str(root / "manga109"), accept_terms=True))

    return Entry(name, "annotation", expected, run)


def _without_declaration(text: str) -> str:
    return text.partition("?>")[2]


def _linked_image(root: Path) -> str:
    write_manga109(root / "manga109")
    image = root / "manga109" / "images" / TITLES[0] / "000.jpg"
    image.rename(root / "elsewhere.jpg")
    image.symlink_to(root / "elsewhere.jpg")
    return import_source(root, Manga109Source(root=str(root / "manga109"), accept_terms=True))


def _linked_page(root: Path) -> str:
    (root / "series").mkdir()
    (root / "series" / "1.png").write_bytes(PAGE)
    (root / "secret.png").write_bytes(PAGE)
    (root / "series" / "2.png").symlink_to(root / "secret.png")
    return import_source(root, FilesSource(paths=(str(root / "series"),)))


ENTRIES: tuple[Entry, ...] = (
    archive("zip slip", "bad_path", lambda: _member("../../evil.png")),
    archive("zip slip in the middle", "bad_path", lambda: _member("a/../../evil.png")),
    archive("zip slip with backslashes", "bad_path", lambda: _member("..\\..\\evil.png")),
    archive("absolute member", "bad_path", lambda: _member("/tmp/evil.png")),
    archive("member with a drive letter", "bad_path", lambda: _member("C:/evil.png")),
    archive("member at home", "bad_path", lambda: _member("~/evil.png")),
    archive("member with a NUL", "bad_path", _with_nul),
    archive("member without a name", "bad_path", lambda: _member("")),
    archive("member with a control character", "bad_path", lambda: _member("a\x1b[2J.png")),
    archive("member with an endless name", "bad_path", lambda: _member("a" * 5000 + ".png")),
    archive("symbolic link", "link_member", lambda: _member("a.png", mode=stat.S_IFLNK | 0o777, data=b"/etc/passwd")),
    archive("device", "not_a_file", lambda: _member("a.png", mode=stat.S_IFCHR | 0o666)),
    archive("two members of one name", "duplicate_name", _doubled),
    archive("names that differ in case", ACCEPTED, lambda: zipped(("a.png", PAGE), ("A.png", PAGE))),
    archive("encrypted member", "encrypted_member", _encrypted),
    archive("archive within", "nested_archive", lambda: zipped(("inner.cbz", zipped()))),
    archive("LZMA member", "unknown_compression", lambda: zipped(("a.png", PAGE), method=zipfile.ZIP_LZMA)),
    archive("bomb", "zip_bomb", _bomb),
    _capped("archive of too many bytes", "archive_too_large", archives.ArchiveLimits(max_total_bytes=len(PAGE)),
            lambda: zipped(("a.png", PAGE))),
    _capped("archive of too many members", "error: ROOT/book.cbz has 9 members", archives.ArchiveLimits(max_members=8),
            lambda: zipped(*((f"{number}.png", PAGE) for number in range(8)))),
    archive("directory cut off", "error: ROOT/book.cbz is no readable ZIP", lambda: zipped()[:-30]),
    archive("wrong checksum", "broken_member", _wrong_checksum),
    archive("member larger than stated", "broken_member", lambda: _stated_size(10)),
    archive("member smaller than stated", "broken_member", lambda: _stated_size(2**31)),
    archive("member of exabytes, by zip64", "broken_member", lambda: _stated_size(2**60, zip64=True)),
    archive("empty archive", "error: ROOT/book.cbz holds no image", lambda: b"PK\x05\x06" + bytes(18)),
    archive("empty file", "error: ROOT/book.cbz is neither", lambda: b""),
    archive("no archive", "error: ROOT/book.cbz is neither", lambda: b"<html>not found</html>"),
    archive("tar that is called a CBZ", "error: ROOT/book.cbz is neither", _tar),
    archive("ComicInfo with a billion laughs", ACCEPTED, lambda: zipped(("ComicInfo.xml", LAUGHS))),
    archive("ComicInfo that reads a file", ACCEPTED, lambda: zipped(("ComicInfo.xml", SECRET))),
    archive("text that is called an image", "not_an_image", lambda: zipped(("a.png", b"a recipe"))),
    archive("GIF that is called an image", "not_an_image", lambda: zipped(("a.jpg", b"GIF89a" + bytes(20)))),
    archive("image that is called a text", ACCEPTED, lambda: zipped(("a.txt", PAGE))),
    archive("PDF cut off", "error: ROOT/book.pdf cannot be read as a PDF", lambda: drawn_pdf()[:60], "book.pdf"),
    archive("no PDF", "error: ROOT/book.pdf is neither", lambda: b"MZ" + bytes(99), "book.pdf"),
    archive("PDF of a huge page", "too_many_pixels", lambda: drawn_pdf(size=(10**6, 10**6)), "book.pdf"),
    archive("encrypted PDF", "error: ROOT/book.pdf cannot be read as a PDF (encrypted_pdf", _encrypted_pdf, "book.pdf"),
    archive("PDF that runs a script", ACCEPTED, lambda: drawn_pdf(catalog=SCRIPT), "book.pdf"),
    archive("PDF that starts a program", ACCEPTED, lambda: drawn_pdf(catalog=LAUNCH), "book.pdf"),
    archive("PDF whose page tree is a circle", "broken_pdf", _circular_pdf, "book.pdf"),
    archive("PDF whose drawing draws itself", ACCEPTED, _self_drawing_pdf, "book.pdf"),
    Entry("PDF of too many pages", "pdf", "error: ROOT/book.pdf has 9 pages", _with(pdf, "MAX_PAGES", 8,
          lambda root: import_file(root, "book.pdf", drawn_pdf(num_pages=9)))),
    xml("entity bomb", "error: ROOT/manga109/annotations/ARMS.xml: it has a document type",
        lambda text: LAUGHS.decode() + _without_declaration(text)),
    xml("external entity", "error: ROOT/manga109/annotations/ARMS.xml: it has a document type",
        lambda _: SECRET.decode()),
    xml("character that is not declared", ACCEPTED, lambda text: text.replace("<character id", "<person id")),
    xml("box without an edge", "error: ROOT/manga109/annotations/ARMS.xml: page 0",
        lambda text: text.replace("ymax=", "y=", 1)),
    xml("box of no numbers", "error: ROOT/manga109/annotations/ARMS.xml: page 0",
        lambda text: text.replace('xmin="', 'xmin="-1e9', 1)),
    xml("XML cut off", "error: ROOT/manga109/annotations/ARMS.xml: not well-formed", lambda text: text[:-20]),
    Entry("Manga109 image that is a link", "annotation", "outside_folder", _linked_image),
    Entry("page that links out of its folder", "archive", "outside_folder", _linked_page),
)  # fmt: skip
