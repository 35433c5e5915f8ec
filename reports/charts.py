"""Charts as inline SVG, drawn once at build time; colours are the page's own, so dark mode needs no second drawing.

matplotlib writes placeholder colours, and they become CSS variables afterwards.
"""

import io
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from markupsafe import Markup

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK, MUTED, LINE = "#010203", "#010204", "#010205"
SERIES = tuple(f"#0102{index:02d}" for index in range(11, 22))
"""As many as the style has: a method has the colour of its row in the table."""
VARIABLES = {INK: "var(--ink)", MUTED: "var(--muted)", LINE: "var(--line)"} | {
    colour: f"var(--series-{index})" for index, colour in enumerate(SERIES, start=1)
}
FONT_SIZE = 9.5
MAX_POINTS = 400
"""A curve is thinned to so many points; the eye sees no more in a chart this wide."""


@dataclass(frozen=True)
class Curve:
    """One figure over training: ``label`` names it, ``points`` are (step, value)."""

    label: str
    points: Sequence[tuple[float, float]]
    series: int


@dataclass(frozen=True)
class Dot:
    """One method's figure with its interval."""

    label: str
    value: float
    low: float | None
    high: float | None
    series: int
    anchor: bool
    """Oracle and floor are drawn hollow."""


@dataclass(frozen=True)
class TrendPoint:
    """A figure of one version. ``joined``: it may be compared with the one before, so a line leads to it."""

    label: str
    value: float
    low: float | None
    high: float | None
    joined: bool
    stale: bool
    """Drawn hollow."""


