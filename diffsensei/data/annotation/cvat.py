"""CVAT for images 1.1 (XML): pages with the machine's boxes, and what an annotator made of them as edits.

The box's name travels as an attribute, because CVAT gives shapes no lasting names.
"""

import xml.etree.ElementTree as ET
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from xml.parsers import expat

from diffsensei.data.annotation.boxes import KINDS, AnnotatedBox
from diffsensei.data.annotation.edits import Edit
from diffsensei.data.annotation.machine_layer import MachineLayer
from diffsensei.data.annotation.regions import Region, checked_region, edits_between, regions_of
from diffsensei.data.page_paths import page_id_of

MAX_SIDE = 100_000
LABELS = [
    {
        "name": kind,
        "type": "rectangle",
        "attributes": [
            {"name": "box_id", "mutable": False, "input_type": "text", "default_value": "", "values": [""]},
            *(
                [
                    {"name": "character_id", "mutable": False, "input_type": "text", "default_value": "", "values": []},
                    {
                        "name": "type",
                        "mutable": False,
                        "input_type": "select",
                        "default_value": "0",
                        "values": ["0", "1", "2"],
                    },
                ]
                if kind == "character"
                else []
            ),
        ],
    }
    for kind in KINDS
]
"""To paste into the raw editor of a CVAT task's labels, as JSON."""


def write_cvat(pages: Iterable[tuple[str, Mapping[str, AnnotatedBox], tuple[int, int]]], path: Path) -> None:
    """Annotations to upload to a CVAT task of images ``<page id>.png``; pages are (key, boxes, (width, height))."""
    root = ET.Element("annotations")
    ET.SubElement(root, "version").text = "1.1"
    for number, (page_key, boxes, (width, height)) in enumerate(pages):
        image = ET.SubElement(
            root,
            "image",
            {"id": str(number), "name": f"{page_id_of(page_key)}.png", "width": str(width), "height": str(height)},
        )
        for region in regions_of(boxes, width, height):
            sides = zip(("xtl", "ytl", "xbr", "ybr"), (f"{side:.2f}" for side in region.bbox), strict=True)
            box = ET.SubElement(
                image, "box", {"label": region.kind, "source": "auto", "occluded": "0", **dict(sides), "z_order": "0"}
            )
            attributes = {"box_id": region.box_id}
            if region.kind == "character":
                attributes |= {"character_id": region.label, "type": str(region.type)}
            for name, text in attributes.items():
                ET.SubElement(box, "attribute", {"name": name}).text = text
    ET.indent(root)
    ET.ElementTree(root).write(path, encoding="utf-8", xml_declaration=True)


def parse_plain_xml(data: bytes) -> ET.Element:
    """``data`` as a tree. Raises ValueError (one line) for a document type (and so for entities) and for no XML."""

    def refuse(*_: object) -> None:
        raise ValueError("the XML declares a document type; expected plain XML, without DTD or entities")

    guard = expat.ParserCreate()
    guard.StartDoctypeDeclHandler = refuse
    try:
        guard.Parse(data, True)
        return ET.fromstring(data)
    except (expat.ExpatError, ET.ParseError, LookupError) as error:
        raise ValueError(f"not XML ({error}); expected CVAT for images 1.1") from None


def read_cvat(path: Path, machine: MachineLayer) -> list[Edit]:
    """The edits in an export of CVAT for images 1.1, of its one annotator (the task's assignee or owner).

    Images without any box were not worked on and are passed over. Raises ValueError (one line) naming the image that
    does not fit.
    """
    try:
        root = parse_plain_xml(path.read_bytes())
    except ValueError as error:
        raise ValueError(f"{path.name}: {error}") from None
    if root.tag != "annotations":
        raise ValueError(f"{path.name}: root element {root.tag[:40]!r}; expected annotations (CVAT for images 1.1)")
    annotator = _first_text(root, ".//meta//assignee/username", ".//meta//owner/username") or "unknown"
    ts = _time(_first_text(root, ".//meta/dumped", ".//meta//updated"))
    edits: list[Edit] = []
    for image in root.iter("image"):
        if image.find("box") is None:
            continue
        name = image.get("name", "")
        try:
            page_key = machine.key_of(name.rpartition("/")[2].partition(".")[0])
            size = _pixels(image, "width"), _pixels(image, "height")
            regions = [_region(box) for box in image.iter("box")]
            edits += edits_between(
                page_key, machine.boxes(page_key), regions, size=size, annotator=f"cvat:{annotator[:100]}", ts=ts
            )
        except ValueError as error:
            raise ValueError(f"{path.name} image {name[:80]!r}: {error}") from None
    return edits


def _region(box: ET.Element) -> Region:
    attributes = {it.get("name", ""): (it.text or "").strip() for it in box.iter("attribute")}
    if float(box.get("rotation", "0")):
        raise ValueError(f"a box is rotated by {box.get('rotation')} degrees; boxes must be upright")
    bbox = tuple(float(box.get(side, "nan")) for side in ("xtl", "ytl", "xbr", "ybr"))
    return checked_region(
        attributes.get("box_id", ""),
        box.get("label", ""),
        bbox,
        attributes.get("character_id", ""),
        attributes.get("type") or "0",
    )


def _pixels(image: ET.Element, name: str) -> int:
    text = image.get(name, "")
    if not text.isdecimal() or not 0 < int(text[:9]) <= MAX_SIDE:
        raise ValueError(f"{name} {text[:20]!r}; expected pixels, 1 to {MAX_SIDE}")
    return int(text)


def _first_text(root: ET.Element, *places: str) -> str:
    found = (root.findtext(place) for place in places)
    return next((" ".join(text.split()) for text in found if text and text.strip()), "")


def _time(text: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        moment = datetime.fromtimestamp(0, UTC)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
