"""The XML of a Manga109 title, read without trusting it: no document type, no entities, a cap on its size."""

import xml.etree.ElementTree as ElementTree
from dataclasses import dataclass, field
from pathlib import Path

from diffsensei.data.records import Bbox
from diffsensei.data.refusal import Refusal
from diffsensei.data.sources.folders import read_inside

MAX_XML_BYTES = 64 * 2**20
"""The longest title of the published set is about 2 MB."""
DECLARED_ENCODINGS = ("", "utf-8", "utf8")


@dataclass(frozen=True)
class Marked:
    """One ``frame``, ``body``, ``face`` or ``text`` element: its id, box in pixels, the character of a body or face."""

    id: str
    box: Bbox
    character: str = ""


@dataclass(frozen=True)
class MarkedPage:
    """A double page of a title; ``index`` counts from 0 and names the file ``images/<title>/<index>.jpg``."""

    index: int
    width: int
    height: int
    frames: list[Marked] = field(default_factory=list)
    bodies: list[Marked] = field(default_factory=list)
    faces: list[Marked] = field(default_factory=list)
    texts: list[Marked] = field(default_factory=list)


@dataclass(frozen=True)
class MarkedBook:
    """A title: the declared character ids, and its pages in file order."""

    characters: frozenset[str]
    pages: tuple[MarkedPage, ...]


LISTS = {"frame": "frames", "body": "bodies", "face": "faces", "text": "texts"}


def read_book(root: Path, title: str) -> MarkedBook:
    """``root/annotations/<title>.xml``; elements of other kinds are passed over.

    Raises ValueError (one line) naming the file and the place: unreadable, too large, not UTF-8, with a document type,
    not well formed, or an element that lacks an attribute.
    """
    name = f"annotations/{title}.xml"
    try:
        data = read_inside(root, name, MAX_XML_BYTES)
    except Refusal as refusal:
        raise ValueError(f"{root / name}: {refusal.reason} ({refusal.evidence}); copy the data set again") from None
    try:
        tree = parse_safely(data)
        declared = frozenset(_attribute(element, "id") for element in tree.iterfind("characters/character"))
        pages = tuple(_page(element) for element in tree.iterfind("pages/page"))
    except ValueError as error:
        raise ValueError(f"{root / name}: {error}") from None
    if not pages:
        raise ValueError(f"{root / name} has no <page> in <pages>; expected the XML that Manga109 publishes")
    return MarkedBook(declared, pages)


def parse_safely(data: bytes) -> ElementTree.Element:
    """The root element of a UTF-8 XML file. Raises ValueError when it could define entities, or is not well formed."""
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"not UTF-8 ({error.reason} at byte {error.start}); expected UTF-8 XML") from None
    # Without a document type there are no entities to expand or to fetch. Looked for in the text before anything is
    # parsed; a declared encoding that reads the same bytes in another way would hide it.
    if "<!DOCTYPE" in text or "<!ENTITY" in text:
        raise ValueError("it has a document type or entities (<!DOCTYPE, <!ENTITY); remove them, Manga109 has none")
    if text.startswith("<?xml") and _encoding(text) not in DECLARED_ENCODINGS:
        raise ValueError(f"it declares the encoding {_encoding(text)!r}; expected UTF-8")
    try:
        return ElementTree.fromstring(text.encode())
    except ElementTree.ParseError as error:
        raise ValueError(f"not well-formed XML ({error}); copy the data set again") from None


def _encoding(text: str) -> str:
    _, found, rest = text[: text.find("?>")].partition("encoding")
    return rest.strip(" =\t\r\n").strip("\"'").partition('"')[0].partition("'")[0].lower() if found else ""


def _page(element: ElementTree.Element) -> MarkedPage:
    index, width, height = (int(_number(element, name)) for name in ("index", "width", "height"))
    page = MarkedPage(index, width, height)
    try:
        for child in element:
            if child.tag in LISTS:
                box = tuple(_number(child, name) for name in ("xmin", "ymin", "xmax", "ymax"))
                character = _attribute(child, "character") if child.tag in ("body", "face") else ""
                marked = Marked(_attribute(child, "id"), (box[0], box[1], box[2], box[3]), character)
                getattr(page, LISTS[child.tag]).append(marked)
    except ValueError as error:
        raise ValueError(f"page {page.index}, {error}") from None
    return page


def _attribute(element: ElementTree.Element, name: str) -> str:
    value = element.get(name)
    if value is None:
        raise ValueError(f"<{element.tag} id={element.get('id')!r}> has no {name}; copy the data set again")
    return value


def _number(element: ElementTree.Element, name: str) -> float:
    value = _attribute(element, name)
    # Manga109 counts pixels: whole, without sign or exponent.
    if not (value.isascii() and value.isdigit() and len(value) < 8):
        raise ValueError(f"<{element.tag} id={element.get('id')!r}> has {name}={value[:20]!r}; expected whole pixels")
    return float(value)
