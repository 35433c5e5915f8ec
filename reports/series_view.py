"""What the overview of series and the page of one show of their figures."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from diffsensei.evaluation.results import MethodInfo, MetricDefinition
from reports.requested_panels import RequestedPanel
from reports.results_table import ABSENT, figure_text, interval_text
from reports.series_figures import SeriesFigure, SeriesFigures, series_address


@dataclass(frozen=True)
class Strip:
    """A figure and its interval on the scale that all series share, in per cent of it."""

    mark: float
    low: float | None
    high: float | None


@dataclass(frozen=True)
class FigureCell:
    text: str
    interval: str
    n: int
    reasons: str
    """Why measurements were left out, and how many."""
    strip: Strip | None = None


@dataclass(frozen=True)
class OneSeries:
    """A series with its figures by method."""

    name: str
    address: str
    num_pages: int
    num_panels: int
    metrics: tuple[MetricDefinition, ...]
    rows: tuple[tuple[str, tuple[FigureCell, ...]], ...]
    """Label of the method (of the series, in the overview) and its cells."""


@dataclass(frozen=True)
class Overview:
    """All series with the figures of one method."""

    method: str
    metrics: tuple[MetricDefinition, ...]
    rows: tuple[tuple[OneSeries, tuple[FigureCell, ...]], ...]


def series_view(name: str, panels: Sequence[RequestedPanel], figures: SeriesFigures | None) -> OneSeries:
    """The table of one series; without rows where nothing of it was measured."""
    mine = [panel for panel in panels if panel.series == name]
    rows = () if figures is None else tuple((info.label, tuple(map(_cell, cells))) for info, cells in figures.rows)
    return OneSeries(
        name,
        series_address(name),
        len({panel.page_id for panel in mine}),
        len(mine),
        () if figures is None else figures.metrics,
        rows,
    )


def series_overview(
    names: Sequence[str],
    panels: Sequence[RequestedPanel],
    figures: Mapping[str, SeriesFigures],
    main: MethodInfo | None,
) -> Overview:
    """All series in order, with the headline figures of ``main`` on one scale per metric."""
    some = next(iter(figures.values()), None)
    places = [] if some is None else [i for i, metric in enumerate(some.metrics) if metric.group == "headline"]
    mine = {
        name: cells
        for name, table in figures.items()
        for info, cells in table.rows
        if main is not None and info.name == main.name
    }
    scales = [_scale([cells[place] for cells in mine.values()]) for place in places]
    pages = {name: {panel.page_id for panel in panels if panel.series == name} for name in names}
    counts = Counter(panel.series for panel in panels)
    rows = []
    for name in names:
        cells = mine.get(name)
        shown = () if cells is None else tuple(_cell(cells[p], scale) for p, scale in zip(places, scales, strict=True))
        rows.append((OneSeries(name, series_address(name), len(pages[name]), counts[name], (), ()), shown))
    metrics = () if some is None else tuple(some.metrics[place] for place in places)
    return Overview("" if main is None else main.label, metrics, tuple(rows))


def _scale(figures: Sequence[SeriesFigure]) -> tuple[float, float]:
    ends = [end for figure in figures for end in (figure.value, figure.low, figure.high) if end is not None]
    return (min(ends), max(ends)) if ends else (0.0, 0.0)


def _cell(figure: SeriesFigure, scale: tuple[float, float] = (0.0, 0.0)) -> FigureCell:
    reasons = "; ".join(f"{count} left out: {reason}" for reason, count in figure.skipped.items())
    if figure.value is None:
        return FigureCell(ABSENT, "", figure.n, reasons or "nothing measured")
    low, high = scale

    def place(value: float | None) -> float | None:
        return None if value is None else round(100 * (value - low) / (high - low), 2)

    mark = place(figure.value) if high > low else None
    strip = None if mark is None else Strip(mark, place(figure.low), place(figure.high))
    return FigureCell(figure_text(figure.value), interval_text(figure.low, figure.high), figure.n, reasons, strip)
