"""Cut accepted pages into panels and character crops, the training and the held-out set apart (paper sec. 3.2, 4.1).

A page is decoded once, whatever it contains. A task writes one shard; which pages share a shard depends on the pages
alone, so any number of workers gives the same bytes.
"""

import json
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from diffsensei.config.schema import SplitConfig
from diffsensei.data.images import decode_own_png, encode_png
from diffsensei.data.panels.panel_set import CROP_SCHEMA, PANEL_SCHEMA, shard_name
from diffsensei.data.panels.split import choose_split
from diffsensei.geometry import Boxes, to_relative
from diffsensei.progress import Progress

MAX_SHARD_PIXELS = 128 * 2**20
"""Page pixels behind one shard. Panels and crops each repeat at most the page, at about a byte a pixel: 256 MB."""
MAX_SHARD_PAGES = 16
"""Pages that one task cuts: enough to outweigh the task, few enough that every worker gets some."""
THREADS = 2

Row = dict[str, Any]


@dataclass
class PageCuts:
    """What to cut from one page file: rows of the panel table and of the crop table, and their pixel boxes in turn."""

    path: Path
    panels: list[Row] = field(default_factory=list)
    crops: list[Row] = field(default_factory=list)
    panel_boxes: list[list[int]] = field(default_factory=list)
    crop_boxes: list[list[int]] = field(default_factory=list)

    @property
    def boxes(self) -> list[list[int]]:
        """Half-open pixel boxes x1, y1, x2, y2 in the order they are stored: panels, then crops."""
        return self.panel_boxes + self.crop_boxes


def cut_panels(*, split: SplitConfig, validated: Path, workspace: Path, output: Path, executor: Executor) -> None:
    """Stage: choose the held-out pages and cut both sets.

    Writes ``split.json`` and panel sets ``train/`` and ``eval/`` (see `panel_set`). Raises ValueError when no page
    can be held out or a held-out page is trained on as well.
    """
    tables = {
        name: pd.read_parquet(validated / f"{name}.parquet") for name in ("pages", "panels", "characters", "dialogs")
    }
    pages = tables["pages"]
    decision = choose_split(pages, tables["panels"], tables["characters"], split)
    (output / "split.json").write_text(json.dumps(decision, indent=1))
    held_out = pages["page_id"].isin({page["page_id"] for page in decision["eval"]})
    progress = Progress(workspace / "progress.json", "cut panels", len(pages), unit="pages")
    for name, chosen in (("train", pages[~held_out]), ("eval", pages[held_out])):
        folder = output / name
        folder.mkdir()
        _cut_set(plan_cuts(chosen, tables, validated / "pages"), _shard_starts(chosen), folder, executor, progress)


def plan_cuts(pages: pd.DataFrame, tables: Mapping[str, pd.DataFrame], page_folder: Path) -> list[PageCuts]:
    """What to cut from each of ``pages``, in order; rows lack only their shard, offset and length.

    Pixel boxes are the annotated ones rounded and clamped to the page, at least a pixel wide. Boxes of characters and
    dialogs are relative to the cut panel.
    """
    panels = _by(tables["panels"], "page_id")
    characters = _by(tables["characters"], "panel_id")
    dialogs = _by(tables["dialogs"], "panel_id")
    plan = []
    crop_id = 0
    for page in pages.itertuples():
        cuts = PageCuts(page_folder / f"{page.page_id}.png")
        of_page = panels.get(page.page_id, [])
        excluded = _repeated_ids([characters.get(panel.panel_id, []) for panel in of_page])
        frames = pixel_bounds(_boxes(of_page), page.height, page.width)
        for panel, frame in zip(of_page, frames, strict=True):
            inside = characters.get(panel.panel_id, [])
            page_boxes = _boxes(inside)
            cuts.panels.append(
                {
                    "panel_id": panel.panel_id,
                    "page_id": page.page_id,
                    "series": page.series,
                    "page_index": page.page_index,
                    "panel_index": panel.panel_index,
                    "height": int(frame[3] - frame[1]),
                    "width": int(frame[2] - frame[0]),
                    "caption": panel.caption,
                    "characters": [
                        {"id": character.character_id, "box": box, "page_box": page_box, "type": character.type}
                        for character, box, page_box in zip(
                            inside, to_relative(page_boxes, frame).tolist(), page_boxes.tolist(), strict=True
                        )
                    ],
                    "dialogs": to_relative(_boxes(dialogs.get(panel.panel_id, [])), frame).tolist(),
                    "excluded_ids": excluded,
                }
            )
            cuts.panel_boxes.append(frame.tolist())
            bounds = pixel_bounds(page_boxes, page.height, page.width).tolist()
            for index, (character, box) in enumerate(zip(inside, bounds, strict=True)):
                cuts.crops.append(
                    {
                        "crop_id": crop_id,
                        "page_id": page.page_id,
                        "character_id": character.character_id,
                        "panel_id": panel.panel_id,
                        "character_index": index,
                        "type": character.type,
                        "height": box[3] - box[1],
                        "width": box[2] - box[0],
                    }
                )
                cuts.crop_boxes.append(box)
                crop_id += 1
        plan.append(cuts)
    return plan


