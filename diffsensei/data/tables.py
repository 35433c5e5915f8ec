"""Annotated pages as flat tables (panels, characters, dialogs), with the measures that the checks look at.

All boxes are xyxy in pixels of the double page. A row is known by ``page_id``, ``panel_index`` (place in the page's
frames) and, for boxes, ``box_index`` (place in the panel's list); the indices never change when others are quarantined.
"""

import re
from array import array
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from diffsensei.data.records import PageAnnotation
from diffsensei.geometry import area, intersection

BOX = ["x1", "y1", "x2", "y2"]
MAX_INT = 2**31 - 1
"""Integers of a file are clamped to it: no count or type is larger, and tables hold 32 bits."""
CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff]")

_BOX_FIELDS = [(name, pa.float64()) for name in BOX]
_KEY = [("page_id", pa.string()), ("panel_id", pa.string()), ("panel_index", pa.int32())]
SCHEMAS: Mapping[str, pa.Schema] = {
    "pages": pa.schema(
        [
            ("page_id", pa.string()),
            ("image_path", pa.string()),
            ("series", pa.string()),
            ("page_index", pa.int32()),
            ("height", pa.int32()),
            ("width", pa.int32()),
            ("image_sha256", pa.string()),
            ("dhash", pa.string()),
            ("chroma", pa.float64()),
            ("rescaled", pa.bool_()),
            ("sha256_1", pa.string()),
            ("sha256_2", pa.string()),
        ]
    ),
    "panels": pa.schema([*_KEY, *_BOX_FIELDS, ("caption", pa.string()), ("dhash", pa.string())]),
    "characters": pa.schema(
        [*_KEY, ("box_index", pa.int32()), ("character_id", pa.string()), *_BOX_FIELDS, ("type", pa.int32())]
    ),
    "dialogs": pa.schema([*_KEY, ("box_index", pa.int32()), *_BOX_FIELDS]),
    "quarantine": pa.schema(
        [
            ("state", pa.string()),
            ("level", pa.string()),
            ("id", pa.string()),
            ("page_id", pa.string()),
            ("entry", pa.int32()),
            ("panel_index", pa.int32()),
            ("box_index", pa.int32()),
            ("check", pa.string()),
            ("reason", pa.string()),
            ("evidence", pa.string()),
            ("num_panels", pa.int32()),
            ("num_boxes", pa.int32()),
        ]
    ),
}


def printable(text: str) -> str:
    """``text`` without lone surrogates, which no file format can hold: they become their escapes."""
    return text.encode("utf-8", "backslashreplace").decode()


def panel_id_of(page_id: str, panel_index: int) -> str:
    """The name of a panel in every table and file name."""
    return f"{page_id}-{panel_index}"


class TableBuilder:
    """Tables ``panels``, ``characters`` and ``dialogs`` of pages added one by one, column by column: 430,000 panels of
    typed records would take gigabytes."""

    def __init__(self) -> None:
        self._panels = _Columns()
        self._characters = _Columns()
        self._dialogs = _Columns()
        self._captions: list[str] = []
        self._character_ids: list[str] = []
        self._types = array("q")
        self._counts = array("q")

    def add(self, page_id: str, entry: int, page: PageAnnotation) -> None:
        """Append the contents of ``page``; ``entry`` is its place in the annotation file."""
        for index, frame in enumerate(page.frames):
            key = (page_id, panel_id_of(page_id, index), index, entry)
            ids = [str(character.id) for character in frame.characters]
            self._panels.add(key, frame.bbox, 0)
            self._captions.append(printable(frame.caption))
            self._counts.extend(
                (
                    len(CONTROL.findall(frame.caption)),
                    len(frame.characters),
                    len(frame.dialogs),
                    sum(count > 1 for count in Counter(ids).values()),
                )
            )
            for place, character in enumerate(frame.characters):
                self._characters.add(key, character.bbox, place)
                self._character_ids.append(printable(ids[place]))
                self._types.append(min(max(character.type, -MAX_INT), MAX_INT))
            for place, dialog in enumerate(frame.dialogs):
                self._dialogs.add(key, dialog.bbox, place)

    def tables(self) -> dict[str, pd.DataFrame]:
        """What was added; the builder is not to be used any more."""
        counts = np.frombuffer(self._counts, dtype=np.int64).reshape(-1, 4)
        panels = self._panels.frame().drop(columns="box_index")
        panels["caption"] = pd.Series(self._captions, dtype="str")
        for column, name in enumerate(("num_control_characters", "num_characters", "num_dialogs", "num_repeated_ids")):
            panels[name] = counts[:, column]
        characters = self._characters.frame()
        characters["character_id"] = pd.Series(self._character_ids, dtype="str")
        characters["type"] = np.frombuffer(self._types, dtype=np.int64)
        self._captions, self._character_ids = [], []
        return {"panels": panels, "characters": characters, "dialogs": self._dialogs.frame()}


