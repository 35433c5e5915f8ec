"""Places: what is drawn behind the figures, light enough that figures stand out of it."""

from collections.abc import Callable

import cv2
import numpy as np

from diffsensei.data.synthetic.cast import Style
from diffsensei.data.synthetic.ink import SHIFT, WHITE, Image, fixed, ring, tone

_LINE = 130
"""Grey of background contours; figures are inked in black."""


def draw_background(
    image: Image, place: str, style: Style, rng: np.random.Generator, focus: tuple[float, float], unit: float
) -> None:
    """Draw ``place`` (one of `PLACES`) over the whole ``image`` (h, w); ``focus`` is where speed lines point.

    ``unit`` is the length of one style unit in pixels.
    """
    image[:] = WHITE
    _PAINTERS[place](image, style, rng, focus, unit)


def _polygon(image: Image, points: object, shade: int, line: int | None = _LINE, thickness: int = 1) -> None:
    placed = [fixed(points)]
    cv2.fillPoly(image, placed, shade, cv2.LINE_AA, SHIFT)
    if line is not None:
        cv2.polylines(image, placed, True, line, thickness, cv2.LINE_AA, SHIFT)


def _segments(image: Image, segments: np.ndarray, shade: int, thickness: int = 1) -> None:
    """Draw line segments (n, 2, 2)."""
    cv2.polylines(image, list(fixed(segments)), False, shade, thickness, cv2.LINE_AA, SHIFT)


def _thick(unit: float) -> int:
    return max(1, round(unit))


def _draw_plain(image: Image, style: Style, rng: np.random.Generator, focus: tuple[float, float], unit: float) -> None:
    height, width = image.shape
    edge = int(height * rng.uniform(0.55, 0.8))
    image[edge:] = tone(style.tone_pattern, style.tone_period * unit, 252, 190, height - edge, width)


def _draw_speed_lines(
    image: Image, style: Style, rng: np.random.Generator, focus: tuple[float, float], unit: float
) -> None:
    height, width = image.shape
    count = int(rng.integers(34, 46))
    angles = (np.arange(count) + rng.uniform(-0.3, 0.3, count)) * (2 * np.pi / count)
    spread = rng.uniform(0.1, 0.32, count) * (2 * np.pi / count)
    reach = np.hypot(height, width)
    inner = rng.uniform(0.42, 0.6, count)
    centre = np.array(focus)
    tips = np.stack([np.cos(angles) * width, np.sin(angles) * height], axis=1) * inner[:, None] + centre
    sides = [
        np.stack([np.cos(angles + turn), np.sin(angles + turn)], axis=1) * reach + centre for turn in (-spread, spread)
    ]
    wedges = np.stack([tips, *sides], axis=1)
    cv2.fillPoly(image, list(fixed(wedges)), 40, cv2.LINE_AA, SHIFT)


def _draw_city(image: Image, style: Style, rng: np.random.Generator, focus: tuple[float, float], unit: float) -> None:
    height, width = image.shape
    ground = height * 0.9
    x = -0.05 * width
    while x < width:
        w = height * rng.uniform(0.16, 0.34)
        top = height * rng.uniform(0.12, 0.5)
        shade = int(rng.integers(205, 240))
        _polygon(image, [(x, ground), (x, top), (x + w, top), (x + w, ground)], shade)
        if style.building == "houses":
            roof = [(x - 0.08 * w, top), (x + w / 2, top - 0.45 * w), (x + 1.08 * w, top)]
            _polygon(image, roof, 170)
        elif style.building == "towers":
            _segments(image, np.array([[(x + w / 2, top), (x + w / 2, top - 0.5 * w)]]), _LINE, _thick(unit))
        rows, columns = max(1, int((ground - top) / (0.11 * height))), 3
        cell_w, cell_h = w / columns, (ground - top) / rows
        left = x + (np.arange(columns) + 0.25) * cell_w
        tops = top + (np.arange(rows) + 0.3) * cell_h
        for a in left:
            for b in tops:
                cv2.rectangle(image, (int(a), int(b)), (int(a + cell_w / 2), int(b + cell_h * 0.4)), 165, cv2.FILLED)
        x += w * rng.uniform(1.0, 1.12)
    image[int(ground) :] = 225


