"""Faces: eyes, brows and mouths of the six expressions, and what is worn on a head."""

import numpy as np

from diffsensei.data.synthetic.cast import Identity, State, Style
from diffsensei.data.synthetic.ink import BLACK, WHITE, Paint, Pen, Points, ring

_GAZE = 0.2
"""How far the features slide towards the side the face is turned to."""
_EYE_Y = 0.1


def head_outline(face: str, width: float) -> Points:
    """The contour of a head of half height 1; ``width`` is its half width."""
    angles = np.radians(np.linspace(0, 360, 28, endpoint=False))
    x, y = np.cos(angles), np.sin(angles)
    if face == "square":
        x, y = np.sign(x) * np.abs(x) ** 0.62, np.sign(y) * np.abs(y) ** 0.7
    elif face == "pointed":
        x = x * (1 - 0.45 * np.clip(y, 0, 1) ** 1.3)
    elif face == "oval":
        x = x * 0.88
    return np.stack([x * width, y], axis=1)


def draw_face(pen: Pen, identity: Identity, style: Style, state: State, fine: bool) -> None:
    """Eyes, brows, mouth, tears and blush; ``fine`` adds what only shows on large heads."""
    expression, intense = state.expression, state.intense
    if style.blush and expression == "happy":
        for side in (-1, 1):
            pen.disc(_GAZE + 0.58 * side, 0.46, 0.17, 0.1, 190, 0)
    for side in (-1, 1):
        _draw_eye(pen, _GAZE + 0.4 * side, side, identity.eyes, expression, intense, fine)
    _draw_mouth(pen, expression, 1.3 if intense else 1.0, fine)
    if fine:
        pen.stroke([(_GAZE + 0.12, 0.3), (_GAZE + 0.2, 0.4), (_GAZE + 0.1, 0.42)], 0.6)
    if intense and expression == "angry":
        pen.stroke([(0.5, -0.62), (0.62, -0.8)], 1.0)
        pen.stroke([(0.68, -0.52), (0.82, -0.68)], 1.0)


def _draw_eye(pen: Pen, x: float, side: int, eyes: str, expression: str, intense: bool, fine: bool) -> None:
    y = _EYE_Y
    if expression == "happy":
        pen.stroke(ring(x, y + 0.1, 0.2, 0.24, 9, 190, 350), 1.2)
        return
    if expression == "crying":
        wide = 0.13 if not intense else 0.19
        pen.fill([(x - wide, y + 0.06), (x + wide, y + 0.06), (x + wide * 1.2, 0.86), (x - wide, 0.9)], 205, fine * 0.7)
        pen.stroke(ring(x, y - 0.06, 0.21, 0.2, 9, 10, 170), 1.3)
        if fine:
            pen.stroke([(x - 0.2, -0.28 + 0.1 * (side < 0)), (x + 0.2, -0.28 + 0.1 * (side > 0))], 0.8)
        return
    if expression == "surprised":
        size = 0.34 if intense else 0.28
        pen.disc(x, y, size, size * 1.1, WHITE, 1.0)
        pen.disc(x, y, 0.09, 0.11, BLACK, 0)
        if fine:
            pen.stroke(ring(x, y - 0.42, 0.2, 0.14, 7, 200, 340), 0.9)
        return
    if eyes == "dot":
        pen.disc(x, y, 0.14, 0.18, BLACK, 0)
    elif eyes == "tall":
        pen.disc(x, y, 0.15, 0.28, BLACK, 0)
        if fine:
            pen.disc(x + 0.04, y - 0.1, 0.06, 0.09, WHITE, 0)
    elif eyes == "ring" and fine:
        pen.disc(x, y, 0.21, 0.21, WHITE, 1.0)
        pen.disc(x + 0.06, y, 0.1, 0.13, BLACK, 0)
    else:
        pen.stroke([(x - 0.2, y - 0.06), (x + 0.2, y - 0.06)], 1.4)
        pen.disc(x, y + 0.04, 0.11, 0.11, BLACK, 0)
    if expression == "angry":
        drop = 0.26 if intense else 0.2
        pen.stroke([(x - 0.26 * side, y - 0.16), (x + 0.24 * side, y - 0.2 - drop)], 1.8)
    elif expression == "sad":
        pen.stroke([(x - 0.24 * side, y - 0.46), (x + 0.26 * side, y - 0.2)], 1.1)
    elif fine:
        pen.stroke([(x - 0.18, y - 0.4), (x + 0.18, y - 0.4)], 0.8)


