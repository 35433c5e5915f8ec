"""The training set as flat arrays: what a step needs of a panel set, without a table look-up per panel.

Characters and dialogs of all panels lie one behind the other; ``*_starts`` (n+1,) says where a panel's begin. Boxes are
already those of the panel after its bucket's centre crop, unless the reference code is to be followed.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from diffsensei.data.panels.buckets import Bucket, crop_offsets
from diffsensei.geometry import area, cover_crop

CLEAN_FACE = 0
"""Character type that may serve as a reference (data set card: 0 clean, 1 vague, 2 atypical)."""
MIN_VISIBLE_SHARE = 0.1
"""A character or dialog with less of its box inside the cropped panel is no condition: next to nothing of it shows."""


@dataclass(frozen=True)
class TrainingPanels:
    """Columns of a panel set of n panels with K characters and D dialogs in all."""

    captions: list[str]
    """Distinct captions; the first is empty (what a dropped caption becomes)."""
    panel_captions: NDArray[np.int64]
    """(n,) rows of ``captions``."""
    time_ids: NDArray[np.float32]
    """(n, 6) SDXL's micro-conditions: original height and width, crop top and left, bucket height and width."""
    character_starts: NDArray[np.int64]
    character_boxes: NDArray[np.float32]
    """(K, 4) xyxy relative to the cropped panel, in [0, 1]; uncorrected, to the whole panel, and may leave it."""
    character_areas: NDArray[np.float64]
    """(K,) square pixels on the page."""
    character_usable: NDArray[np.bool_]
    """(K,) visible and of an identity that no frame of the page shows twice."""
    own_crops: NDArray[np.int64]
    """(K,) crop row of the character itself; -1 where it is too small."""
    references: NDArray[np.int64]
    """Crop rows that may serve as a reference, grouped by page and identity."""
    reference_ranges: NDArray[np.int64]
    """(K, 2) the slice of ``references`` that shows this character on its page, itself included."""
    dialog_starts: NDArray[np.int64]
    dialog_boxes: NDArray[np.float32]
    """(D, 4) like ``character_boxes``."""
    dialog_usable: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.panel_captions)


def read_training_panels(
    folder: Path,
    panel_buckets: NDArray[np.int64],
    buckets: tuple[Bucket, ...],
    min_reference_side: int,
    boxes: Literal["corrected", "uncropped"] = "corrected",
) -> TrainingPanels:
    """The panel set in ``folder`` as arrays, for panels assigned to ``panel_buckets`` (n,).

    ``min_reference_side``: a reference crop is larger than this (pixels) on both edges. ``boxes`` that are not
    corrected stay relative to the panel before the crop, as in the reference code.
    """
    placed = PLACEMENTS[boxes]
    panels = pq.read_table(folder / "panels.parquet")
    crops = pq.read_table(folder / "crops.parquet")
    heights, widths = panels["height"].to_numpy(), panels["width"].to_numpy()
    captions, panel_captions = distinct_captions(panels["caption"].to_pandas())
    time_ids = np.array(
        [
            (height, width, *crop_offsets(height, width, bucket), bucket.height, bucket.width)
            for height, width, bucket in zip(
                heights.tolist(), widths.tolist(), (buckets[index] for index in panel_buckets), strict=True
            )
        ],
        dtype=np.float32,
    ).reshape(-1, 6)

    characters, character_counts = _flat(panels["characters"])
    character_panels = np.repeat(np.arange(len(heights)), character_counts)
    character_boxes, character_visible = placed(_boxes(characters.field("box")), character_panels, time_ids)
    identities, excluded = _identities(panels, characters, character_panels)
    character_starts = _starts(character_counts)
    own_crops, references, reference_ranges = _references(
        panels, crops, character_starts, identities, min_reference_side
    )

    dialogs, dialog_counts = _flat(panels["dialogs"])
    dialog_panels = np.repeat(np.arange(len(heights)), dialog_counts)
    dialog_boxes, dialog_visible = placed(_boxes(dialogs), dialog_panels, time_ids)
    return TrainingPanels(
        captions=captions,
        panel_captions=panel_captions,
        time_ids=time_ids,
        character_starts=character_starts,
        character_boxes=character_boxes,
        character_areas=area(_boxes(characters.field("page_box"))).astype(np.float64),
        character_usable=character_visible & ~excluded,
        own_crops=own_crops,
        references=references,
        reference_ranges=reference_ranges,
        dialog_starts=_starts(dialog_counts),
        dialog_boxes=dialog_boxes,
        dialog_usable=dialog_visible,
    )


