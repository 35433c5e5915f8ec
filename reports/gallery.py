"""Generated panels beside the true ones: pictures, boxes, references, and what each scored."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from pydantic import BaseModel

from diffsensei.evaluation.results import GROUND_TRUTH, MethodInfo, Summary
from reports.assets import AssetFolder
from reports.results_table import figure_text

MAX_PANELS = 300
"""Panels shown; a report stays a page, not an archive. What is left out is said."""
SHOWN_AREA = 176 * 176
"""Screen pixels a picture is brought to, by whole factors, so that small panels stay crisp."""
NUM_EXTREMES = 4
EXTREME_METRICS = ("clip", "dino_i", "dino_c", "dialog_f1")
PANEL_METRICS = ("clip", "dino_i", "dino_c", "dialog_f1")
NUM_COLOURS = 4


class RequestedCharacter(BaseModel):
    id: str
    box: tuple[float, float, float, float]
    reference: str
    source_kind: str


class RequestedPanel(BaseModel):
    """A line of the benchmark's ``panels.jsonl``, as far as it is shown."""

    panel_id: str
    page_id: str
    series: str
    panel_index: int
    height: int
    width: int
    caption: str
    characters: tuple[RequestedCharacter, ...]
    dialogs: tuple[tuple[float, float, float, float], ...]
    seed: int
    given: str = ""
    """Image that every method gets instead of drawing the panel, or empty."""


@dataclass(frozen=True)
class Picture:
    """An image at its size on screen."""

    address: str
    width: int
    height: int
    alt: str
    smooth: bool
    """Shown smaller than it is, so not pixel by pixel."""


@dataclass(frozen=True)
class OverlayBox:
    """A box in per mille of the picture, with the colour index of its character (0: a dialog)."""

    x: float
    y: float
    width: float
    height: float
    colour: int
    label: str


@dataclass(frozen=True)
class Version:
    """One method's drawing of a panel, or the true one."""

    method: str
    label: str
    role: str
    picture: Picture | None
    scores: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Reference:
    character: str
    colour: int
    picture: Picture | None
    kind: str


@dataclass(frozen=True)
class PanelCard:
    anchor: str
    request: RequestedPanel
    versions: tuple[Version, ...]
    references: tuple[Reference, ...]
    boxes: tuple[OverlayBox, ...]


@dataclass(frozen=True)
class Extreme:
    card: PanelCard
    version: Version
    truth: Version
    score: str


@dataclass(frozen=True)
class ExtremeList:
    metric: str
    best: tuple[Extreme, ...]
    worst: tuple[Extreme, ...]


def read_panels(benchmark: Path) -> list[RequestedPanel]:
    """The requests of a benchmark folder, in file order. Raises ValueError where there are none."""
    path = benchmark / "panels.jsonl"
    if not path.is_file():
        raise ValueError(f"{benchmark} holds no benchmark: panels.jsonl is missing; run the benchmark stage")
    return [RequestedPanel.model_validate_json(line) for line in path.read_text().splitlines()]


def panel_cards(
    panels: Sequence[RequestedPanel],
    summary: Summary,
    items: pd.DataFrame,
    benchmark: Path,
    generated: Mapping[str, Path],
    assets: AssetFolder,
) -> list[PanelCard]:
    """A card per panel, at most `MAX_PANELS`. ``generated`` maps methods to the folders they drew into."""
    seed = summary.seeds[0]
    scores = _scores(items, seed, summary)
    shown = [info for info in summary.methods if info.name == GROUND_TRUTH or info.name in generated]
    return [
        PanelCard(
            anchor=f"panel-{number}",
            request=panel,
            versions=tuple(
                _version(panel, info, scores, benchmark, generated, seed, assets)
                for info in shown
                if info.name == GROUND_TRUTH or not panel.given
            ),
            references=tuple(_reference(panel, slot, benchmark, assets) for slot in range(len(panel.characters))),
            boxes=_boxes(panel),
        )
        for number, panel in enumerate(panels[:MAX_PANELS])
    ]


