"""Pen and screentone: anti-aliased polygons in fractional coordinates, and the tones that fill them."""

from copy import copy
from functools import lru_cache
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]
Points = NDArray[np.float64]
Paint = int | Image
"""A grey value, or an array of the canvas's size whose pixels are copied."""

SHIFT = 4
BLACK, WHITE = 0, 255
_STEPS = 1 << SHIFT
_TILE = 256


def fixed(points: Any) -> NDArray[np.int32]:
    """Pixel coordinates (n, 2) as the fixed-point integers OpenCV draws with."""
    return np.rint(np.asarray(points, dtype=np.float64) * _STEPS).astype(np.int32)


def ring(cx: float, cy: float, rx: float, ry: float, count: int = 28, start: float = 0.0, end: float = 360.0) -> Points:
    """``count`` points of an elliptic arc; angles in degrees, clockwise on the page from the right."""
    return _unit_arc(count, start, end) * (rx, ry) + (cx, cy)


@lru_cache(maxsize=128)
def _unit_arc(count: int, start: float, end: float) -> Points:
    angles = np.radians(np.linspace(start, end, count, endpoint=end - start < 360))
    return np.stack([np.cos(angles), np.sin(angles)], axis=1)


@lru_cache(maxsize=128)
def _tone_tile(pattern: str, period: float, light: int, dark: int, side: int) -> Image:
    y, x = np.mgrid[0:side, 0:side].astype(np.float32)
    wave = 2 * np.pi / max(period, 2.0)
    if pattern == "dots":
        field = np.cos((x + y) * wave / 1.414) * np.cos((x - y) * wave / 1.414)
    elif pattern == "lines":
        field = np.cos((x * 0.7 + y) * wave / 1.22)
    elif pattern == "cross":
        field = np.maximum(np.cos(x * wave), np.cos(y * wave)) - 0.45
    else:
        field = np.cos((x * 1.7 - y * 0.6) * wave / 1.8) * (0.6 + 0.4 * np.cos((x + y * 2) * wave / 4))
    cover = np.clip(field * 1.6 + 0.5, 0, 1)
    return (light + (dark - light) * cover).astype(np.uint8)


def tone(pattern: str, period: float, light: int, dark: int, height: int, width: int) -> Image:
    """A screentone (height, width) between the grey values ``light`` and ``dark``; ``period`` in pixels."""
    side = -(-max(height, width) // _TILE) * _TILE
    return _tone_tile(pattern, round(period * 4) / 4, light, dark, side)[:height, :width]


@lru_cache(maxsize=256)
def _cloth_tile(pattern: str, period: int, side: int) -> Image:
    # Every pattern repeats after two periods, so two periods are drawn and laid out.
    y, x = np.mgrid[0 : 2 * period, 0 : 2 * period]
    if pattern == "striped":
        dark = (y % period) * 2 < period
    elif pattern == "checked":
        dark = ((y // period) + (x // period)) % 2 == 0
    else:
        centre = (period - 1) / 2
        shifted = x + (y // period % 2) * (period // 2)
        dark = (y % period - centre) ** 2 + (shifted % period - centre) ** 2 < (0.36 * period) ** 2
    cell = np.where(dark, 30, WHITE).astype(np.uint8)
    repeats = -(-side // len(cell))
    return np.tile(cell, (repeats, repeats))


def cloth(pattern: str, period: float, height: int, width: int) -> Image:
    """A woven pattern (height, width): ``striped``, ``checked`` or ``dotted``; ``period`` in pixels."""
    side = -(-max(height, width) // _TILE) * _TILE
    return _cloth_tile(pattern, max(2, round(period)), side)[:height, :width]


class Pen:
    """Draws in a local frame (origin, scale, mirrored or not) on a grey image and, if given, its coverage.

    ``alpha`` collects what was drawn, so that a figure can be laid over a background and its exact outline known.
    """

    def __init__(
        self, image: Image, origin: tuple[float, float], scale: float, line: int, flip: bool, alpha: Image | None
    ) -> None:
        self.image, self.alpha = image, alpha
        self.line = max(1, line)
        self.scale = scale
        self._origin = np.array(origin) * _STEPS
        self._axes = np.array([-scale if flip else scale, scale]) * _STEPS

    def place(self, points: Any) -> NDArray[np.int32]:
        """Local points (n, 2) in fixed-point pixels."""
        return np.rint(np.asarray(points, dtype=np.float64) * self._axes + self._origin).astype(np.int32)

    def inside(self) -> "Pen":
        """The same pen for details that lie within what is already covered."""
        pen = copy(self)
        pen.alpha = None
        return pen

    def fill(self, points: Any, paint: Paint, outline: float = 1.0) -> None:
        """Fill a polygon; ``outline`` is the contour's thickness in pen lines (0: none)."""
        placed = [self.place(points)]
        if isinstance(paint, int):
            cv2.fillPoly(self.image, placed, paint, cv2.LINE_AA, SHIFT)
        else:
            mask = np.zeros_like(self.image)
            cv2.fillPoly(mask, placed, 1, cv2.LINE_8, SHIFT)
            cv2.copyTo(paint, mask, self.image)
        if self.alpha is not None:
            cv2.fillPoly(self.alpha, placed, WHITE, cv2.LINE_AA, SHIFT)
        if outline:
            self._polyline(placed, True, BLACK, max(1, round(self.line * outline)))

    def stroke(self, points: Any, weight: float = 1.0, closed: bool = False, shade: int = BLACK) -> None:
        """Draw a polyline ``weight`` pen lines thick."""
        self._polyline([self.place(points)], closed, shade, max(1, round(self.line * weight)))

    def limb(self, points: Any, width: float, shade: int, contour: int = BLACK) -> None:
        """Draw a thick polyline with an outline of shade ``contour``; ``width`` in local units."""
        placed, inner = [self.place(points)], max(1, round(width * self.scale))
        self._polyline(placed, False, contour, inner + 2 * self.line)
        self._polyline(placed, False, shade, inner)

    def disc(self, x: float, y: float, rx: float, ry: float, paint: Paint, outline: float = 1.0) -> None:
        """Fill an ellipse."""
        self.fill(ring(x, y, rx, ry, 16), paint, outline)

    def _polyline(self, placed: list[NDArray[np.int32]], closed: bool, shade: int, thickness: int) -> None:
        cv2.polylines(self.image, placed, closed, shade, thickness, cv2.LINE_AA, SHIFT)
        if self.alpha is not None:
            cv2.polylines(self.alpha, placed, closed, WHITE, thickness, cv2.LINE_AA, SHIFT)