def trend_chart(points: Sequence[TrendPoint], *, name: str, title: str) -> Markup:
    """Figures with their intervals from left (oldest) to right."""
    figure, axes = _new(width=4.3, height=1.9)
    colour = SERIES[1]
    for place, point in enumerate(points):
        if place and point.joined:
            axes.plot([place - 1, place], [points[place - 1].value, point.value], color=colour, linewidth=1.6)
        if point.low is not None and point.high is not None:
            axes.plot([place, place], [point.low, point.high], color=colour, linewidth=2, alpha=0.45)
        face = "none" if point.stale else colour
        axes.plot([place], [point.value], "o", color=colour, markerfacecolor=face, markersize=5, markeredgewidth=1.5)
    step = max(len(points) // 6, 1)
    shown = range(len(points) - 1, -1, -step)
    axes.set_xticks(list(shown), [_plain(points[place].label) for place in shown])
    axes.set_xlim(-0.5, len(points) - 0.5)
    axes.margins(y=0.15)
    axes.grid(axis="y", color=LINE, linewidth=0.8)
    axes.set_axisbelow(True)
    return _svg(figure, name, title)


def line_chart(curves: Sequence[Curve], *, name: str, title: str, log_scale: bool = False) -> Markup:
    """Curves over training steps. ``name`` must be unique on a page; ``title`` is the text alternative."""
    from matplotlib.ticker import MaxNLocator

    figure, axes = _new(width=4.3, height=2.3)
    for curve in curves:
        points = curve.points[:: max(len(curve.points) // MAX_POINTS, 1)]
        axes.plot(
            [x for x, _ in points],
            [y for _, y in points],
            color=SERIES[curve.series % len(SERIES)],
            linewidth=1.6,
            label=_plain(curve.label),
            solid_capstyle="round",
        )
    if log_scale:
        axes.set_yscale("log")
        axes.minorticks_off()
    axes.xaxis.set_major_locator(MaxNLocator(7, integer=True, steps=[1, 2, 5, 10]))
    axes.set_xlabel("optimizer step", color=MUTED)
    axes.grid(axis="y", color=LINE, linewidth=0.8)
    axes.set_axisbelow(True)
    if len(curves) > 1:
        # Above the curves: inside, the legend of many lies on one of them.
        axes.legend(
            frameon=False,
            labelcolor=INK,
            fontsize=FONT_SIZE,
            loc="lower left",
            bbox_to_anchor=(0, 1),
            ncols=2,
            handlelength=1.2,
            borderaxespad=0.2,
        )
    return _svg(figure, name, title)


def dot_chart(
    dots: Sequence[Dot],
    *,
    name: str,
    title: str,
    limits: tuple[float, float] | None = None,
    reference: float | None = None,
) -> Markup:
    """One row per method: a dot and its interval; first method on top.

    ``limits`` make several charts one scale; a dashed line marks ``reference``.
    """
    figure, axes = _new(width=4.3, height=0.5 + 0.3 * len(dots))
    if reference is not None:
        axes.axvline(reference, color=MUTED, linewidth=1, linestyle=(0, (4, 3)))
    for position, dot in enumerate(reversed(dots)):
        colour = MUTED if dot.anchor else SERIES[dot.series % len(SERIES)]
        if dot.low is not None and dot.high is not None:
            axes.plot([dot.low, dot.high], [position, position], color=colour, linewidth=2, solid_capstyle="round")
        face = "none" if dot.anchor else colour
        axes.plot([dot.value], [position], "o", color=colour, markerfacecolor=face, markersize=6, markeredgewidth=1.5)
    axes.set_yticks(range(len(dots)), [_plain(dot.label) for dot in reversed(dots)], color=INK)
    axes.set_ylim(-0.6, len(dots) - 0.4)
    axes.margins(x=0.06)
    if limits is not None:
        axes.set_xlim(*limits)
    axes.grid(axis="x", color=LINE, linewidth=0.8)
    axes.set_axisbelow(True)
    return _svg(figure, name, title)


def histogram(counts: Sequence[int], edges: Sequence[float], *, name: str, label: str, title: str) -> Markup:
    """Bars over the bins between ``edges``, of which the first and the last are open."""
    figure, axes = _new(width=4.3, height=2.0)
    axes.bar(range(len(counts)), counts, width=0.92, color=SERIES[1])
    axes.set_xticks([place + 0.5 for place in range(len(edges))], [f"{edge:g}" for edge in edges])
    axes.set_xlabel(_plain(label), color=MUTED)
    axes.grid(axis="y", color=LINE, linewidth=0.8)
    axes.set_axisbelow(True)
    return _svg(figure, name, title)


def _new(width: float, height: float) -> "tuple[Figure, Axes]":
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    axes = figure.subplots()
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.spines["bottom"].set_color(LINE)
    axes.tick_params(colors=MUTED, labelsize=FONT_SIZE, length=0)
    axes.xaxis.label.set_fontsize(FONT_SIZE)
    return figure, axes


def _svg(figure: "Figure", name: str, title: str) -> Markup:
    import matplotlib

    buffer = io.StringIO()
    settings: Any = {"svg.fonttype": "none", "svg.hashsalt": name, "font.family": "sans-serif"}
    with matplotlib.rc_context(settings):
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    for placeholder, variable in VARIABLES.items():
        text = text.replace(placeholder, variable)
    text = re.sub(r"<(metadata|style)\b.*?</\1>", "", text, flags=re.S)
    text = re.sub(r'id="([\w.-]+)"', rf'id="{name}-\1"', text)
    text = re.sub(r"(url\(#|href=\"#)", rf"\g<1>{name}-", text)
    text = re.sub(r"font-family: [^;]*; ?", "", text)
    text = re.sub(r'(<svg [^>]*?) width="[^"]*" height="[^"]*"', r"\1", text, count=1)
    opening, _, drawing = text.partition(">")
    heading = Markup("<title>{}</title>").format(title)
    # matplotlib escapes the labels it writes; the title is escaped here.
    return Markup(f'{opening} role="img" class="chart">{heading}{drawing}')


def _plain(label: str) -> str:
    """A label that matplotlib takes as it stands, dollars included."""
    return label.replace("$", r"\$")