class _Columns:
    """Keys and boxes of one table."""

    def __init__(self) -> None:
        self._names: list[str] = []
        self._pages: list[str] = []
        self._places = array("i")
        self._boxes = array("d")

    def add(self, key: tuple[str, str, int, int], box: Sequence[float], place: int) -> None:
        self._pages.append(key[0])
        self._names.append(key[1])
        self._places.extend((key[2], key[3], place))
        self._boxes.extend(box)

    def frame(self) -> pd.DataFrame:
        places = np.frombuffer(self._places, dtype=np.intc).reshape(-1, 3)
        boxes = np.frombuffer(self._boxes, dtype=np.float64).reshape(-1, 4)
        table = pd.DataFrame(
            {"page_id": pd.Series(self._pages, dtype="str"), "panel_id": pd.Series(self._names, dtype="str")}
        )
        table["panel_index"], table["entry"] = places[:, 0], places[:, 1]
        for column, name in enumerate(BOX):
            table[name] = boxes[:, column]
        table["box_index"] = places[:, 2]
        self._pages, self._names = [], []
        return table


def flatten(pages: Iterable[tuple[str, int, PageAnnotation]]) -> dict[str, pd.DataFrame]:
    """Tables ``panels``, ``characters`` and ``dialogs`` of (page id, entry, page); ``entry`` is the page's index."""
    builder = TableBuilder()
    for page_id, entry, page in pages:
        builder.add(page_id, entry, page)
    return builder.tables()


def boxes_of(table: pd.DataFrame) -> NDArray[np.float64]:
    """The boxes (n, 4) of a table."""
    return table[BOX].to_numpy(dtype=np.float64)


def measure_boxes(table: pd.DataFrame, pages: pd.DataFrame, *, tolerance_px: float) -> pd.DataFrame:
    """``table`` with ``finite``, ``overshoot_px`` (how far a box leaves its page) and ``shorter_side`` added.

    Boxes that overshoot by at most ``tolerance_px`` are clamped to the page first; the measure keeps what it was.
    Rows with a box that is not finite have NaN measures. ``pages`` has page_id, height and width.
    """
    table = table.reset_index(drop=True)
    size = table[["page_id"]].merge(pages[["page_id", "width", "height"]], how="left", on="page_id", validate="m:1")
    limits = np.tile(size[["width", "height"]].to_numpy(dtype=np.float64), 2)
    boxes = boxes_of(table).copy()
    finite = np.isfinite(boxes).all(axis=1)
    overshoot = np.maximum(np.maximum(-boxes, boxes - limits).max(axis=1, initial=0.0), 0.0)
    overshoot[~finite] = np.nan
    clamp = (overshoot > 0) & (overshoot <= tolerance_px)
    boxes[clamp] = np.clip(boxes[clamp], 0.0, limits[clamp])
    sides = boxes[:, 2:] - boxes[:, :2]
    table[BOX] = boxes
    table["finite"] = finite
    table["overshoot_px"] = overshoot
    table["shorter_side"] = np.where(finite, sides.min(axis=1, initial=np.inf), np.nan)
    with np.errstate(divide="ignore", invalid="ignore"):
        aspect = np.where(finite & (sides > 0).all(axis=1), sides[:, 1] / sides[:, 0], np.nan)
    table["aspect"] = aspect
    return table


def share_inside_panel(boxes: pd.DataFrame, panels: pd.DataFrame) -> NDArray[np.float64]:
    """The share of each box's area that lies in its panel, in [0, 1]; NaN for boxes without finite area."""
    frames = boxes[["panel_id"]].merge(panels[["panel_id", *BOX]], how="left", on="panel_id", validate="m:1")
    own = boxes_of(boxes)
    size = area(own)
    valid = np.isfinite(size) & (size > 0)
    share = np.full(len(boxes), np.nan)
    share[valid] = intersection(own[valid], boxes_of(frames)[valid]) / size[valid]
    return share


def write_table(name: str, table: pd.DataFrame, folder: Path) -> None:
    """``folder/<name>.parquet`` with exactly the columns of ``SCHEMAS[name]``, in row order."""
    schema = SCHEMAS[name]
    rows = pa.Table.from_pandas(table[schema.names], schema=schema, preserve_index=False)
    pq.write_table(rows.replace_schema_metadata(None), folder / f"{name}.parquet")
