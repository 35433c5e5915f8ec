"""Defects that real collections have, injected one per page, each with the verdict that validation must reach."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

import cv2
import numpy as np

from diffsensei.config.schema import SyntheticSource
from diffsensei.data.synthetic.ink import Image
from diffsensei.seeding import numpy_stream

Level = Literal["page", "panel", "character", "dialog"]
Verdict = Literal["missing", "removed", "quarantined", "warning"]


@dataclass(frozen=True)
class Defect:
    """A kind of defect and what becomes of the thing that has it."""

    kind: str
    level: Level
    verdict: Verdict


@dataclass(eq=False)
class Served:
    """A page as it will be published: raw annotation and, per half, the file name's digest and the bytes served."""

    raw: dict[str, Any]
    halves: list[bytes | None]
    """Bytes served for the left and the right half; None: the url is dead."""
    previous_path: str
    """``image_path`` of the page before, which ``duplicate_path`` repeats."""
    place: dict[str, int] = field(default_factory=dict)
    """``panel_index``, ``box_index`` or ``half`` that a defect touched."""


_KINDS = (
    Defect("dead_url", "page", "removed"),
    Defect("truncated_image", "page", "quarantined"),
    Defect("wrong_image", "page", "quarantined"),
    Defect("not_an_image", "page", "quarantined"),
    Defect("path_traversal", "page", "quarantined"),
    Defect("duplicate_path", "page", "quarantined"),
    Defect("missing_url2", "page", "quarantined"),
    Defect("wrong_width1", "page", "quarantined"),
    Defect("non_numeric_box", "page", "quarantined"),
    Defect("panel_outside_page", "panel", "quarantined"),
    Defect("inverted_panel", "panel", "quarantined"),
    Defect("nan_panel", "panel", "quarantined"),
    Defect("empty_caption", "panel", "quarantined"),
    Defect("inverted_character", "character", "quarantined"),
    Defect("unknown_type", "character", "quarantined"),
    Defect("dialog_outside_panel", "dialog", "quarantined"),
    Defect("panel_slightly_outside", "panel", "warning"),
    Defect("duplicate_character_id", "panel", "warning"),
    Defect("rescaled_half", "page", "warning"),
    Defect("no_panels", "page", "quarantined"),
    Defect("unknown_key", "page", "warning"),
    Defect("colour_page", "page", "warning"),
    Defect("reversed_order", "page", "warning"),
    Defect("tiny_panel", "panel", "quarantined"),
    Defect("control_characters", "panel", "quarantined"),
    Defect("refusal_caption", "panel", "quarantined"),
    Defect("endless_caption", "panel", "quarantined"),
    Defect("html_caption", "panel", "warning"),
    Defect("long_caption", "panel", "warning"),
    Defect("extreme_aspect", "panel", "warning"),
    Defect("many_characters", "panel", "warning"),
    Defect("many_dialogs", "panel", "warning"),
    Defect("dialog_covers_panel", "panel", "warning"),
    Defect("small_character", "character", "warning"),
    Defect("lonely_character", "character", "warning"),
    Defect("character_mostly_outside", "character", "warning"),
)
DEFECTS: dict[str, Defect] = {defect.kind: defect for defect in _KINDS}

_NEEDS: dict[str, tuple[str, int]] = {
    "inverted_character": ("characters", 1),
    "unknown_type": ("characters", 1),
    "duplicate_character_id": ("characters", 2),
    "dialog_outside_panel": ("dialogs", 1),
    "many_dialogs": ("dialogs", 1),
    "dialog_covers_panel": ("dialogs", 1),
    "many_characters": ("characters", 1),
    "small_character": ("characters", 1),
    "lonely_character": ("characters", 1),
    "character_mostly_outside": ("characters", 1),
}
"""Box list of which one panel must have at least so many."""
_ALWAYS_POSSIBLE = "empty_caption"
RENAMED = ("rescaled_half", "colour_page")
"""Kinds whose files are whole, so that their urls carry the digest of what is served."""
SMALL_PX = 6.0
"""Edge of boxes that are too small to draw, or to recognise anybody by."""
SLIGHTLY_PX = 1.5
"""Pixels by which the box of ``panel_slightly_outside`` leaves its page."""


def defect_of(source: SyntheticSource, series: int, page: int) -> Defect | None:
    """The defect of one page, if it has any: the same whatever other pages are drawn."""
    rng = _stream(source, series, page)
    if rng.random() >= source.defect_rate:
        return None
    kinds = [kind for kind in DEFECTS if kind != "duplicate_path"]
    # Only the path of a sound page is sure to be the first of its name.
    if page > 0 and _stream(source, series, page - 1).random() >= source.defect_rate:
        kinds.append("duplicate_path")
    return DEFECTS[kinds[int(rng.integers(len(kinds)))]]


def _stream(source: SyntheticSource, series: int, page: int) -> np.random.Generator:
    return numpy_stream(source.seed, "series", series, "page", page, "defect")


