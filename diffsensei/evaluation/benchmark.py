"""The frozen benchmark (paper, section 5.1): what every method is asked to draw, decided once and stored.

One item is one panel of a held-out page, as in the reference code's evaluation data sets: at its own size rounded to
8 pixels or at its training bucket; characters sorted by box area, largest first, at most as many as the model takes;
for each a reference drawn uniformly from the clean (type 0) crops of that id on the page; the first dialogs. The
reference code leaves the draw unseeded and the target's own crop in it; here the draw is stored, so that all methods
see the same references, and the target's own crop is drawn only where there is no other. Panels without characters
stay. Ids that repeat within a panel are allowed, as there.

The first panel of each page is given to all methods as it is, since some of the compared ones cannot begin without (the
paper does not say which it gave them); it is drawn by none and counts in no metric.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image

from diffsensei.config.schema import BucketConfig
from diffsensei.data.panels.buckets import Bucket, assign_buckets, build_buckets, fit_panel
from diffsensei.data.panels.panel_set import PanelSet
from diffsensei.geometry import area, cover_crop
from diffsensei.inference.request import Box, CharacterRequest, PanelRequest
from diffsensei.progress import Progress
from diffsensei.seeding import numpy_stream, stream_seed

PanelSize = Literal["native", "bucket"]
"""As `EvaluationConfig.panel_size`."""

NATIVE_MULTIPLE = 8
CLEAN_TYPE = 0
PANEL_SEED_BITS = 31


class BenchmarkCharacter(CharacterRequest):
    """A requested character, and where its reference comes from."""

    source_kind: Literal["same_panel", "other_panel"]
    place: str
    """Which character of the panel set this is: ``<panel_id>:<position in its panel>``."""
    source: str
    """The same of the character that the reference was cut from."""
    type: int


class BenchmarkPanel(PanelRequest):
    """A requested panel, and where it stands in the data set."""

    page_id: str
    series: str
    panel_index: int
    characters: tuple[BenchmarkCharacter, ...]
    unfed_dialogs: tuple[Box, ...]
    """Dialogs of the panel beyond those that a generator is given."""


def read_benchmark(folder: Path) -> list[BenchmarkPanel]:
    """The panels to draw and to score, in file order: all in ``folder`` but the given one of each page.

    Raises ValueError where there are none.
    """
    return [panel for panel in read_pages(folder) if not panel.given]


def read_pages(folder: Path) -> list[BenchmarkPanel]:
    """All panels frozen in ``folder``, in file order: page after page, in reading order. Raises as `read_benchmark`."""
    path = folder / "panels.jsonl"
    if not path.is_file():
        raise ValueError(f"{folder} holds no benchmark: panels.jsonl is missing; run the benchmark stage")
    return [BenchmarkPanel.model_validate_json(line) for line in path.read_text().splitlines()]


def read_truth(folder: Path, panel: BenchmarkPanel) -> NDArray[np.uint8]:
    """The true panel (H, W) at the size it is asked for."""
    return read_gray(truth_path(folder, panel))


def truth_path(folder: Path, panel: BenchmarkPanel) -> Path:
    """Where the true panel lies."""
    return folder / "truth" / f"{panel.panel_id}.png"


def read_gray(path: Path) -> NDArray[np.uint8]:
    """An image file as (H, W) grey uint8."""
    with Image.open(path) as picture:
        return np.asarray(picture.convert("L"))


def freeze_benchmark(
    *,
    panel_size: PanelSize,
    max_characters: int,
    max_dialogs: int,
    min_reference_side: int,
    buckets: BucketConfig,
    seed: int,
    panels: Path,
    workspace: Path,
    output: Path,
) -> None:
    """Write ``panels.jsonl``, ``truth/<panel_id>.png`` and ``references/<panel_id>-<k>.png`` from the eval panel set.

    ``min_reference_side``: reference crops are larger than this (pixels) on both edges.
    Raises ValueError where the set is empty.
    """
    panel_set = PanelSet(panels / "eval")
    rows = panel_set.panels
    if rows.empty:
        raise ValueError("the evaluation panel set is empty: no page qualified; lower data.split.min_panels")
    sizes = _sizes(rows, panel_size, buckets)
    crops = _clean_crops(panel_set.crops, min_reference_side)
    (output / "truth").mkdir()
    (output / "references").mkdir()
    progress = Progress(workspace / "progress.json", "Freezing the benchmark", len(rows), "panels")
    frozen = []
    for position, row in enumerate(progress.track(rows.to_dict("records"))):
        size = sizes[position]
        panel_id = str(row["panel_id"])
        truth = fit_panel(panel_set.panel_image(position), size)
        Image.fromarray(truth).save(output / "truth" / f"{panel_id}.png")
        characters = []
        for slot, (character, crop) in enumerate(
            _draw_characters(row, size, crops, max_characters, numpy_stream(seed, "benchmark", panel_id))
        ):
            name = f"references/{panel_id}-{slot}.png"
            Image.fromarray(panel_set.crop_image(int(crop["position"]))).save(output / name)
            characters.append(BenchmarkCharacter(**character, reference=name))
        dialogs = _boxes_in_crop([list(box) for box in row["dialogs"]], row, size)
        fed, unfed = dialogs[:max_dialogs], dialogs[max_dialogs:]
        frozen.append(
            BenchmarkPanel(
                panel_id=panel_id,
                page_id=str(row["page_id"]),
                series=str(row["series"]),
                panel_index=int(row["panel_index"]),
                height=size.height,
                width=size.width,
                caption=str(row["caption"]),
                characters=tuple(characters),
                dialogs=tuple(box for box in fed if box is not None),
                unfed_dialogs=tuple(box for box in unfed if box is not None),
                seed=stream_seed(seed, "noise", panel_id) % 2**PANEL_SEED_BITS,
            )
        )
    frozen = _with_given(frozen)
    if all(panel.given for panel in frozen):
        raise ValueError(
            f"each of the {len(frozen)} held-out pages has one panel, which is given: nothing is left to draw; "
            "raise data.split.min_panels"
        )
    (output / "panels.jsonl").write_text("".join(panel.model_dump_json() + "\n" for panel in frozen))


def _with_given(panels: Sequence[BenchmarkPanel]) -> list[BenchmarkPanel]:
    """The first panel of each page becomes the given one."""
    first: dict[str, BenchmarkPanel] = {}
    for panel in panels:
        if panel.panel_index < first.setdefault(panel.page_id, panel).panel_index:
            first[panel.page_id] = panel
    return [
        panel.replaced(given=f"truth/{panel.panel_id}.png") if panel is first[panel.page_id] else panel
        for panel in panels
    ]


def _sizes(rows: pd.DataFrame, panel_size: PanelSize, buckets: BucketConfig) -> list[Bucket]:
    if panel_size == "bucket":
        choices = build_buckets(buckets)
        return [choices[i] for i in assign_buckets(rows["height"], rows["width"], choices, buckets)]

    def rounded(side: int) -> int:
        return max(round(side / NATIVE_MULTIPLE), 1) * NATIVE_MULTIPLE

    return [
        Bucket(rounded(height), rounded(width), 0) for height, width in zip(rows["height"], rows["width"], strict=True)
    ]


def _clean_crops(crops: pd.DataFrame, min_side: int) -> dict[tuple[str, str], list[dict[str, Any]]]:
    """(page, character) to the crops that may serve as its reference, each with its position in the set."""
    usable = crops.assign(position=np.arange(len(crops)))
    usable = usable[(usable["type"] == CLEAN_TYPE) & (usable[["height", "width"]].min(axis=1) > min_side)]
    found: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for crop in usable.to_dict("records"):
        found.setdefault((str(crop["page_id"]), str(crop["character_id"])), []).append(crop)
    return found


def _draw_characters(
    row: dict[str, Any],
    size: Bucket,
    crops: dict[tuple[str, str], list[dict[str, Any]]],
    limit: int,
    rng: np.random.Generator,
) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    """(fields of the request, crop drawn as its reference) of the largest characters that have a reference."""
    everyone = list(row["characters"])
    order = np.argsort([-float(area(np.asarray(c["box"], dtype=float))) for c in everyone], kind="stable")
    chosen = []
    for index in order:
        character = everyone[int(index)]
        (box,) = _boxes_in_crop([list(character["box"])], row, size)
        own = (str(row["panel_id"]), int(index))
        candidates = crops.get((str(row["page_id"]), str(character["id"])), [])
        others = [c for c in candidates if (str(c["panel_id"]), int(c["character_index"])) != own]
        candidates = others or candidates
        if box is None or not candidates:
            continue
        crop = candidates[int(rng.integers(len(candidates)))]
        same = str(crop["panel_id"]) == str(row["panel_id"])
        fields = {
            "id": str(character["id"]),
            "box": box,
            "source_kind": "same_panel" if same else "other_panel",
            "place": f"{row['panel_id']}:{int(index)}",
            "source": f"{crop['panel_id']}:{int(crop['character_index'])}",
            "type": int(character["type"]),
        }
        chosen.append((fields, crop))
        if len(chosen) == limit:
            break
    return chosen


def _boxes_in_crop(
    boxes: Sequence[Sequence[float]], row: dict[str, Any], size: Bucket
) -> list[tuple[float, float, float, float] | None]:
    """Boxes relative to the panel, followed through its centre crop and clipped; None where nothing is left."""
    placed: list[tuple[float, float, float, float] | None] = []
    for box in boxes:
        moved = cover_crop(np.asarray(box, float), int(row["height"]), int(row["width"]), size.height, size.width)
        x1, y1, x2, y2 = (float(v) for v in np.clip(moved, 0.0, 1.0).round(6))
        placed.append((x1, y1, x2, y2) if x2 > x1 and y2 > y1 else None)
    return placed
