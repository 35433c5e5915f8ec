"""Cut accepted pages into panels and character crops, the training and the held-out set apart (paper sec. 3.2, 4.1).

A page is decoded once, whatever it contains. A task writes one shard; which pages share a shard depends on the pages
alone, so any number of workers gives the same bytes. Finished shards outlive a crash of the stage.
"""

import hashlib
import json
import zlib
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, ValidationError

from diffsensei.config.schema import SplitConfig
from diffsensei.data.images import decode_own_png, encode_png
from diffsensei.data.panels.panel_set import CROP_SCHEMA, PANEL_SCHEMA, shard_name
from diffsensei.data.panels.split import choose_split, hold_out_everything
from diffsensei.durable import link, write_whole
from diffsensei.geometry import Boxes, to_relative
from diffsensei.progress import Progress

MAX_SHARD_PIXELS = 128 * 2**20
"""Page pixels behind one shard. Panels and crops each repeat at most the page, at about a byte a pixel: 256 MB."""
MAX_SHARD_PAGES = 16
"""Pages that one task cuts: enough to outweigh the task, few enough that every worker gets some."""

Row = dict[str, Any]


class Stored(NamedTuple):
    """One image in a shard: bytes it takes, and their CRC-32."""

    length: int
    crc32: int


class ShardRecord(BaseModel):
    """``images-<shard>.json`` in the workspace, written after the shard: it is finished."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    plan: str
    """sha256 of what was to be cut."""
    images: list[Stored]


@dataclass
class PageCuts:
    """What to cut from one page file: rows of the panel table and of the crop table, and their pixel boxes in turn."""

    path: Path
    sha256: str
    panels: list[Row] = field(default_factory=list)
    crops: list[Row] = field(default_factory=list)
    panel_boxes: list[list[int]] = field(default_factory=list)
    crop_boxes: list[list[int]] = field(default_factory=list)

    @property
    def boxes(self) -> list[list[int]]:
        """Half-open pixel boxes x1, y1, x2, y2 in the order they are stored: panels, then crops."""
        return self.panel_boxes + self.crop_boxes

    def without_rows(self) -> "PageCuts":
        """What a worker needs of it."""
        return replace(self, panels=[], crops=[])


def cut_panels(*, split: SplitConfig, validated: Path, workspace: Path, output: Path, executor: Executor) -> None:
    """Stage: choose the held-out pages and cut both sets.

    Writes ``split.json`` and panel sets ``train/`` and ``eval/`` (see `panel_set`). Raises ValueError when no page
    can be held out or a held-out page is trained on as well.
    """
    tables = _read_tables(validated)
    decision = choose_split(tables["pages"], tables["panels"], tables["characters"], split)
    _cut_both(tables, decision, validated, workspace, output, executor)


def cut_evaluation_panels(
    *,
    validated: Path,
    workspace: Path,
    output: Path,
    executor: Executor,
    trained_validated: Path | None = None,
    trained_split: Path | None = None,
) -> None:
    """Stage: cut all pages for evaluation, none to train on; writes what `cut_panels` does, ``train/`` being empty.

    For data that may only be evaluated on (paper sec. 5.1: Manga109). Where other data is trained on,
    ``trained_validated`` is what its validation left and ``trained_split`` what `cut_panels` did. Raises ValueError
    without any page, and where a page is, or looks like, one that is trained on.
    """
    tables = _read_tables(validated)
    trained_pages, trained_panels = tables["pages"].iloc[:0], tables["panels"].iloc[:0]
    if trained_validated is not None and trained_split is not None:
        trained_pages, trained_panels = _read_trained(trained_validated, trained_split)
    decision = hold_out_everything(tables["pages"], tables["panels"], trained_pages, trained_panels)
    _cut_both(tables, decision, validated, workspace, output, executor)


def _read_trained(validated: Path, split: Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Pages and panels that are trained on, as far as they tell one picture from another."""
    pages = pd.read_parquet(validated / "pages.parquet", columns=["page_id", "image_path", "image_sha256", "dhash"])
    panels = pd.read_parquet(validated / "panels.parquet", columns=["page_id", "panel_id", "dhash"])
    held_out = {page["page_id"] for page in json.loads((split / "split.json").read_text())["eval"]}
    return pages[~pages["page_id"].isin(held_out)], panels[~panels["page_id"].isin(held_out)]


def _read_tables(validated: Path) -> dict[str, pd.DataFrame]:
    return {
        name: pd.read_parquet(validated / f"{name}.parquet") for name in ("pages", "panels", "characters", "dialogs")
    }


