"""Result sets of any size, made fast: panels of the sizes and the look of manga, every table in its real format.

What they say is drawn by lot; how much there is of it is not: sides, characters, dialogs, skipped measurements and
missing pictures come about as often as on real pages.
"""

import hashlib
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image, ImageDraw

from diffsensei.config import load_preset
from diffsensei.evaluation.compared_methods import METHODS
from diffsensei.evaluation.dialog_f1 import COCO_THRESHOLDS, NOTHING_TO_FIND, rows_at
from diffsensei.evaluation.item_metrics import item_metrics, measurement_counts, page_sums
from diffsensei.evaluation.results import (
    GROUND_TRUTH,
    ITEM_COLUMNS,
    SHUFFLED_TRUTH,
    MethodInfo,
    MetricDefinition,
    MetricResult,
    Summary,
)
from diffsensei.evaluation.statistics import cluster_bootstrap

SIDES = (320, 448, 576, 704)
"""Square roots of panel areas, pixels; the paper's panels are mostly of the 256 to 512 class."""
ASPECTS = (0.5, 0.75, 1.0, 1.4, 2.0)
PANELS_PER_PAGE = 10
PAGES_PER_SERIES = 2
PAGE_SIZE = (1600, 1200)
MISSING_SHARE = 0.01
WORDS = ("a girl", "with long", "black hair", "shouts", "at the boy", "in rain", "close-up", "night street", "bubbles")
BASES = 3
THREADS = 2


def write_result_set(
    base: Path, num_panels: int, num_methods: int, *, num_series: int = 0, pictures: bool = True, seed: int = 0
) -> dict[str, Path]:
    """Folders ``benchmark``, ``score``, ``validate`` (tables and pages only) and ``generate_<method>`` in ``base``.

    ``num_series`` 0: two pages to each.
    """
    rng = np.random.default_rng(seed)
    methods = list(METHODS)[-num_methods:]
    names = ["benchmark", "score", "validate", *(f"generate_{name}" for name in methods)]
    folders = {name: base / name for name in names}
    for folder in folders.values():
        folder.mkdir(parents=True, exist_ok=True)
    panels = [_panel(rng, index, num_series) for index in range(num_panels)]
    (folders["benchmark"] / "panels.jsonl").write_text("".join(json.dumps(panel) + "\n" for panel in panels))
    _write_tables(folders["validate"], panels)
    if pictures:
        with ThreadPoolExecutor(THREADS) as pool:
            list(pool.map(lambda job: _write_picture(*job), _pictures(folders, panels, methods, rng)))
    for name in methods:
        said = {"method": name, "consumes": ["caption"], "deviations": []}
        (folders[f"generate_{name}"] / "generation.json").write_text(json.dumps(said))
    _write_scores(folders["score"], [panel for panel in panels if not panel["given"]], methods, rng)
    return folders


def _panel(rng: np.random.Generator, index: int, num_series: int) -> dict[str, Any]:
    page, place = divmod(index, PANELS_PER_PAGE)
    page_id = hashlib.sha256(f"page {page}".encode()).hexdigest()[:16]
    side, aspect = rng.choice(SIDES), rng.choice(ASPECTS)
    width, height = (round(side * factor / 8) * 8 for factor in (aspect**0.5, aspect**-0.5))
    panel_id = f"{page_id}-{place}"
    characters = [
        {
            "id": str(slot),
            "box": [round(0.05 + 0.3 * slot, 6), 0.3, round(0.33 + 0.3 * slot, 6), 0.97],
            "reference": f"references/{panel_id}-{slot}.png",
            "place": f"{panel_id}:{slot}",
            "source": f"{page_id}-{(place + 1) % PANELS_PER_PAGE}:0",
            "source_kind": "other_panel" if rng.random() < 0.8 else "same_panel",
            "type": 0,
        }
        for slot in range(int(rng.choice(4, p=(0.2, 0.4, 0.3, 0.1))))
    ]
    return {
        "panel_id": panel_id,
        "page_id": page_id,
        "series": f"series-{page % num_series if num_series else page // PAGES_PER_SERIES:03d}",
        "panel_index": place,
        "height": height,
        "width": width,
        "caption": " ".join(rng.choice(WORDS, size=int(rng.integers(12, 30)))),
        "characters": characters,
        "dialogs": [[0.05 + 0.3 * i, 0.03, 0.3 + 0.3 * i, 0.27] for i in range(int(rng.integers(0, 4)))],
        "unfed_dialogs": [],
        "seed": int(rng.integers(2**31)),
        "given": f"truth/{panel_id}.png" if place == 0 else "",
    }


