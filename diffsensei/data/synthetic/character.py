"""Whole characters: hair, head, clothed body and the arms of the five poses, drawn as a layer with its coverage."""

from dataclasses import dataclass

import cv2
import numpy as np

from diffsensei.data.synthetic.cast import Identity, State, Style
from diffsensei.data.synthetic.face import draw_accessory, draw_beard, draw_face, head_outline
from diffsensei.data.synthetic.hair import hair, hair_from_behind
from diffsensei.data.synthetic.ink import BLACK, WHITE, Image, Paint, Pen, cloth, tone

REACH = (2.5, 2.35, 3.8)
"""Head half-heights a figure may extend sideways, above and below the centre of its head."""

_FINE_RADIUS = 18
_TORSO = np.array(
    [(-0.3, 0.8), (0.3, 0.8), (0.85, 1.2), (0.92, 1.6), (0.8, 2.65), (-0.8, 2.65), (-0.92, 1.6), (-0.85, 1.2)]
)
_SKIRT = np.array([(-0.78, 2.5), (0.78, 2.5), (1.0, 3.1), (-1.0, 3.1)])
_ARMS = {
    "standing": ([(0.85, 1.4), (1.08, 1.95), (1.02, 2.5)], [(-0.85, 1.4), (-1.08, 1.95), (-1.02, 2.5)]),
    "waving": ([(0.85, 1.4), (1.65, 1.0), (1.72, -0.1)], [(-0.85, 1.4), (-1.08, 1.95), (-1.02, 2.5)]),
    "pointing": ([(0.85, 1.4), (1.4, 1.42), (1.9, 1.3)], [(-0.85, 1.4), (-1.45, 1.9), (-0.85, 2.3)]),
    "arms crossed": ([(0.88, 1.4), (1.12, 1.85), (-0.42, 1.95)], [(-0.88, 1.4), (-1.12, 1.75), (0.42, 1.7)]),
    "arms raised": ([(0.85, 1.4), (1.6, 0.6), (1.7, -0.75)], [(-0.85, 1.4), (-1.6, 0.6), (-1.7, -0.75)]),
}


@dataclass(frozen=True, eq=False)
class Layer:
    """A drawn figure: grey values and coverage (both uint8, same shape) at ``left``, ``top`` of the panel."""

    image: Image
    alpha: Image
    left: int
    top: int


def draw_character(
    identity: Identity,
    style: Style,
    state: State,
    *,
    x: float,
    y: float,
    radius: float,
    line: int,
    tone_period: float,
    height: int,
    width: int,
) -> Layer:
    """Draw a figure whose head (half height ``radius``) is centred at ``x``, ``y``, clipped to (height, width)."""
    aside, above, below = (reach * radius + line for reach in REACH)
    left, right = max(0, int(x - aside)), min(width, int(x + aside) + 1)
    top, bottom = max(0, int(y - above)), min(height, int(y + below) + 1)
    rows, columns = max(1, bottom - top), max(1, right - left)
    image = np.zeros((rows, columns), np.uint8)
    alpha = np.zeros((rows, columns), np.uint8)
    pen = Pen(image, (x - left, y - top), radius, line, state.facing == "left", alpha)
    _draw_figure(pen, identity, style, state, tone_period, radius >= _FINE_RADIUS)
    return Layer(image, alpha, left, top)


def _draw_figure(pen: Pen, identity: Identity, style: Style, state: State, period: float, fine: bool) -> None:
    rows, columns = pen.image.shape
    away = state.facing == "away"
    grey = tone(style.tone_pattern, period, 205, style.tone_dark, rows, columns)
    paints: dict[str, Paint] = {"black": 25, "white": WHITE, "grey": grey}
    hair_paint = paints[identity.hair_tone]
    dress = identity.clothes
    if dress in ("striped", "checked", "dotted"):
        body: Paint = cloth(
            dress, pen.scale * (0.5 if dress == "striped" else 0.36 if dress == "checked" else 0.56), rows, columns
        )
    else:
        body = paints.get(dress, 25)
    sleeve = {"black": 25, "suit": 25, "grey": 150}.get(dress, WHITE)
    drawn, width = hair(identity.hair_shape), style.head_width

    if not away:
        for polygon in drawn.back:
            pen.fill(polygon, hair_paint)
    for side in (-1, 1):
        pen.limb(
            [(0.42 * side, 2.6), (0.45 * side, 3.45)], 0.42, 60 if dress in ("white", "dotted", "checked") else WHITE
        )
        pen.fill([(0.2 * side, 3.3), (0.45 * side, 3.25), (0.85 * side, 3.6), (0.2 * side, 3.6)], BLACK)
    near, far = _ARMS[state.pose]
    if state.pose != "arms crossed":
        _draw_arm(pen, far, sleeve)
    pen.fill(_TORSO, body)
    if dress == "suit" and not away:
        pen.inside().fill([(-0.34, 0.85), (0.5, 0.85), (0.14, 2.0)], WHITE, 0.8)
        pen.inside().fill([(0.0, 1.15), (0.2, 1.15), (0.24, 1.75), (0.1, 1.9), (-0.04, 1.75)], BLACK, 0)
    if state.pose == "arms crossed":
        _draw_arm(pen, far, sleeve)
    _draw_arm(pen, near, sleeve, finger=state.pose == "pointing")

    pen.fill(head_outline(identity.face, width), WHITE)
    if away:
        for polygon in hair_from_behind(identity.hair_shape):
            pen.fill(polygon, hair_paint)
        for polygon in drawn.back if identity.hair_shape not in ("bob", "long", "curly") else ():
            pen.fill(polygon, hair_paint)
    else:
        if identity.accessory == "beard":
            draw_beard(pen, hair_paint, width)
        draw_face(pen.inside(), identity, style, state, fine)
        for polygon in drawn.front:
            pen.fill(polygon, hair_paint)
        if style.gloss and identity.hair_tone == "black" and drawn.front and identity.hair_shape != "mohawk":
            pen.inside().stroke([(0.1, -0.92), (0.45, -0.82), (0.68, -0.62)], 1.2, shade=WHITE)
    draw_accessory(pen, identity, away, width, fine)


def _draw_arm(pen: Pen, joints: list[tuple[float, float]], sleeve: int, finger: bool = False) -> None:
    # A grey contour keeps an arm in a black sleeve apart from the black cloth behind it.
    pen.limb(joints, 0.36, sleeve, contour=150 if sleeve < 60 else BLACK)
    x, y = joints[-1]
    if finger:
        pen.limb([(x, y), (x + 0.42, y - 0.06)], 0.12, WHITE)
    pen.disc(x, y, 0.25, 0.25, WHITE)


def lay_over(panel: Image, layer: Layer, halo: int) -> Image:
    """Compose ``layer`` onto ``panel`` with a white rim of ``halo`` pixels, as inkers part figure and ground.

    Returns the coverage of figure and rim, of the layer's shape.
    """
    rows, columns = layer.image.shape
    ground = panel[layer.top : layer.top + rows, layer.left : layer.left + columns]
    rim = cv2.dilate(layer.alpha, np.ones((2 * halo + 1, 2 * halo + 1), np.uint8))
    cv2.max(ground, rim, ground)
    kept = cv2.multiply(ground, 255 - layer.alpha, scale=1 / 255)
    inked = cv2.multiply(layer.image, layer.alpha, scale=1 / 255)
    cv2.add(kept, inked, ground)
    return np.asarray(rim)