def pixel_bounds(boxes: Boxes, height: int, width: int) -> NDArray[np.int64]:
    """``boxes`` (n, 4) in page pixels as half-open integer bounds within the page, each at least one pixel wide."""
    limits = np.array([width, height])
    rounded = np.rint(boxes).astype(np.int64).reshape(-1, 4)
    low = np.clip(rounded[:, :2], 0, limits - 1)
    high = np.maximum(np.clip(rounded[:, 2:], 0, limits), low + 1)
    return np.concatenate([low, high], axis=1)


def write_shard(paths: Sequence[Path], boxes: Sequence[list[list[int]]], shard: Path) -> list[int]:
    """Cut ``boxes[i]`` from the page file ``paths[i]``, all PNGs behind one another in ``shard``; their lengths."""
    with ThreadPoolExecutor(THREADS) as threads, shard.open("wb") as file:
        lengths = []
        for blobs in threads.map(_cut_page, paths, boxes):
            file.writelines(blobs)
            lengths += [len(blob) for blob in blobs]
    return lengths


def _cut_page(path: Path, boxes: list[list[int]]) -> list[bytes]:
    page = decode_own_png(path.read_bytes())
    return [encode_png(page[y1:y2, x1:x2]) for x1, y1, x2, y2 in boxes]


def _cut_set(
    plan: Sequence[PageCuts], starts: Sequence[int], folder: Path, executor: Executor, progress: Progress
) -> None:
    """Write the shards, which begin at pages ``starts``, and the tables that address them."""
    batches = [plan[start:stop] for start, stop in zip(starts, [*starts[1:], len(plan)], strict=True)]
    futures = [
        executor.submit(
            write_shard, [cuts.path for cuts in batch], [cuts.boxes for cuts in batch], folder / shard_name(shard)
        )
        for shard, batch in enumerate(batches)
    ]
    panel_rows: list[Row] = []
    crop_rows: list[Row] = []
    for shard, (batch, future) in enumerate(zip(batches, futures, strict=True)):
        addresses = _addresses(shard, future.result())
        for cuts in batch:
            panel_rows += [row | next(addresses) for row in cuts.panels]
            crop_rows += [row | next(addresses) for row in cuts.crops]
        progress.advance(len(batch))
    pq.write_table(pa.Table.from_pylist(panel_rows, schema=PANEL_SCHEMA), folder / "panels.parquet")
    pq.write_table(pa.Table.from_pylist(crop_rows, schema=CROP_SCHEMA), folder / "crops.parquet")


def _addresses(shard: int, lengths: Sequence[int]) -> Iterator[Row]:
    offset = 0
    for length in lengths:
        yield {"shard": shard, "offset": offset, "length": length}
        offset += length


def _shard_starts(pages: pd.DataFrame) -> list[int]:
    """Positions of the pages that begin a shard."""
    starts: list[int] = []
    pixels = 0
    for position, size in enumerate((pages["height"] * pages["width"]).tolist()):
        pixels += size
        if not starts or pixels > MAX_SHARD_PIXELS or position - starts[-1] == MAX_SHARD_PAGES:
            starts.append(position)
            pixels = size
    return starts


def _by(table: pd.DataFrame, column: str) -> dict[str, list[Any]]:
    groups: dict[str, list[Any]] = defaultdict(list)
    for row in table.itertuples():
        groups[getattr(row, column)].append(row)
    return groups


def _boxes(rows: Sequence[Any]) -> NDArray[np.float64]:
    return np.array([(row.x1, row.y1, row.x2, row.y2) for row in rows], dtype=np.float64).reshape(-1, 4)


def _repeated_ids(panels: Sequence[Sequence[Any]]) -> list[str]:
    """Ids that occur twice in any one panel of a page: which of the two a reference shows would be unclear."""
    repeated: set[str] = set()
    for characters in panels:
        ids = [character.character_id for character in characters]
        repeated |= {name for name in ids if ids.count(name) > 1}
    return sorted(repeated)