def extreme_lists(
    cards: Sequence[PanelCard], summary: Summary, items: pd.DataFrame
) -> tuple[MethodInfo | None, list[ExtremeList]]:
    """The best and worst panels of the last method of the table, per metric; ties in benchmark order."""
    methods = [info for info in summary.methods if info.role == "method"]
    if not methods:
        return None, []
    main = methods[-1]
    by_id = {card.request.panel_id: card for card in cards if not card.request.given}
    lists = []
    for metric in summary.metrics:
        if metric.name not in EXTREME_METRICS:
            continue
        values = _panel_means(items, summary.seeds[0], main.name, metric.name)
        ranked = sorted(
            ((value, panel) for panel, value in values.items() if panel in by_id),
            key=lambda entry: (-entry[0], list(by_id).index(entry[1])),
        )
        count = min(NUM_EXTREMES, len(ranked) // 2)
        if not count:
            continue
        lists.append(
            ExtremeList(
                metric.label,
                best=tuple(_extreme(by_id[panel], main.name, value) for value, panel in ranked[:count]),
                worst=tuple(_extreme(by_id[panel], main.name, value) for value, panel in reversed(ranked[-count:])),
            )
        )
    return main, lists


def _extreme(card: PanelCard, method: str, value: float) -> Extreme:
    version = next(version for version in card.versions if version.method == method)
    truth = next(version for version in card.versions if version.method == GROUND_TRUTH)
    return Extreme(card, version, truth, figure_text(value))


def _panel_means(items: pd.DataFrame, seed: int, method: str, metric: str) -> dict[str, float]:
    mine = items[
        (items["method"] == method) & (items["metric"] == metric) & (items["seed"] == seed) & items["value"].notna()
    ]
    return {str(panel): float(value) for panel, value in mine.groupby("panel_id")["value"].mean().items()}


def _scores(items: pd.DataFrame, seed: int, summary: Summary) -> dict[tuple[str, str], list[tuple[str, str]]]:
    """(method, panel) to (label, figure) pairs; characters of a panel averaged, dialogs as matched / asked / extra."""
    labels = {metric.name: metric.label for metric in summary.metrics}
    mine = items[(items["seed"] == seed) & items["metric"].isin(PANEL_METRICS)]
    found: dict[tuple[str, str], list[tuple[str, str]]] = {}
    for (method, panel, metric), rows in mine.groupby(["method", "panel_id", "metric"], sort=False):
        label = labels.get(str(metric), str(metric))
        if metric == "dialog_f1":
            label, text = "Dialogs", _dialog_text(rows.iloc[0])
        else:
            values = rows["value"].dropna()
            text = figure_text(float(values.mean())) if len(values) else ""
        if text:
            found.setdefault((str(method), str(panel)), []).append((label, text))
    return found


def _dialog_text(row: Any) -> str:
    if pd.isna(row["tp"]) or row["tp"] + row["fp"] + row["fn"] == 0:
        return ""
    extra = f", {row['fp']} extra" if row["fp"] else ""
    return f"{row['tp']} of {row['tp'] + row['fn']}{extra}"


def _version(
    panel: RequestedPanel,
    info: MethodInfo,
    scores: Mapping[tuple[str, str], list[tuple[str, str]]],
    benchmark: Path,
    generated: Mapping[str, Path],
    seed: int,
    assets: AssetFolder,
) -> Version:
    truth = info.name == GROUND_TRUTH
    folder = benchmark / "truth" if truth else generated[info.name] / "images" / str(seed)
    alt = f"{info.label}: panel {panel.panel_id}"
    picture = _picture(_inside(folder, f"{panel.panel_id}.png"), alt, assets)
    return Version(info.name, info.label, info.role, picture, tuple(scores.get((info.name, panel.panel_id), ())))


def _reference(panel: RequestedPanel, slot: int, benchmark: Path, assets: AssetFolder) -> Reference:
    character = panel.characters[slot]
    alt = f"Reference of character {character.id}"
    picture = _picture(_inside(benchmark, character.reference), alt, assets)
    kind = "from this panel" if character.source_kind == "same_panel" else "from another panel"
    return Reference(character.id, _colour(slot), picture, kind)


def _picture(path: Path, alt: str, assets: AssetFolder) -> Picture | None:
    stored = assets.picture(path)
    if stored is None:
        return None
    address, width, height = stored
    factor = (SHOWN_AREA / (width * height)) ** 0.5
    factor = max(round(factor), 1) if factor >= 1 else factor
    return Picture(address, max(round(width * factor), 1), max(round(height * factor), 1), alt, factor < 1)


def _boxes(panel: RequestedPanel) -> tuple[OverlayBox, ...]:
    drawn = [(character.box, _colour(slot), character.id) for slot, character in enumerate(panel.characters)]
    drawn += [(box, 0, "dialog") for box in panel.dialogs]
    return tuple(
        OverlayBox(x1 * 1000, y1 * 1000, (x2 - x1) * 1000, (y2 - y1) * 1000, colour, label)
        for (x1, y1, x2, y2), colour, label in drawn
    )


def _colour(slot: int) -> int:
    return slot % NUM_COLOURS + 1


def _inside(folder: Path, name: str) -> Path:
    """``folder / name``. Raises ValueError for a name that leads outside."""
    path = (folder / name).resolve()
    if not path.is_relative_to(folder.resolve()):
        raise ValueError(f"picture {name!r} lies outside {folder}; rebuild the benchmark")
    return path
