"""Large drawn double pages as validation leaves them, and the panels cut from them, for benchmarks of the data path."""

import time
from concurrent.futures import Executor, ThreadPoolExecutor
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pandas as pd

from diffsensei.config.presets import tiny
from diffsensei.config.schema import SplitConfig, SyntheticSource
from diffsensei.data.images import difference_hash, encode_png
from diffsensei.data.panels.cutting import cut_panels
from diffsensei.data.panels.panel_set import PanelSet
from diffsensei.data.synthetic.page import draw_page
from diffsensei.data.tables import BOX, write_table

PAGE_HEIGHT = 1600
"""Pixels; a double page is 2134 wide. A scan of MangaDex is about as large."""
NUM_PAGES = 10
TIMED_PAGES = 5
_GRAIN = 3
"""Standard deviation of the scanner's noise: drawn pages are flat, and flat pages compress and decode far too well."""


@cache
def drawn_pages() -> tuple[Path, Path]:
    """(validated pages with their tables, panel sets cut from them), drawn once a process."""
    root = _root()
    validated, output, workspace = root / "validated", root / "panels", root / "workspace"
    for folder in (validated / "pages", output, workspace):
        folder.mkdir(parents=True)
    source = _source(PAGE_HEIGHT)
    rows: dict[str, list[dict[str, object]]] = {"pages": [], "panels": [], "characters": [], "dialogs": []}
    for number in range(NUM_PAGES):
        drawn = draw_page(source, 0, number)
        noise = np.random.default_rng(number).normal(0, _GRAIN, (PAGE_HEIGHT, 2 * drawn.halves[0].shape[1]))
        pixels = np.clip(np.hstack(drawn.halves) + noise, 0, 255).astype(np.uint8)
        page_id = f"{number:016x}"
        (validated / "pages" / f"{page_id}.png").write_bytes(encode_png(pixels))
        rows["pages"].append(
            {
                "page_id": page_id,
                "image_path": f"s/c/{number}.png",
                "series": "s",
                "page_index": number,
                "height": pixels.shape[0],
                "width": pixels.shape[1],
                "image_sha256": page_id,
                "dhash": f"{difference_hash(pixels) or 0:016x}",
                "chroma": 0.0,
                "rescaled": False,
                "sha256_1": "",
                "sha256_2": "",
            }
        )
        for index, frame in enumerate(drawn.annotation.frames):
            key = {"page_id": page_id, "panel_id": f"{page_id}-{index}", "panel_index": index}
            rows["panels"].append(key | _corners(frame.bbox) | {"caption": frame.caption, "dhash": ""})
            for place, character in enumerate(frame.characters):
                about = {"box_index": place, "character_id": str(character.id), "type": character.type}
                rows["characters"].append(key | _corners(character.bbox) | about)
            for place, dialog in enumerate(frame.dialogs):
                rows["dialogs"].append(key | _corners(dialog.bbox) | {"box_index": place})
    for name, records in rows.items():
        write_table(name, pd.DataFrame(records), validated)
    with ThreadPoolExecutor(2) as executor:
        cut(validated, workspace, output, executor)
    return validated, output


def drawing_speed() -> str:
    """A line: processor time of a double page as the tiny preset draws it, and as benchmarks of the data path do."""
    times = []
    for height in (tiny().data.source.page_height, PAGE_HEIGHT):  # type: ignore[union-attr]
        source = _source(height)
        draw_page(source, 0, 0)
        began = time.process_time()
        for number in range(1, 1 + TIMED_PAGES):
            draw_page(source, 0, number)
        times.append(f"{1e3 * (time.process_time() - began) / TIMED_PAGES:.0f} ms at {height} px")
    return f"A drawn double page: {', '.join(times)} height"


def cut(validated: Path, workspace: Path, output: Path, executor: Executor) -> None:
    """The stage, with one page held out."""
    split = SplitConfig(eval_pages_per_series=1, min_panels=2)
    cut_panels(split=split, validated=validated, workspace=workspace, output=output, executor=executor)


def panel_set() -> PanelSet:
    return PanelSet(drawn_pages()[1] / "train")


def _source(height: int) -> SyntheticSource:
    return SyntheticSource(num_series=1, pages_per_series=NUM_PAGES, page_height=height, seed=5, defect_rate=0.0)


def _corners(box: object) -> dict[str, float]:
    return dict(zip(BOX, map(float, box), strict=True))  # type: ignore[call-overload]


@cache
def _temporary() -> TemporaryDirectory[str]:
    return TemporaryDirectory(prefix="diffsensei-benchmark-")


def _root() -> Path:
    return Path(_temporary().name)
