import pytest

from diffsensei.evaluation.results import MethodInfo, MetricDefinition
from reports.requested_panels import RequestedPanel
from reports.series_figures import SeriesFigure, SeriesFigures
from reports.series_view import series_overview, series_view

OURS = MethodInfo(name="diffsensei", label="DiffSensei", role="method", description="")
CLIP = MetricDefinition(name="clip", label="CLIP", definition="", unit="", higher_is_better=True, source="")
COLOUR = CLIP.replaced(name="chroma", label="Colour", group="manga")
PANELS = [
    RequestedPanel(
        panel_id=f"{series}-{page}-{number}",
        page_id=f"{series}-{page}",
        series=series,
        panel_index=number,
        height=64,
        width=64,
        caption="",
        characters=(),
        dialogs=(),
        seed=0,
    )
    for series, pages in (("a", 2), ("b", 1))
    for page in range(pages)
    for number in range(3)
]


def _figures(value, low, high, skipped=()):
    cells = (SeriesFigure(value, low, high, 6, dict(skipped)), SeriesFigure(0.0, 0.0, 0.0, 6, {}))
    return SeriesFigures((CLIP, COLOUR), ((OURS, cells),))


def test_the_overview_has_all_series_on_one_scale():
    figures = {"a": _figures(0.5, 0.4, 0.6), "b": _figures(0.3, 0.2, 0.4)}
    overview = series_overview(["a", "b"], PANELS, figures, OURS)
    assert [metric.name for metric in overview.metrics] == ["clip"]
    (first, (ours,)), (second, (theirs,)) = overview.rows
    assert (first.num_pages, first.num_panels, second.num_pages, second.num_panels) == (2, 6, 1, 3)
    assert (ours.text, ours.interval, ours.n) == ("0.500", "0.400\N{EN DASH}0.600", 6)
    assert (ours.strip.low, ours.strip.mark, ours.strip.high) == pytest.approx((50, 75, 100))
    assert (theirs.strip.low, theirs.strip.mark, theirs.strip.high) == pytest.approx((0, 25, 50))


def test_a_series_without_figures_is_listed_without():
    overview = series_overview(["a", "b"], PANELS, {"a": _figures(0.5, None, None)}, OURS)
    assert [cells for _, cells in overview.rows][1] == ()
    assert overview.rows[0][1][0].strip is None
    assert series_view("b", PANELS, None).rows == ()


def test_reasons_stand_beside_what_is_missing():
    view = series_view("a", PANELS, _figures(None, None, None, {"no caption": 6}))
    cell = view.rows[0][1][0]
    assert (cell.text, cell.reasons) == ("\N{EN DASH}", "6 left out: no caption")