def _draw_forest(image: Image, style: Style, rng: np.random.Generator, focus: tuple[float, float], unit: float) -> None:
    height, width = image.shape
    ground = height * 0.82
    image[int(ground) :] = tone(style.tone_pattern, style.tone_period * unit, 235, 170, height - int(ground), width)
    x = width * rng.uniform(-0.05, 0.1)
    while x < width * 1.05:
        size = height * rng.uniform(0.17, 0.24)
        top = height * rng.uniform(0.2, 0.42)
        trunk = size * 0.16
        _polygon(image, [(x - trunk, ground), (x - trunk, top), (x + trunk, top), (x + trunk, ground)], 175)
        if style.tree == "pine":
            for level in range(3):
                y = top + level * size * 0.62
                spread = size * (0.55 + 0.2 * level)
                _polygon(
                    image, [(x - spread, y + size * 0.75), (x, y - size * 0.35), (x + spread, y + size * 0.75)], 205
                )
        elif style.tree == "palm":
            for angle in (-160, -125, -90, -55, -20, 15, 165):
                tip = (
                    x + 1.15 * size * np.cos(np.radians(angle)),
                    top + 0.9 * size * np.sin(np.radians(angle)) + 0.2 * size,
                )
                middle = ((x + tip[0]) / 2, (top + tip[1]) / 2 - 0.22 * size)
                low = (middle[0], middle[1] + 0.26 * size)
                _polygon(image, [(x, top), middle, tip, low], 205)
        else:
            angles = np.radians(np.linspace(0, 360, 40, endpoint=False))
            bump = 1 + 0.13 * np.abs(np.sin(angles * 4))
            crown = np.stack([x + size * bump * np.cos(angles), top + 0.95 * size * bump * np.sin(angles)], axis=1)
            _polygon(image, crown, 210)
        x += size * rng.uniform(1.7, 2.6)


def _draw_room(image: Image, style: Style, rng: np.random.Generator, focus: tuple[float, float], unit: float) -> None:
    height, width = image.shape
    floor = int(height * rng.uniform(0.74, 0.84))
    image[floor:] = 205
    boards = np.linspace(-0.6, 1.6, 12)
    segments = np.stack(
        [
            np.stack([boards * width, np.full(12, floor)], 1),
            np.stack([(boards * 1.9 - 0.45) * width, np.full(12, height)], 1),
        ],
        1,
    )
    _segments(image, segments, 165)
    cv2.line(image, (0, floor), (width, floor), _LINE, _thick(unit))
    side = 0.42 * height
    x = width * rng.uniform(0.05, 0.3)
    y = height * rng.uniform(0.1, 0.2)
    for left in np.arange(x, width, side * 1.7):
        right, bottom = left + side, y + side * 0.95
        _polygon(image, [(left, y), (right, y), (right, bottom), (left, bottom)], 228, _LINE, _thick(unit) + 1)
        middle = np.array(
            [
                [((left + right) / 2, y), ((left + right) / 2, bottom)],
                [(left, (y + bottom) / 2), (right, (y + bottom) / 2)],
            ]
        )
        _segments(image, middle, _LINE, _thick(unit))


def _draw_night(image: Image, style: Style, rng: np.random.Generator, focus: tuple[float, float], unit: float) -> None:
    height, width = image.shape
    image[:] = 38
    count = max(6, int(18 * width / height))
    size = max(1, round(0.013 * height))
    for x, y in rng.uniform(0, 1, (count, 2)) * (width, 0.75 * height):
        cv2.circle(image, fixed([x, y]).tolist(), size << SHIFT, WHITE, cv2.FILLED, cv2.LINE_AA, SHIFT)
    moon_x, moon_y = rng.uniform(0.1, 0.9) * width, 0.18 * height
    _polygon(image, ring(moon_x, moon_y, 0.12 * height, 0.12 * height), WHITE, None)
    _polygon(image, ring(moon_x + 0.06 * height, moon_y - 0.02 * height, 0.1 * height, 0.1 * height), 38, None)
    hills = np.linspace(0, width, 9)
    ridge = height * (0.86 + 0.05 * np.sin(hills / height * 5 + rng.uniform(0, 6)))
    _polygon(image, [*zip(hills, ridge, strict=True), (width, height), (0, height)], 90, None)


