"""Hair shapes as polygons around a head of half height 1 at the origin, face towards +x, y down."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from diffsensei.data.synthetic.ink import Points, ring


@dataclass(frozen=True, eq=False)
class Hair:
    """Polygons behind the head and body, and polygons over the forehead."""

    back: tuple[Points, ...]
    front: tuple[Points, ...]


def _cap(rx: float, ry: float, side: float, fringe: list[tuple[float, float]]) -> Points:
    """A skull cap from ear to ear over the top, closed by a ``fringe`` read from the face side to the back."""
    top = ring(0, 0, rx, ry, 18, 180, 360)
    return np.concatenate([[[-rx, side]], top, [[rx, side]], np.array(fringe, dtype=float)])


def _spikes(inner: float, outer: float, count: int, start: float, end: float) -> Points:
    angles = np.radians(np.linspace(start, end, 2 * count + 1))
    radius = np.where(np.arange(2 * count + 1) % 2 == 0, inner, outer)
    return np.stack([radius * np.cos(angles), radius * np.sin(angles)], axis=1)


def _scallops(radius: float, depth: float, count: int, start: float, end: float) -> Points:
    angles = np.linspace(start, end, count * 8)
    bump = depth * np.abs(np.sin((angles - start) / (end - start) * np.pi * count))
    around = np.radians(angles)
    return np.stack([(radius + bump) * np.cos(around), (radius + bump) * np.sin(around)], axis=1)


_ZIGZAG = [(0.85, -0.15), (0.62, -0.42), (0.4, -0.08), (0.12, -0.45), (-0.2, -0.1), (-0.5, -0.45), (-0.8, 0.0)]
_STRAIGHT = [
    (0.9, -0.2),
    (0.5, -0.28),
    (0.42, -0.5),
    (0.3, -0.24),
    (-0.2, -0.24),
    (-0.3, -0.5),
    (-0.42, -0.24),
    (-0.9, -0.1),
]
_PARTED = [(0.95, 0.2), (0.8, -0.25), (0.35, -0.72), (-0.25, -0.5), (-0.75, -0.1), (-0.95, 0.35)]
_SWEPT = [(0.8, -0.35), (0.45, -0.3), (0.0, -0.55), (-0.4, -0.35), (-0.85, 0.0)]


@lru_cache(maxsize=16)
def hair(shape: str) -> Hair:
    """The polygons of one of `cast.HAIR_SHAPES`."""
    cap = _cap(1.08, 1.16, -0.05, _SWEPT)
    if shape == "spiky":
        crown = _spikes(1.12, 1.72, 6, 172, 368)
        return Hair((), (np.concatenate([crown, np.array(_ZIGZAG)]),))
    if shape == "bob":
        back = np.concatenate(
            [ring(0, 0, 1.32, 1.22, 18, 180, 360), [[1.38, 0.75], [1.0, 1.0], [-1.0, 1.0], [-1.38, 0.75]]]
        )
        sides = [(1.3, 0.6), (0.88, 0.62), (0.86, -0.28), (-0.86, -0.28), (-0.88, 0.62), (-1.3, 0.6)]
        return Hair((back,), (_cap(1.28, 1.22, 0.4, sides),))
    if shape == "long":
        back = np.concatenate(
            [ring(0, 0, 1.22, 1.2, 18, 180, 360), [[1.5, 2.5], [0.7, 2.75], [-0.7, 2.75], [-1.5, 2.5]]]
        )
        return Hair((back,), (_cap(1.14, 1.2, 0.5, _PARTED),))
    if shape == "ponytail":
        tail = np.array(
            [(-0.6, -1.0), (-1.3, -1.35), (-2.0, -0.9), (-2.25, 0.1), (-1.95, 1.35), (-1.6, 0.5), (-1.35, -0.2)]
        )
        return Hair((tail,), (cap,))
    if shape == "twintails":
        right = np.array([(0.75, -0.9), (1.45, -1.15), (2.0, -0.5), (2.1, 0.6), (1.75, 1.6), (1.5, 0.7), (1.15, -0.1)])
        return Hair((right, right * [-1, 1]), (_cap(1.08, 1.16, -0.05, _ZIGZAG),))
    if shape == "curly":
        back = _scallops(1.5, 0.24, 11, 140, 400)
        front = np.concatenate(
            [_scallops(1.3, 0.2, 7, 180, 360), np.array([(0.95, -0.05)]), _scallops(0.62, 0.16, 4, 340, 200)]
        )
        return Hair((back,), (front,))
    if shape == "mohawk":
        crest = np.array(
            [(0.62, -0.55), (1.0, -1.15), (0.72, -1.3), (0.68, -1.85), (0.3, -1.7), (0.0, -2.15), (-0.3, -1.75),
             (-0.75, -1.85), (-0.75, -1.35), (-1.1, -1.1), (-0.9, -0.6), (-0.4, -0.95), (0.2, -0.95)]
        )  # fmt: skip
        return Hair((), (crest,))
    if shape == "bun":
        return Hair((ring(-0.15, -1.5, 0.62, 0.55, 20),), (_cap(1.08, 1.14, -0.05, _STRAIGHT),))
    if shape == "short":
        return Hair((), (_cap(1.07, 1.14, -0.1, [(0.75, -0.5), (0.2, -0.62), (-0.4, -0.6), (-0.85, -0.35)]),))
    return Hair((), ())


@lru_cache(maxsize=16)
def hair_from_behind(shape: str) -> tuple[Points, ...]:
    """What covers the head when it is seen from behind."""
    if shape == "bald":
        return ()
    if shape == "mohawk":
        return (np.concatenate([hair(shape).front[0][:11], [[-0.4, 0.6], [0.4, 0.6]]]),)
    drawn = hair(shape)
    crown = drawn.front[0][: 13 if shape == "spiky" else 56 if shape == "curly" else 20]
    nape = np.array([(0.95, 0.5), (0.6, 0.85), (-0.6, 0.85), (-0.95, 0.5)])
    over = tuple(p for p in drawn.back if shape in ("bob", "long"))
    return (np.concatenate([crown, nape]), *over)