def _cut_both(
    tables: Mapping[str, pd.DataFrame],
    decision: Mapping[str, Any],
    validated: Path,
    workspace: Path,
    output: Path,
    executor: Executor,
) -> None:
    pages = tables["pages"]
    (output / "split.json").write_text(json.dumps(decision, indent=1))
    held_out = pages["page_id"].isin({page["page_id"] for page in decision["eval"]})
    progress = Progress(workspace / "progress.json", "cut panels", len(pages), unit="pages")
    for name, chosen in (("train", pages[~held_out]), ("eval", pages[held_out])):
        folder = output / name
        folder.mkdir()
        shards = workspace / "shards" / name
        shards.mkdir(parents=True, exist_ok=True)
        plan = plan_cuts(chosen, tables, validated / "pages")
        _cut_set(plan, _shard_starts(chosen), shards, folder, executor, progress)


def plan_cuts(pages: pd.DataFrame, tables: Mapping[str, pd.DataFrame], page_folder: Path) -> list[PageCuts]:
    """What to cut from each of ``pages``, in order; rows lack only their address.

    Pixel boxes are the annotated ones rounded and clamped to the page, at least a pixel wide. Boxes of characters and
    dialogs are relative to the cut panel.
    """
    panels = _by(tables["panels"], "page_id")
    characters = _by(tables["characters"], "panel_id")
    dialogs = _by(tables["dialogs"], "panel_id")
    plan = []
    crop_id = 0
    for page in pages.itertuples():
        cuts = PageCuts(page_folder / f"{page.page_id}.png", page.image_sha256)
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


def write_shard(batch: Sequence[PageCuts], shard: Path) -> list[Stored]:
    """Cut the boxes of each page, all PNGs behind one another in ``shard``; where each one ends up.

    A shard that an earlier attempt finished is not cut again.
    """
    plan = hashlib.sha256(repr([(cuts.sha256, cuts.boxes) for cuts in batch]).encode()).hexdigest()
    record_path = shard.with_suffix(".json")
    stored = _finished(shard, record_path, plan)
    if stored is None:
        blobs = [blob for cuts in batch for blob in _cut_page(cuts)]
        stored = [Stored(len(blob), zlib.crc32(blob)) for blob in blobs]
        write_whole(shard, b"".join(blobs))
        write_whole(record_path, ShardRecord(plan=plan, images=stored).model_dump_json().encode())
    return stored


def _finished(shard: Path, record_path: Path, plan: str) -> list[Stored] | None:
    """The images of a shard that was finished after this very ``plan`` and is undamaged."""
    try:
        record = ShardRecord.model_validate_json(record_path.read_bytes())
        data = memoryview(shard.read_bytes())
    except (OSError, ValidationError):
        return None
    offset = 0
    for image in record.images:
        if zlib.crc32(data[offset : offset + image.length]) != image.crc32:
            return None
        offset += image.length
    return record.images if record.plan == plan and offset == len(data) else None


def _cut_page(cuts: PageCuts) -> list[bytes]:
    page = decode_own_png(cuts.path.read_bytes())
    return [encode_png(page[y1:y2, x1:x2]) for x1, y1, x2, y2 in cuts.boxes]


def _cut_set(
    plan: Sequence[PageCuts],
    starts: Sequence[int],
    shards: Path,
    folder: Path,
    executor: Executor,
    progress: Progress,
) -> None:
    """Write the shards, which begin at pages ``starts``, and the tables that address them."""
    batches = [plan[start:stop] for start, stop in pairwise([*starts, len(plan)])]
    futures = [
        executor.submit(write_shard, [cuts.without_rows() for cuts in batch], shards / shard_name(shard))
        for shard, batch in enumerate(batches)
    ]
    panel_rows: list[Row] = []
    crop_rows: list[Row] = []
    for shard, (batch, future) in enumerate(zip(batches, futures, strict=True)):
        addresses = _addresses(shard, future.result())
        link(shards / shard_name(shard), folder / shard_name(shard))
        for cuts in batch:
            panel_rows += [row | next(addresses) for row in cuts.panels]
            crop_rows += [row | next(addresses) for row in cuts.crops]
        progress.advance(len(batch))
    pq.write_table(pa.Table.from_pylist(panel_rows, schema=PANEL_SCHEMA), folder / "panels.parquet")
    pq.write_table(pa.Table.from_pylist(crop_rows, schema=CROP_SCHEMA), folder / "crops.parquet")


def _addresses(shard: int, stored: Sequence[Stored]) -> Iterator[Row]:
    offset = 0
    for image in stored:
        yield {"shard": shard, "offset": offset, "length": image.length, "crc32": image.crc32}
        offset += image.length


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