def _draw_mouth(pen: Pen, expression: str, size: float, fine: bool) -> None:
    x, y = _GAZE, 0.6
    if expression == "happy":
        pen.fill(ring(x, y - 0.14, 0.32, 0.36, 11, 0, 180), BLACK, 0.6)
        if fine:
            pen.disc(x, y + 0.1, 0.14, 0.08, 170, 0)
    elif expression == "sad":
        pen.stroke(ring(x, y + 0.2, 0.25, 0.2, 9, 195, 345), 1.2)
    elif expression == "angry":
        wide, high = 0.27 * size, 0.13 * size
        teeth = [(x - wide, y - high), (x + wide, y - high), (x + wide * 1.1, y + high), (x - wide * 1.1, y + high)]
        pen.fill(teeth, WHITE)
        if fine:
            pen.stroke([(x - wide, y), (x + wide, y)], 0.7)
            for step in (-0.5, 0.0, 0.5):
                pen.stroke([(x + step * wide, y - high), (x + step * wide, y + high)], 0.6)
    elif expression == "surprised":
        pen.disc(x, y + 0.03, 0.16 * size, 0.2 * size, BLACK, 0)
    elif expression == "crying":
        pen.fill(ring(x, y + 0.2, 0.24 * size, 0.3 * size, 11, 180, 360), BLACK, 0.6)
    else:
        pen.stroke([(x - 0.17, y + 0.04), (x + 0.17, y + 0.04)], 1.1)


def draw_beard(pen: Pen, paint: Paint, width: float) -> None:
    """A full beard with room for the mouth; drawn before the face."""
    jaw = ring(0, 0, width * 1.06, 1.22, 15, 8, 172)
    pen.fill(np.concatenate([jaw, [(-0.6, 0.4), (_GAZE - 0.35, 0.3), (_GAZE + 0.35, 0.3), (0.75, 0.3)]]), paint)
    pen.disc(_GAZE, 0.62, 0.4, 0.27, WHITE, 0)


def draw_accessory(pen: Pen, identity: Identity, away: bool, width: float, fine: bool) -> None:
    """Whatever is worn on the head; of what sits on the face nothing shows from behind."""
    kind = identity.accessory
    if kind == "hat":
        pen.fill([(-0.82, -0.72), (-0.7, -1.75), (0.7, -1.75), (0.82, -0.72)], 40)
        pen.fill([(-1.5, -0.62), (1.5, -0.62), (1.3, -0.86), (-1.3, -0.86)], 40)
        pen.fill([(-0.79, -0.9), (-0.76, -1.15), (0.76, -1.15), (0.79, -0.9)], WHITE, 0)
    elif kind == "headband":
        band = [(-width * 1.1, -0.52), (width * 1.1, -0.6), (width * 1.1, -0.3), (-width * 1.1, -0.22)]
        pen.fill(band, WHITE)
        pen.fill([(-width * 1.1, -0.36), (-1.7, -0.05), (-1.6, 0.25), (-width, -0.22)], WHITE)
    elif kind == "ribbon":
        for side in (-1, 1):
            pen.fill([(-0.45, -1.15), (-0.45 + 0.75 * side, -1.6), (-0.45 + 0.75 * side, -0.75)], WHITE, 1.2)
        pen.disc(-0.45, -1.16, 0.18, 0.18, BLACK, 0)
    elif away:
        return
    elif kind == "glasses":
        for side in (-1, 1):
            pen.stroke(ring(_GAZE + 0.42 * side, _EYE_Y + 0.02, 0.36, 0.33, 16), 1.3, closed=True)
        pen.stroke([(-width, 0.0), (_GAZE - 0.78, 0.02)], 1.2)
    elif kind == "scar":
        pen.stroke([(-0.62, -0.12), (-0.28, 0.75)], 1.3)
        for step in (0.1, 0.4, 0.7) if fine else (0.35,):
            x, y = -0.62 + 0.34 * step + 0.05, -0.12 + 0.87 * step
            pen.stroke([(x - 0.17, y + 0.07), (x + 0.17, y - 0.07)], 1.0)
    elif kind == "eyepatch":
        pen.stroke([(-0.95, -0.55), (_GAZE + 0.95, 0.55)], 1.2)
        pen.disc(_GAZE + 0.4, _EYE_Y, 0.36, 0.33, BLACK, 0)
