"""Crop sheets: one offline HTML file per page or chapter, its characters cut out and grouped by who they are.

For naming characters this is quicker than a drawing tool: look, press a key, download the edits. A file asks nobody
for anything; names and captions from outside enter it as text only.
"""

import base64
import hashlib
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from diffsensei.data.annotation.boxes import AnnotatedBox, boxes_of_page
from diffsensei.data.annotation.regions import is_drawable
from diffsensei.data.images import Gray
from diffsensei.data.page_paths import page_id_of
from diffsensei.data.records import PageAnnotation

Scope = Literal["page", "chapter"]
MAX_PAGE_SIDE = 1400
MAX_CROP_SIDE = 220
MAX_SHEET_BYTES = 24 << 20
"""Of embedded images in one file; a chapter with more goes on in another."""
MAX_CROPS = 400
"""Of one page: more is no manga page, and no person would look at them."""
_WEBP = [cv2.IMWRITE_WEBP_QUALITY, 78]
_FOLDER = Path(__file__).parent / "templates"
_SAFE_INTEGER = 2**53


@dataclass
class _Sheet:
    name: str
    title: str
    pages: list[dict[str, Any]] = field(default_factory=list)
    num_bytes: int = 0


def write_crop_sheets(
    pages: Iterable[tuple[str, PageAnnotation, Gray]], folder: Path, *, per: Scope = "page"
) -> list[Path]:
    """Write a sheet per page, or per run of pages in one folder (a chapter), into ``folder``; return their paths.

    Pages without characters to show are left out. Files are named after the page or the chapter and its digest.
    """
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for sheet in _sheets(pages, per):
        path = folder / f"{sheet.name}.html"
        path.write_text(render_sheet(sheet.title, sheet.pages), encoding="utf-8")
        paths.append(path)
    return paths


def _sheets(pages: Iterable[tuple[str, PageAnnotation, Gray]], per: Scope) -> Iterator[_Sheet]:
    open_sheet: _Sheet | None = None
    chapter = None
    part = 1
    for key, page, image in pages:
        content, num_bytes = sheet_page(key, page, image)
        if not content["crops"]:
            continue
        title = key if per == "page" else key.rpartition("/")[0] or key
        if open_sheet is not None and (title != chapter or open_sheet.num_bytes + num_bytes > MAX_SHEET_BYTES):
            yield open_sheet
            part = part + 1 if title == chapter else 1
            open_sheet = None
        chapter = title
        if open_sheet is None:
            name = page_id_of(title) if part == 1 else f"{page_id_of(title)}-{part}"
            open_sheet = _Sheet(name, title if part == 1 else f"{title} ({part})")
        open_sheet.pages.append(content)
        open_sheet.num_bytes += num_bytes
    if open_sheet is not None:
        yield open_sheet


def sheet_page(page_key: str, page: PageAnnotation, image: Gray) -> tuple[dict[str, Any], int]:
    """What a sheet needs of a page of pixels (H, W), and the size of its images in bytes."""
    height, width = image.shape
    boxes = boxes_of_page(page)
    shown = [box for box in boxes.values() if is_drawable(box.bbox, width, height)]
    characters = [box for box in shown if box.kind == "character" and box.type in (0, 1, 2)][:MAX_CROPS]
    places = {name: index for index, name in enumerate(box.box_id for box in shown if box.kind == "frame")}
    whole = _data_uri(_fitted(image, MAX_PAGE_SIDE))
    crops = [_crop(box, image, places.get(box.frame), boxes[box.frame].caption) for box in characters]
    content = {
        "key": page_key,
        "width": width,
        "height": height,
        "image": whole,
        "frames": [list(box.bbox) for box in shown if box.kind == "frame"],
        "dialogs": [list(box.bbox) for box in shown if box.kind == "dialog"],
        "crops": crops,
    }
    return content, len(whole) + sum(len(crop["image"]) for crop in crops)


def _crop(box: AnnotatedBox, image: Gray, panel: int | None, caption: str) -> dict[str, Any]:
    who = box.character_id
    x1, y1, x2, y2 = (round(max(side, 0)) for side in box.bbox)
    cut = image[y1 : max(y2, y1 + 1), x1 : max(x2, x1 + 1)]
    return {
        "box_id": box.box_id,
        "id": who if isinstance(who, str) or abs(who) < _SAFE_INTEGER else str(who),
        "type": box.type,
        "bbox": list(box.bbox),
        "panel": None if panel is None else panel + 1,
        "caption": caption[:400],
        "image": _data_uri(_fitted(cut, MAX_CROP_SIDE)) if cut.size else "",
    }


def _fitted(image: Gray, most: int) -> Gray:
    scale = min(1.0, most / max(image.shape))
    size = max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale))
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)


def _data_uri(image: Gray) -> str:
    ok, data = cv2.imencode(".webp", image, _WEBP)
    assert ok
    return f"data:image/webp;base64,{base64.b64encode(data.tobytes()).decode()}"


def render_sheet(title: str, pages: list[dict[str, Any]]) -> str:
    """The file: style, script and images inside, and a policy that permits nothing else, by their digests."""
    style, script = ((_FOLDER / f"crop_sheet.{kind}").read_text(encoding="utf-8") for kind in ("css", "js"))
    templates = Environment(loader=FileSystemLoader(_FOLDER), autoescape=True, undefined=StrictUndefined)
    # The browser keeps unfinished work under this name: another machine layer must not find it.
    machine = [(page["key"], [(crop["box_id"], crop["id"], crop["type"]) for crop in page["crops"]]) for page in pages]
    digest = hashlib.sha256(json.dumps(machine).encode()).hexdigest()
    return templates.get_template("crop_sheet.html.j2").render(
        title=title,
        sheet={"name": digest[:16], "pages": pages},
        style=Markup(style),
        script=Markup(script),
        style_digest=_policy_digest(style),
        script_digest=_policy_digest(script),
    )


def _policy_digest(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