def _draw_sunset(image: Image, style: Style, rng: np.random.Generator, focus: tuple[float, float], unit: float) -> None:
    height, width = image.shape
    horizon = int(0.72 * height)
    bands = ((0.0, 120), (0.18, 150), (0.36, 180), (0.54, 215))
    for top, light in bands:
        rows = slice(int(top * height), horizon)
        image[rows] = tone(
            style.tone_pattern, style.tone_period * unit, min(255, light + 45), light - 20, horizon - rows.start, width
        )
    radius = 0.3 * height
    x = rng.uniform(0.2, 0.8) * width
    _polygon(image, ring(x, horizon, radius, radius, 24, 180, 360), WHITE, 150, _thick(unit))
    image[horizon:] = 140
    rows = horizon + np.array([0.06, 0.13, 0.21]) * height
    spans = np.stack(
        [
            np.stack([x - radius * np.array([0.9, 0.6, 0.8]), rows], 1),
            np.stack([x + radius * np.array([0.8, 0.9, 0.5]), rows], 1),
        ],
        1,
    )
    _segments(image, spans, 235, _thick(unit) + 1)


def _draw_rain(image: Image, style: Style, rng: np.random.Generator, focus: tuple[float, float], unit: float) -> None:
    height, width = image.shape
    image[:] = 200
    count = int(60 * max(1.0, width / height))
    x, y = rng.uniform(-0.2, 1.1, count) * width, rng.uniform(-0.2, 1.0, count) * height
    length = rng.uniform(0.12, 0.3, count) * height
    segments = np.stack([np.stack([x, y], 1), np.stack([x - 0.3 * length, y + length], 1)], 1)
    _segments(image, segments[::2], 90, _thick(unit))
    _segments(image, segments[1::2], WHITE, _thick(unit))


def _draw_sea(image: Image, style: Style, rng: np.random.Generator, focus: tuple[float, float], unit: float) -> None:
    height, width = image.shape
    horizon = 0.45 * height
    cloud_x = rng.uniform(0.1, 0.9) * width
    for dx, dy, size in ((-0.16, 0, 0.1), (0.0, -0.05, 0.14), (0.17, 0, 0.1)):
        _polygon(image, ring(cloud_x + dx * height, (0.2 + dy) * height, size * height, size * height * 0.8), 235, 200)
    image[int(horizon) :] = 190
    columns = np.linspace(0, width, max(8, int(width / height * 24)))
    for row in (0.47, 0.58, 0.7, 0.84, 0.97):
        wave = row * height + 0.025 * height * np.abs(np.sin(columns / height * 14 + rng.uniform(0, 6)))
        cv2.polylines(image, [fixed(np.stack([columns, wave], 1))], False, WHITE, _thick(unit) + 1, cv2.LINE_AA, SHIFT)


def _draw_sparkles(
    image: Image, style: Style, rng: np.random.Generator, focus: tuple[float, float], unit: float
) -> None:
    height, width = image.shape
    image[:] = tone(style.tone_pattern, style.tone_period * unit, 240, 180, height, width)
    count = max(5, int(9 * width / height))
    for x, y in rng.uniform(0, 1, (count, 2)) * (width, height):
        size = rng.uniform(0.06, 0.13) * height
        angles = np.radians(np.arange(8) * 45)
        radius = np.where(np.arange(8) % 2 == 0, size, 0.28 * size)
        _polygon(image, np.stack([x + radius * np.cos(angles), y + radius * np.sin(angles)], 1), WHITE, _LINE)


_PAINTERS: dict[str, Callable[[Image, Style, np.random.Generator, tuple[float, float], float], None]] = {
    "plain": _draw_plain,
    "speed lines": _draw_speed_lines,
    "city": _draw_city,
    "forest": _draw_forest,
    "room": _draw_room,
    "night": _draw_night,
    "sunset": _draw_sunset,
    "rain": _draw_rain,
    "sea": _draw_sea,
    "sparkles": _draw_sparkles,
}
PLACES = tuple(_PAINTERS)
SETTINGS = tuple(place for place in PLACES if place not in ("plain", "speed lines", "sparkles"))
"""Places a scene can stay in over several panels."""
