"""Speech bubbles: where they go, their shapes and tails, and the scribbled lettering."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from diffsensei.data.synthetic.cast import Style
from diffsensei.data.synthetic.ink import BLACK, SHIFT, WHITE, Image, Points, fixed
from diffsensei.geometry import area, intersection

Box = tuple[float, float, float, float]
_CANDIDATES = 28


@dataclass(frozen=True)
class Bubble:
    """A bubble's box in panel pixels, whether it is shouted, and the mouth its tail points at."""

    box: Box
    shouted: bool
    mouth: tuple[float, float] | None


def place_bubbles(
    rng: np.random.Generator,
    height: int,
    width: int,
    heads: list[Box],
    figures: list[Box],
    speakers: list[tuple[tuple[float, float] | None, bool]],
) -> list[Bubble]:
    """One bubble per speaker (mouth, shouted) where it hides little of ``heads`` and ``figures``.

    A speaker for whom there is no room stays silent.
    """
    placed: list[Bubble] = []
    margin = 0.025 * min(height, width) + 1
    size = min(height, 1.2 * width)
    crowd = 0.88 if len(speakers) > 1 else 1.0
    for mouth, shouted in speakers:
        draw = rng.uniform(0, 1, (_CANDIDATES, 4))
        w = np.minimum((0.36 + 0.2 * draw[:, 0]) * size * crowd, 0.62 * width)
        h = np.minimum((0.25 + 0.13 * draw[:, 1]) * size * crowd, 0.5 * height)
        x = margin + draw[:, 2] * (width - w - 2 * margin)
        y = margin + draw[:, 3] ** 1.5 * 0.75 * (height - h - 2 * margin)
        boxes = np.stack([x, y, x + w, y + h], axis=1)
        cost = 6 * _most_hidden(boxes, heads) + 1.5 * _most_hidden(boxes, figures) + 0.25 * y / height
        if mouth is not None:
            cost += 0.3 * np.abs(x + w / 2 - mouth[0]) / width
        grown = boxes + np.array([-margin, -margin, margin, margin])
        cost[_most_hidden(grown, [other.box for other in placed]) > 0] = np.inf
        best = int(np.argmin(cost))
        if cost[best] < 1.0:
            x1, y1, x2, y2 = boxes[best].tolist()
            placed.append(Bubble((x1, y1, x2, y2), shouted, mouth))
    return placed


def _most_hidden(boxes: NDArray[np.float64], others: list[Box]) -> NDArray[np.float64]:
    """Per box (n, 4), the largest share of any of ``others`` that it hides."""
    if not others:
        return np.zeros(len(boxes))
    against = np.array(others)
    return np.asarray((intersection(boxes[:, None], against[None]) / area(against)).max(axis=1))


def draw_bubble(image: Image, bubble: Bubble, style: Style, rng: np.random.Generator, line: int, unit: float) -> Image:
    """Draw ``bubble``; returns the coverage (h, w) of its body, contour included and tail excluded."""
    x1, y1, x2, y2 = bubble.box
    cx, cy, rx, ry = (x1 + x2) / 2, (y1 + y2) / 2, (x2 - x1) / 2 - line, (y2 - y1) / 2 - line
    contour = _contour("spiky" if bubble.shouted else style.bubble_shape, cx, cy, rx, ry)
    body = np.zeros_like(image)
    outline = [fixed(contour)]
    cv2.fillPoly(body, outline, WHITE, cv2.LINE_AA, SHIFT)
    cv2.polylines(body, outline, True, WHITE, line, cv2.LINE_AA, SHIFT)
    tail = None if bubble.mouth is None else _tail(bubble.mouth, cx, cy, rx, ry)
    if tail is not None:
        cv2.polylines(image, [fixed(tail)], False, BLACK, line, cv2.LINE_AA, SHIFT)
    cv2.polylines(image, outline, True, BLACK, line, cv2.LINE_AA, SHIFT)
    inside = fixed((contour - (cx, cy)) * (1 - 0.5 * line / max(rx, 1), 1 - 0.5 * line / max(ry, 1)) + (cx, cy))
    cv2.fillPoly(image, [inside], WHITE, cv2.LINE_AA, SHIFT)
    if tail is not None:
        cv2.fillPoly(image, [fixed(tail)], WHITE, cv2.LINE_8, SHIFT)
        cv2.polylines(image, [fixed(tail)], False, BLACK, max(1, line - 1), cv2.LINE_AA, SHIFT)
    _letter(image, style.lettering, cx, cy, rx * 0.68, ry * 0.66, rng, unit)
    return body


