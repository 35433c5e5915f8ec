"""The best and the worst panels of the main method, for the first page; the page of extremes has all methods."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from diffsensei.evaluation.results import GROUND_TRUTH, MethodInfo
from reports.addresses import panel_address
from reports.panel_records import Drawings
from reports.pictures import Stored
from reports.requested_panels import RequestedPanel
from reports.results_table import figure_text

NUM_EXTREMES = 4
EXTREME_METRICS = ("clip", "dino_i", "dino_c", "dialog_f1")
SHOWN_SIDE = 128


@dataclass(frozen=True)
class Picture:
    """A thumbnail at its size on screen."""

    address: str
    width: int
    height: int
    alt: str
    smooth: bool
    """Shown smaller than it is, so not pixel by pixel."""


@dataclass(frozen=True)
class Extreme:
    address: str
    """The panel's record."""
    name: str
    drawn: Picture | None
    truth: Picture | None
    score: str


@dataclass(frozen=True)
class ExtremeList:
    metric: str
    best: tuple[Extreme, ...]
    worst: tuple[Extreme, ...]


def extreme_lists(
    panels: Sequence[RequestedPanel],
    main: MethodInfo,
    drawings: Drawings,
    stored: Mapping[Path, Stored],
    galleries: str,
) -> list[ExtremeList]:
    """The best and worst panels of ``main``, per metric; ties in benchmark order.

    ``galleries``: where their records lie, from the report's folder (`EvaluationSet.galleries`).
    """
    lists = []
    for metric in drawings.metrics:
        if metric.name not in EXTREME_METRICS:
            continue
        known = [
            (value, panel)
            for panel in panels
            if not panel.given
            and (value := drawings.scored(panel, main.name, drawings.seeds[0]).value(metric.name)) is not None
        ]
        ranked = sorted(known, key=lambda entry: -entry[0] if metric.higher_is_better else entry[0])
        count = min(NUM_EXTREMES, len(ranked) // 2)
        if not count:
            continue

        def shown(entries: Sequence[tuple[float, RequestedPanel]]) -> tuple[Extreme, ...]:
            return tuple(_extreme(panel, value, main, drawings, stored, galleries) for value, panel in entries)

        lists.append(ExtremeList(metric.label, best=shown(ranked[:count]), worst=shown(ranked[::-1][:count])))
    return lists


def _extreme(
    panel: RequestedPanel,
    value: float,
    main: MethodInfo,
    drawings: Drawings,
    stored: Mapping[Path, Stored],
    galleries: str,
) -> Extreme:
    seed = drawings.seeds[0]
    name = f"panel {panel.panel_index + 1} of page {panel.page_id}, {panel.series}"
    return Extreme(
        address=panel_address(panel.panel_id, galleries),
        name=name,
        drawn=_picture(stored.get(drawings.picture(panel, main.name, seed)), f"{main.label}: {name}"),
        truth=_picture(stored.get(drawings.picture(panel, GROUND_TRUTH, seed)), f"True panel: {name}"),
        score=figure_text(value),
    )


def _picture(stored: Stored | None, alt: str) -> Picture | None:
    if stored is None:
        return None
    factor = SHOWN_SIDE / max(stored.width, stored.height)
    factor = max(round(factor), 1) if factor >= 1 else factor
    width, height = max(round(stored.width * factor), 1), max(round(stored.height * factor), 1)
    return Picture(f"assets/{stored.thumb}", width, height, alt, factor < 1)