def inject(defect: Defect, served: Served, rng: np.random.Generator, encode: Callable[[Image], bytes]) -> Defect:
    """Change ``served`` in place so that it has ``defect``, or an empty caption where the page lacks what it needs.

    Returns what was injected. ``encode`` turns an image into file bytes. Urls are not touched: for all kinds but
    those in `RENAMED` they keep the digest of the sound bytes.
    """
    boxes, least = _NEEDS.get(defect.kind, ("", 0))
    if boxes and all(len(frame[boxes]) < least for frame in served.raw["frames"]):
        defect = DEFECTS[_ALWAYS_POSSIBLE]
    if defect.kind in _ON_FILES:
        half = int(rng.integers(2))
        served.place["half"] = half
        sound = served.halves[half]
        assert sound is not None, "a defect is injected into a sound page"
        served.halves[half] = _ON_FILES[defect.kind](sound, encode)
    else:
        _ON_ANNOTATIONS[defect.kind](served, rng)
    return defect


# ---------------------------------------------------------------- files


def _decoded(data: bytes) -> Image:
    image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_GRAYSCALE)
    assert image is not None, "a sound half decodes"
    return np.asarray(image, dtype=np.uint8)


def _halved(image: Image) -> Image:
    height, width = image.shape
    return np.asarray(cv2.resize(image, (width // 2, height // 2), interpolation=cv2.INTER_AREA), dtype=np.uint8)


def _coloured(image: Image) -> bytes:
    """A PNG of the image on yellow paper."""
    colours = np.stack([image // 2, image, image], axis=-1)
    return cv2.imencode(".png", colours)[1].tobytes()


_ON_FILES: dict[str, Callable[[bytes, Callable[[Image], bytes]], bytes | None]] = {
    "dead_url": lambda data, encode: None,
    "truncated_image": lambda data, encode: data[: len(data) * 3 // 5],
    "wrong_image": lambda data, encode: encode(np.ascontiguousarray(_decoded(data)[:, ::-1])),
    "not_an_image": lambda data, encode: b"<!doctype html><title>This chapter was removed</title>",
    "rescaled_half": lambda data, encode: encode(_halved(_decoded(data))),
    "colour_page": lambda data, encode: _coloured(_decoded(data)),
}


# ---------------------------------------------------------------- annotations


def _frame(served: Served, rng: np.random.Generator, box_list: str | None = None, least: int = 1) -> dict[str, Any]:
    """A frame of the page, if ``box_list`` is given one with at least so many of those boxes."""
    frames = served.raw["frames"]
    usable = [i for i, frame in enumerate(frames) if box_list is None or len(frame[box_list]) >= least]
    index = usable[int(rng.integers(len(usable)))]
    served.place["panel_index"] = index
    frame: dict[str, Any] = frames[index]
    return frame


def _box(served: Served, rng: np.random.Generator, box_list: str) -> dict[str, Any]:
    boxes = _frame(served, rng, box_list)[box_list]
    served.place["box_index"] = int(rng.integers(len(boxes)))
    box: dict[str, Any] = boxes[served.place["box_index"]]
    return box


def _traverse(served: Served, rng: np.random.Generator) -> None:
    served.raw["image_path"] = "../../" + served.raw["image_path"]


def _repeat_path(served: Served, rng: np.random.Generator) -> None:
    served.raw["image_path"] = served.previous_path


def _drop_url2(served: Served, rng: np.random.Generator) -> None:
    del served.raw["meta"]["url2"]


def _misstate_width(served: Served, rng: np.random.Generator) -> None:
    # 0.85 is near no ratio of a re-upload, so the geometry cannot be explained.
    served.raw["meta"]["width1"] = round(served.raw["meta"]["width1"] * 0.85)


def _spell_out(served: Served, rng: np.random.Generator) -> None:
    _frame(served, rng)["bbox"][int(rng.integers(4))] = "left"


def _push_out(served: Served, rng: np.random.Generator) -> None:
    frame = _frame(served, rng)
    width = served.raw["meta"]["width1"] + served.raw["meta"]["width2"]
    frame["bbox"] = [frame["bbox"][0] + width, frame["bbox"][1], frame["bbox"][2] + width, frame["bbox"][3]]


def _nudge_out(served: Served, rng: np.random.Generator) -> None:
    _frame(served, rng)["bbox"][1] = -SLIGHTLY_PX


def _invert(thing: dict[str, Any]) -> None:
    x1, y1, x2, y2 = thing["bbox"]
    thing["bbox"] = [x2, y1, x1, y2]


def _blank(served: Served, rng: np.random.Generator) -> None:
    _frame(served, rng)["caption"] = "  "


def _not_a_number(served: Served, rng: np.random.Generator) -> None:
    _frame(served, rng)["bbox"][int(rng.integers(4))] = float("nan")


def _grade_unknown(served: Served, rng: np.random.Generator) -> None:
    _box(served, rng, "characters")["type"] = 7


def _move_dialog_away(served: Served, rng: np.random.Generator) -> None:
    """To a corner of the page that is no part of its panel."""
    dialog = _box(served, rng, "dialogs")
    frame = served.raw["frames"][served.place["panel_index"]]
    width = served.raw["meta"]["width1"] + served.raw["meta"]["width2"]
    x1, y1, x2, y2 = dialog["bbox"]
    left = 0.0 if frame["bbox"][0] >= width / 2 else width - (x2 - x1)
    dialog["bbox"] = [left, y1, left + x2 - x1, y2]


def _caption(text: str) -> Callable[[Served, np.random.Generator], None]:
    def change(served: Served, rng: np.random.Generator) -> None:
        _frame(served, rng)["caption"] = text

    return change


def _shrink(served: Served, rng: np.random.Generator) -> None:
    x1, y1, _, _ = (frame := _frame(served, rng))["bbox"]
    frame["bbox"] = [x1, y1, x1 + SMALL_PX, y1 + SMALL_PX]


def _stretch(served: Served, rng: np.random.Generator) -> None:
    """An empty strip, five times as tall as wide."""
    frame = _frame(served, rng)
    x1, _, x2, _ = frame["bbox"]
    lowest = max(other["bbox"][3] for other in served.raw["frames"])
    width = min(lowest / 5.5, x2 - x1)
    frame |= {"bbox": [x1, 0.0, x1 + width, 5.5 * width], "characters": [], "dialogs": []}


def _crowd(box_list: str, count: int) -> Callable[[Served, np.random.Generator], None]:
    def change(served: Served, rng: np.random.Generator) -> None:
        boxes = _frame(served, rng, box_list)[box_list]
        for number in range(count - len(boxes)):
            boxes.append(boxes[0] | ({"id": f"extra-{number}"} if "id" in boxes[0] else {}))

    return change


def _cover(served: Served, rng: np.random.Generator) -> None:
    dialog = _box(served, rng, "dialogs")
    dialog["bbox"] = list(served.raw["frames"][served.place["panel_index"]]["bbox"])


def _shrink_character(served: Served, rng: np.random.Generator) -> None:
    """To the middle of its panel."""
    character = _box(served, rng, "characters")
    x1, y1, x2, y2 = served.raw["frames"][served.place["panel_index"]]["bbox"]
    x, y = (x1 + x2) / 2, (y1 + y2) / 2
    character["bbox"] = [x, y, x + SMALL_PX, y + SMALL_PX]


def _estrange(served: Served, rng: np.random.Generator) -> None:
    _box(served, rng, "characters")["id"] = "nobody else"


def _break_out(served: Served, rng: np.random.Generator) -> None:
    """A fifth of the box stays in its panel; the rest lies beside it, towards the middle of the page."""
    character = _box(served, rng, "characters")
    x1, y1, x2, y2 = served.raw["frames"][served.place["panel_index"]]["bbox"]
    width = (x2 - x1) / 2
    page_width = served.raw["meta"]["width1"] + served.raw["meta"]["width2"]
    left = x1 - 0.8 * width if x1 + x2 > page_width else x2 - 0.2 * width
    character["bbox"] = [left, y1, left + width, y2]


def _reverse(served: Served, rng: np.random.Generator) -> None:
    served.raw["frames"].reverse()


def _repeat_id(served: Served, rng: np.random.Generator) -> None:
    characters = _frame(served, rng, "characters", least=2)["characters"]
    characters[1]["id"] = characters[0]["id"]


_ON_ANNOTATIONS: dict[str, Callable[[Served, np.random.Generator], None]] = {
    "path_traversal": _traverse,
    "duplicate_path": _repeat_path,
    "missing_url2": _drop_url2,
    "wrong_width1": _misstate_width,
    "non_numeric_box": _spell_out,
    "panel_outside_page": _push_out,
    "inverted_panel": lambda served, rng: _invert(_frame(served, rng)),
    "nan_panel": _not_a_number,
    "empty_caption": _blank,
    "inverted_character": lambda served, rng: _invert(_box(served, rng, "characters")),
    "unknown_type": _grade_unknown,
    "dialog_outside_panel": _move_dialog_away,
    "panel_slightly_outside": _nudge_out,
    "duplicate_character_id": _repeat_id,
    "no_panels": lambda served, rng: served.raw["frames"].clear(),
    "unknown_key": lambda served, rng: served.raw.update(score=0.5),
    "reversed_order": _reverse,
    "tiny_panel": _shrink,
    "control_characters": _caption("a girl\x00 looks up"),
    "refusal_caption": _caption("I'm sorry, but I cannot describe this image."),
    "endless_caption": _caption("a girl and " * 2000),
    "html_caption": _caption("a girl <script>alert(1)</script> looks up"),
    "long_caption": _caption("a girl and a boy " * 30),
    "extreme_aspect": _stretch,
    "many_characters": _crowd("characters", 5),
    "many_dialogs": _crowd("dialogs", 9),
    "dialog_covers_panel": _cover,
    "small_character": _shrink_character,
    "lonely_character": _estrange,
    "character_mostly_outside": _break_out,
}