# ---------------------------------------------------------------- pictures


def _pictures(
    folders: dict[str, Path], panels: list[dict[str, Any]], methods: list[str], rng: np.random.Generator
) -> Iterator[tuple[Path, tuple[int, int], int]]:
    """(file, (width, height), number that makes it unlike all others) of every picture."""
    wanted = []
    for panel in panels:
        size = (panel["width"], panel["height"])
        wanted.append((folders["benchmark"] / "truth" / f"{panel['panel_id']}.png", size))
        wanted += [(folders["benchmark"] / one["reference"], (160, 200)) for one in panel["characters"]]
        if not panel["given"]:
            wanted += [
                (folders[f"generate_{name}"] / "images" / "0" / f"{panel['panel_id']}.png", size)
                for name in methods
                if rng.random() >= MISSING_SHARE
            ]
    wanted += [
        (folders["validate"] / "pages" / f"{page}.png", PAGE_SIZE)
        for page in dict.fromkeys(panel["page_id"] for panel in panels)
    ]
    for folder in {path.parent for path, _ in wanted}:
        folder.mkdir(parents=True, exist_ok=True)
    for number, (path, size) in enumerate(wanted):
        yield path, size, number


def _write_picture(path: Path, size: tuple[int, int], number: int) -> None:
    drawn = _drawn(*size, number % BASES)
    moved = np.roll(drawn, (number // 7 % size[1], number % size[0]), axis=(0, 1))
    Image.fromarray(moved).save(path, format="PNG", compress_level=1)


@cache
def _drawn(width: int, height: int, kind: int) -> np.ndarray:
    """Lines, bubbles and screentone with a little noise: (height, width) grey."""
    rng = np.random.default_rng(kind)
    y, x = np.mgrid[0:height, 0:width]
    tone = (np.sin(0.9 * x) * np.sin(0.9 * y) > 0.3) * np.where(x + y < (width + height) / 2, 60, 0)
    image = Image.fromarray((235 - tone + rng.normal(0, 4, tone.shape)).clip(0, 255).astype(np.uint8))
    pen = ImageDraw.Draw(image)
    for _ in range(50):
        points = [(int(rng.integers(width)), int(rng.integers(height))) for _ in range(3)]
        pen.line(points, fill=int(rng.integers(0, 90)), width=int(rng.integers(1, 5)))
    for _ in range(4):
        left, top = int(rng.integers(width)), int(rng.integers(height))
        pen.ellipse([left, top, left + width // 4, top + height // 5], fill=255, outline=0, width=3)
    return np.asarray(image)


def _write_tables(folder: Path, panels: list[dict[str, Any]]) -> None:
    """Pages of two rows of five panels."""
    width, height = PAGE_SIZE
    pages = pd.DataFrame(panels)[["page_id", "series"]].drop_duplicates().assign(width=width, height=height)
    pages.to_parquet(folder / "pages.parquet", index=False)
    columns = PANELS_PER_PAGE // 2
    rows = []
    for panel in panels:
        row, column = divmod(panel["panel_index"], columns)
        x, y = width * (columns - 1 - column) / columns, height * row / 2
        box = {"x1": x + 10, "y1": y + 10, "x2": x + width / columns - 10, "y2": y + height / 2 - 10}
        rows.append({"page_id": panel["page_id"], "panel_id": panel["panel_id"]} | box)
    pd.DataFrame(rows).to_parquet(folder / "panels.parquet", index=False)


# ---------------------------------------------------------------- scores


def _write_scores(folder: Path, panels: list[dict[str, Any]], methods: list[str], rng: np.random.Generator) -> None:
    infos = [
        MethodInfo(name=GROUND_TRUTH, label="Ground truth", role="oracle", description="the true panels"),
        MethodInfo(name=SHUFFLED_TRUTH, label="Shuffled truth", role="floor", description="other true panels"),
        *(MethodInfo(name=n, label=METHODS[n][0], role="method", description=METHODS[n][1]) for n in methods),
    ]
    rows = [
        {"method": info.name, "seed": 0, "page_id": panel["page_id"], "series": panel["series"]}
        | {"panel_id": panel["panel_id"]}
        | row
        for info in infos
        for panel in panels
        for row in _rows(panel, 1.0 if info.role == "oracle" else 0.3 if info.role == "floor" else 0.6, rng)
    ]
    items = pd.DataFrame(rows, columns=list(ITEM_COLUMNS)).astype({"tp": "Int64", "fp": "Int64", "fn": "Int64"})
    items.to_parquet(folder / "items.parquet", index=False)
    evaluation = load_preset("tiny").evaluation
    metrics, results = [], []
    of_method = dict(iter(items.groupby("method")))
    for metric in item_metrics(evaluation):
        metrics.append(metric.definition)
        for info in infos:
            mine = of_method[info.name][of_method[info.name]["metric"].isin(metric.items)]
            used, total, skipped = measurement_counts(mine, metric)
            _, sums = page_sums(mine[mine["skipped"].isna()], metric)
            interval = cluster_bootstrap(sums, metric.statistic, resamples=200, confidence=0.95, rng=rng)
            value = float(metric.statistic(sums.sum(0)))
            results.append(_result(info, metric.definition, value, interval.low, interval.high, used, total, skipped))
    summary = Summary(
        metrics=tuple(metrics),
        methods=tuple(infos),
        results=tuple(results),
        comparisons=(),
        num_series=len({panel["series"] for panel in panels}),
        num_pages=len({panel["page_id"] for panel in panels}),
        num_panels=len(panels),
        num_characters=sum(len(panel["characters"]) for panel in panels),
        num_dialogs=sum(len(panel["dialogs"]) for panel in panels),
        seeds=(0,),
        confidence=0.95,
        resamples=200,
        judges={},
    )
    (folder / "summary.json").write_text(summary.model_dump_json())


def _rows(panel: dict[str, Any], skill: float, rng: np.random.Generator) -> Iterator[dict[str, Any]]:
    """The measurements of one drawing; ``skill``: how good it is, 0 to 1."""

    def lot() -> float:
        return float(np.clip(skill + rng.normal(0, 0.15), 0, 1))

    for metric in ("clip", "dino_i", "character_count", "chroma"):
        yield {"metric": metric, "value": lot()}
    for slot, character in enumerate(panel["characters"]):
        name = f"{slot}:{character['id']}"
        for metric in ("dino_c", "dino_c_source", "layout_iou"):
            yield {"metric": metric, "value": lot(), "character": name}
        yield {"metric": "identity_accuracy", "value": float(rng.random() < skill), "character": name}
        alone = rng.random() < 0.1
        yield {
            "metric": "copy_paste",
            "value": None if alone else lot() - 0.5,
            "skipped": "no other picture of the character on its page" if alone else None,
            "character": name,
        }
    asked = len(panel["dialogs"])
    found = int(rng.binomial(asked, skill))
    extra = int(rng.random() > skill)
    for name in ("dialog_f1", *(rows_at(iou) for iou in COCO_THRESHOLDS)):
        total = 2 * found + extra + asked - found
        yield {
            "metric": name,
            "value": 2 * found / total if total else None,
            "skipped": None if total else NOTHING_TO_FIND,
            "tp": found,
            "fp": extra,
            "fn": asked - found,
        }


def _result(
    info: MethodInfo,
    metric: MetricDefinition,
    value: float,
    low: float | None,
    high: float | None,
    used: int,
    total: int,
    skipped: dict[str, int],
) -> MetricResult:
    known = bool(np.isfinite(value))
    return MetricResult(
        method=info.name,
        metric=metric.name,
        value=value if known else None,
        low=low,
        high=high,
        n_used=used,
        n_total=total,
        skipped=skipped,
        state="computed" if known else "not computed: no measurement is left",
        definition=metric.definition,
        unit=metric.unit,
        higher_is_better=metric.higher_is_better,
        interval="page bootstrap",
        by_seed={},
    )
