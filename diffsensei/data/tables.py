"""Annotated pages as flat tables (panels, characters, dialogs), with the measures that the checks look at.

All boxes are xyxy in pixels of the double page. A row is known by ``page_id``, ``panel_index`` (place in the page's
frames) and, for boxes, ``box_index`` (place in the panel's list); the indices never change when others are quarantined.
"""

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from diffsensei.data.records import PageAnnotation
from diffsensei.geometry import area, intersection

BOX = ["x1", "y1", "x2", "y2"]
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
    "panels": pa.schema([*_KEY, *_BOX_FIELDS, ("caption", pa.string())]),
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


def flatten(pages: Iterable[tuple[str, int, PageAnnotation]]) -> dict[str, pd.DataFrame]:
    """Tables ``panels``, ``characters`` and ``dialogs`` of (page id, entry, page); ``entry`` is the page's index."""
    panels: list[tuple[Any, ...]] = []
    characters: list[tuple[Any, ...]] = []
    dialogs: list[tuple[Any, ...]] = []
    for page_id, entry, page in pages:
        for index, frame in enumerate(page.frames):
            key = (page_id, panel_id_of(page_id, index), index, entry)
            ids = [str(character.id) for character in frame.characters]
            panels.append(
                (
                    *key,
                    *frame.bbox,
                    printable(frame.caption),
                    len(CONTROL.findall(frame.caption)),
                    len(frame.characters),
                    len(frame.dialogs),
                    sum(count > 1 for count in Counter(ids).values()),
                )
            )
            for place, character in enumerate(frame.characters):
                characters.append((*key, *character.bbox, place, printable(ids[place]), character.type))
            dialogs.extend((*key, *dialog.bbox, place) for place, dialog in enumerate(frame.dialogs))
    key_columns = ["page_id", "panel_id", "panel_index", "entry", *BOX]
    counted = ["num_control_characters", "num_characters", "num_dialogs", "num_repeated_ids"]
    return {
        "panels": pd.DataFrame(panels, columns=[*key_columns, "caption", *counted]),
        "characters": pd.DataFrame(characters, columns=[*key_columns, "box_index", "character_id", "type"]),
        "dialogs": pd.DataFrame(dialogs, columns=[*key_columns, "box_index"]),
    }


def boxes_of(table: pd.DataFrame) -> NDArray[np.float64]:
    """The boxes (n, 4) of a table."""
    return table[BOX].to_numpy(dtype=np.float64)


def measure_boxes(table: pd.DataFrame, pages: pd.DataFrame, *, tolerance_px: float) -> pd.DataFrame:
    """``table`` with ``finite``, ``overshoot_px`` (how far a box leaves its page) and ``shorter_side`` added.

    Boxes that overshoot by at most ``tolerance_px`` are clamped to the page first; the measure keeps what it was.
    Rows with a box that is not finite have NaN measures. ``pages`` has page_id, height and width.
    """
    table = table.copy()
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
