"""A tiny Manga109 folder as published, drawn by the synthetic world; its annotations are known to the pixel."""

import io
import itertools
from pathlib import Path
from xml.sax.saxutils import quoteattr

from PIL import Image

from diffsensei.config.schema import SyntheticSource
from diffsensei.data.records import PageAnnotation
from diffsensei.data.synthetic.page import draw_page

WORLD = SyntheticSource(num_series=2, pages_per_series=3, page_height=120, seed=5)
TITLES = ("ARMS", "YumeNoKayoiji")
_IDS = itertools.count()


def write_manga109(root: Path, world: SyntheticSource = WORLD) -> dict[str, PageAnnotation]:
    """Write ``books.txt``, ``images/`` and ``annotations/`` into ``root``; what was drawn, by image."""
    drawn_pages = {}
    (root / "annotations").mkdir(parents=True)
    (root / "books.txt").write_text("".join(f"{title}\n" for title in TITLES))
    for series, title in enumerate(TITLES):
        (root / "images" / title).mkdir(parents=True)
        elements, people = [], set()
        for index in range(world.pages_per_series):
            drawn = draw_page(world, series, index)
            height, width = drawn.image.shape
            (root / "images" / title / f"{index:03d}.jpg").write_bytes(jpeg(drawn.image))
            drawn_pages[f"{title}/{index:03d}.jpg"] = drawn.annotation
            marks = []
            # The published files list boxes by kind, not by panel, and frames in no order.
            for frame in reversed(drawn.annotation.frames):
                marks.append(mark("frame", frame.bbox))
                for character in frame.characters:
                    person = f"{title}-{character.id}"
                    people.add(person)
                    marks.append(mark("body", character.bbox, person))
                    if character.type == 0:
                        x1, y1, x2, y2 = character.bbox
                        marks.append(mark("face", (x1, y1, (x1 + x2) // 2 + 1, (y1 + y2) // 2 + 1), person))
                marks += [mark("text", dialog.bbox, text="...") for dialog in frame.dialogs]
            elements.append(f'<page index="{index}" width="{width}" height="{height}">{"".join(marks)}</page>')
        cast = "".join(f"<character id={quoteattr(person)} name='x'/>" for person in sorted(people))
        (root / "annotations" / f"{title}.xml").write_text(
            f'<?xml version="1.0" encoding="UTF-8"?>\n<book title="{title}"><characters>{cast}</characters>'
            f"<pages>{''.join(elements)}</pages></book>"
        )
    return drawn_pages


def mark(tag: str, box, character: str = "", text: str = "") -> str:
    """One element of the XML."""
    corners = " ".join(f'{name}="{round(v)}"' for name, v in zip(("xmin", "ymin", "xmax", "ymax"), box, strict=True))
    person = f" character={quoteattr(character)}" if character else ""
    return f'<{tag} id="{next(_IDS):08x}" {corners}{person}>{text}</{tag}>'


def jpeg(image) -> bytes:
    """``image`` (h, w) uint8 as the bytes of a JPEG file."""
    file = io.BytesIO()
    Image.fromarray(image).save(file, "JPEG", quality=90)
    return file.getvalue()