def distinct_captions(captions: pd.Series) -> tuple[list[str], NDArray[np.int64]]:
    """Distinct captions in order of appearance, the empty one first, and the row of each of ``captions`` (n,)."""
    codes, distinct = pd.factorize(pd.concat([pd.Series([""]), captions], ignore_index=True))
    return [str(caption) for caption in distinct], codes[1:].astype(np.int64)


def _flat(column: pa.ChunkedArray) -> tuple[Any, NDArray[np.int64]]:
    """All items of a list column behind one another, and how many each row has."""
    array = pa.concat_arrays(column.chunks) if column.num_chunks else pa.array([], column.type)
    counts = array.value_lengths().fill_null(0).to_numpy(zero_copy_only=False)
    return array.flatten(), counts.astype(np.int64)


def _starts(counts: NDArray[np.int64]) -> NDArray[np.int64]:
    return np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)


def _boxes(lists: Any) -> NDArray[np.float64]:
    return lists.flatten().to_numpy(zero_copy_only=False).astype(np.float64).reshape(-1, 4)


def _cropped(
    boxes: NDArray[np.float64], panels: NDArray[np.int64], time_ids: NDArray[np.float32]
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """``boxes`` (k, 4) after their panels' centre crops, clipped, and which of them still show."""
    cropped = np.empty_like(boxes)
    starts = np.searchsorted(panels, np.arange(len(time_ids) + 1))
    for panel in np.unique(panels).tolist():
        here = slice(starts[panel], starts[panel + 1])
        height, width, _, _, bucket_height, bucket_width = (int(value) for value in time_ids[panel])
        cropped[here] = cover_crop(boxes[here], height, width, bucket_height, bucket_width)
    clipped = np.clip(cropped, 0.0, 1.0)
    visible = area(clipped) > MIN_VISIBLE_SHARE * area(cropped)
    return clipped.astype(np.float32), visible


def _uncropped(
    boxes: NDArray[np.float64], panels: NDArray[np.int64], time_ids: NDArray[np.float32]
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """``boxes`` (k, 4) as they are; all of them count."""
    return boxes.astype(np.float32), np.ones(len(boxes), np.bool_)


PLACEMENTS = {"corrected": _cropped, "uncropped": _uncropped}
"""Boxes relative to the panel, rows of their panels and the panels' time ids -> boxes, and which of them show."""


def _identities(
    panels: pa.Table, characters: Any, character_panels: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """(K,) a number for each (page, id), and (K,) whether that identity is excluded on its page."""
    pages, _ = pd.factorize(panels["page_id"].to_pandas())
    excluded_ids, excluded_counts = _flat(panels["excluded_ids"])
    character_ids = characters.field("id").to_pandas()
    codes, distinct = pd.factorize(pd.concat([character_ids, excluded_ids.to_pandas()], ignore_index=True))
    codes = codes.astype(np.int64)
    identities = pages[character_panels] * len(distinct) + codes[: len(character_ids)]
    excluded_pages = pages[np.repeat(np.arange(panels.num_rows), excluded_counts)]
    excluded = excluded_pages * len(distinct) + codes[len(character_ids) :]
    return identities, np.isin(identities, excluded)


def _references(
    panels: pa.Table,
    crops: pa.Table,
    character_starts: NDArray[np.int64],
    identities: NDArray[np.int64],
    min_side: int,
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Own crop rows (K,), reference crop rows sorted by identity, and each character's slice of them (K, 2)."""
    rows = pd.Index(panels["panel_id"].to_pandas()).get_indexer(crops["panel_id"].to_pandas())
    if len(rows) and rows.min() < 0:
        raise ValueError("crops.parquet names panels that panels.parquet lacks; cut the panel set again")
    owners = character_starts[rows] + crops["character_index"].to_numpy()
    large = (crops["height"].to_numpy() > min_side) & (crops["width"].to_numpy() > min_side)

    own_crops = np.full(len(identities), -1, dtype=np.int64)
    own_crops[owners[large]] = np.flatnonzero(large)
    usable = np.flatnonzero(large & (crops["type"].to_numpy() == CLEAN_FACE))
    usable = usable[np.argsort(identities[owners[usable]], kind="stable")]
    sorted_identities = identities[owners[usable]]
    ranges = np.stack([np.searchsorted(sorted_identities, identities, side) for side in ("left", "right")], axis=1)
    return own_crops, usable, ranges.reshape(-1, 2)