def _contour(shape: str, cx: float, cy: float, rx: float, ry: float) -> Points:
    if shape == "spiky":
        angles = np.radians(np.arange(28) * 360 / 28)
        radius = np.where(np.arange(28) % 2 == 0, 1.0, 0.76)
        return np.stack([cx + rx * radius * np.cos(angles), cy + ry * radius * np.sin(angles)], axis=1)
    if shape == "octagon":
        cut = 0.55
        corners = [(1, cut), (cut, 1), (-cut, 1), (-1, cut), (-1, -cut), (-cut, -1), (cut, -1), (1, -cut)]
        return np.array([cx, cy]) + np.array(corners) * (rx, ry)
    angles = np.radians(np.linspace(0, 360, 56, endpoint=False))
    x, y = np.cos(angles), np.sin(angles)
    if shape == "rounded":
        x, y = np.sign(x) * np.abs(x) ** 0.45, np.sign(y) * np.abs(y) ** 0.45
    elif shape == "cloud":
        bump = 0.86 + 0.14 * np.abs(np.sin(angles * 4.5))
        x, y = x * bump, y * bump
    return np.stack([cx + rx * x, cy + ry * y], axis=1)


def _tail(mouth: tuple[float, float], cx: float, cy: float, rx: float, ry: float) -> Points | None:
    """A wedge from inside the body towards the mouth; none if the mouth is inside the body."""
    dx, dy = mouth[0] - cx, mouth[1] - cy
    away = np.hypot(dx / rx, dy / ry)
    if away < 1.25:
        return None
    reach = min(1.0, 1.0 / away + 0.55 * (1 - 1.0 / away), (1.0 + 0.65 * min(rx, ry) / max(rx, ry) + 0.2) / away)
    foot = np.array([cx + dx / away * 0.78, cy + dy / away * 0.78])
    side = np.array([-dy, dx]) / np.hypot(dx, dy) * 0.26 * min(rx, ry)
    return np.array([foot + side, [cx + dx * reach, cy + dy * reach], foot - side])


def _letter(
    image: Image, lettering: str, cx: float, cy: float, rx: float, ry: float, rng: np.random.Generator, unit: float
) -> None:
    """Fill the box (cx ± rx, cy ± ry) with strokes that look like writing."""
    cell = max(5.0, 7.0 * unit, min(rx, ry) / 1.6)
    if lettering == "columns":
        columns, rows = max(1, int(2 * rx / (1.25 * cell))), max(1, int(2 * ry / cell))
        pitch = np.array([1.25 * cell, cell])
    else:
        columns, rows = max(1, int(2 * rx / cell)), max(1, int(2 * ry / (1.35 * cell)))
        pitch = np.array([cell, 1.35 * cell])
    grid = np.stack(np.meshgrid(np.arange(columns), np.arange(rows)), axis=-1).reshape(-1, 2)
    last = rng.integers(0, 2)
    if len(grid) > 3 and last:
        grid = grid[1:] if lettering == "columns" else grid[:-1]
    centres = (grid - (np.array([columns, rows]) - 1) / 2) * pitch + (cx, cy)
    chosen = rng.integers(0, len(_GLYPHS), len(centres))
    size = 0.42 * cell
    strokes = [stroke * size + centre for kind, centre in zip(chosen, centres, strict=True) for stroke in _GLYPHS[kind]]
    cv2.polylines(image, [fixed(s) for s in strokes], False, BLACK, max(1, round(0.9 * unit)), cv2.LINE_AA, SHIFT)


def _glyph(*strokes: list[tuple[float, float]]) -> tuple[Points, ...]:
    return tuple(np.array(stroke, dtype=float) for stroke in strokes)


_GLYPHS = (
    _glyph([(-0.8, -0.8), (0.8, -0.8), (0.1, 0.9)]),
    _glyph([(-0.8, -0.3), (0.8, -0.3)], [(0.1, -0.9), (-0.2, 0.9)]),
    _glyph([(-0.8, -0.7), (0.8, -0.7), (0.8, 0.8), (-0.8, 0.8)]),
    _glyph([(-0.7, -0.8), (0.6, -0.6)], [(-0.6, 0.0), (0.5, 0.1)], [(-0.7, 0.7), (0.8, 0.9)]),
    _glyph([(-0.5, -0.9), (-0.5, 0.8), (0.8, 0.2)]),
    _glyph([(-0.8, 0.0), (0.0, -0.8), (0.1, 0.9)], [(0.2, -0.1), (0.9, 0.5)]),
    _glyph([(0.7, -0.9), (-0.8, 0.9)], [(-0.6, -0.5), (0.7, 0.7)]),
    _glyph([(-0.7, -0.9), (-0.7, 0.6), (0.7, 0.6)], [(-0.6, -0.1), (0.6, -0.3)]),
    _glyph([(-0.9, -0.5), (0.9, -0.5), (0.5, 0.0)], [(0.0, -0.4), (-0.4, 0.9)]),
    _glyph([(-0.5, -0.8), (-0.7, 0.2)], [(0.6, -0.8), (0.5, 0.3), (-0.2, 0.9)]),
)
