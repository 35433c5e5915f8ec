"""One panel of any size: a script (who, in which state, where), its drawing, its caption and its exact boxes."""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from diffsensei.data.synthetic.backgrounds import PLACES, draw_background
from diffsensei.data.synthetic.bubbles import Box, draw_bubble, place_bubbles
from diffsensei.data.synthetic.captions import write_caption
from diffsensei.data.synthetic.cast import (
    DISTANCES,
    EXAGGERATED,
    EXPRESSIONS,
    POSES,
    Identity,
    Series,
    State,
)
from diffsensei.data.synthetic.character import draw_character, lay_over
from diffsensei.data.synthetic.ink import BLACK, Image

UNITS_PER_SIDE = 120.0
"""Default scale: a panel on a page is about so many style units wide and high."""

_RADIUS = {"close": 0.25, "medium": 0.17, "far": 0.108}
"""Half height of a head over the panel's size (`_size`)."""
_BELOW = {"close": (1.8, 2.35), "medium": (2.5, 3.1), "far": (3.75, 4.7)}
"""Head half-heights between the centre of a head and the lower edge of the panel."""
_ROOM = 2.35
"""Head half-heights of width a figure needs."""
_SUPERSAMPLE_BELOW = 1.3
_INTENSE_RATE = 0.35
_AWAY_RATE = 0.04
_DISTANCE_WEIGHTS = {"close": 0.4, "medium": 0.4, "far": 0.2}
_NUM_PEOPLE = (0.06, 0.42, 0.34, 0.13, 0.05)
_NUM_DIALOGS = (0.32, 0.42, 0.21, 0.05)
_SPOKEN_IN_VIEW_RATE = 0.85
"""Share of dialogs spoken by someone in the panel; the others come from outside and have no tail."""


@dataclass(frozen=True)
class DrawnCharacter:
    """A character in a panel. ``box`` is tight around its visible pixels: (x1, y1, x2, y2), x2 and y2 exclusive."""

    identity: Identity
    state: State
    box: Box

    @property
    def type(self) -> int:
        """MangaZero's grade: 0 clean face, 1 vague (far or turned away), 2 exaggerated expression."""
        if self.state.intense:
            return 2
        return int(self.state.distance == "far" or self.state.facing == "away")


@dataclass(frozen=True)
class PanelScript:
    """What a panel shows: everything its caption names."""

    place: str
    distance: str
    people: tuple[tuple[Identity, State], ...]
    """In reading order, right to left."""
    num_dialogs: int
    """Dialogs wanted; a crowded panel may have room for fewer."""


@dataclass(frozen=True, eq=False)
class DrawnPanel:
    """A panel (h, w) uint8 with its exact annotation; boxes are in its pixels."""

    image: Image
    caption: str
    place: str
    distance: str
    characters: tuple[DrawnCharacter, ...]
    dialogs: tuple[Box, ...]

    def relative_characters(self) -> NDArray[np.float32]:
        """Character boxes (n, 4), xyxy in [0, 1] of the panel."""
        return self._relative([character.box for character in self.characters])

    def relative_dialogs(self) -> NDArray[np.float32]:
        """Dialog boxes (n, 4), xyxy in [0, 1] of the panel."""
        return self._relative(list(self.dialogs))

    def _relative(self, boxes: list[Box]) -> NDArray[np.float32]:
        height, width = self.image.shape
        scale = np.array([width, height] * 2, dtype=np.float64)
        return np.asarray(np.array(boxes, dtype=np.float64).reshape(-1, 4) / scale, dtype=np.float32)


def write_script(
    rng: np.random.Generator,
    height: int,
    width: int,
    candidates: Sequence[Identity],
    place: str | None = None,
    always: Identity | None = None,
) -> PanelScript:
    """Draw what a panel of ``height`` x ``width`` pixels shows with people from ``candidates``.

    ``place`` fixes the background, ``always`` names someone who must appear.
    """
    place = place or pick(rng, PLACES)
    wanted = _weighted(rng, _NUM_PEOPLE)
    wanted = min(max(wanted, 0 if always is None else 1), len(candidates))
    wanted = min(wanted, max(1, _capacity(height, width, "far")))
    distances = [d for d in DISTANCES if _capacity(height, width, d) >= wanted] or ["far"]
    distance = distances[_weighted(rng, [_DISTANCE_WEIGHTS[d] for d in distances])]
    order = [candidates[i] for i in rng.permutation(len(candidates))]
    if always is not None:
        order = [always, *(identity for identity in order if identity != always)]
    chosen = order[:wanted]
    people = tuple((chosen[i], _draw_state(rng, distance)) for i in rng.permutation(len(chosen)))
    return PanelScript(place, distance, people, _weighted(rng, _NUM_DIALOGS))


def pick(rng: np.random.Generator, options: Sequence[str]) -> str:
    """One of ``options``, each as likely (much faster than ``rng.choice``)."""
    return options[int(rng.integers(len(options)))]


def _weighted(rng: np.random.Generator, weights: Sequence[float]) -> int:
    """An index, as likely as its weight."""
    edges = np.cumsum(weights)
    return min(int(np.searchsorted(edges, rng.random() * edges[-1], side="right")), len(weights) - 1)


def _draw_state(rng: np.random.Generator, distance: str) -> State:
    expression = pick(rng, EXPRESSIONS)
    intense = expression in EXAGGERATED and rng.random() < _INTENSE_RATE
    facing = "away" if not intense and rng.random() < _AWAY_RATE else pick(rng, ("left", "right"))
    return State(expression, pick(rng, POSES), facing, distance, intense)


def _size(height: int, width: int) -> float:
    return min(height, 1.2 * width)


def _capacity(height: int, width: int, distance: str) -> int:
    """People a panel has room for at ``distance``."""
    return int(width / (_ROOM * _RADIUS[distance] * _size(height, width)) + 0.15)


def draw_panel(
    rng: np.random.Generator,
    series: Series,
    height: int,
    width: int,
    *,
    script: PanelScript | None = None,
    unit: float | None = None,
) -> DrawnPanel:
    """Draw a panel of exactly ``height`` x ``width`` pixels in the style of ``series``.

    Without a ``script`` one is drawn from the whole cast. ``unit`` is the length of one style unit in pixels; by
    default the panel is drawn as if it were of average size on its page.
    """
    if script is None:
        script = write_script(rng, height, width, series.cast)
    unit = unit or (height * width) ** 0.5 / UNITS_PER_SIDE
    # Thin lines need more pixels than a small panel has: draw large, then average.
    factor = 1 if unit >= _SUPERSAMPLE_BELOW else min(4, max(2, int(np.ceil(1 / unit))))
    image, silhouettes, bodies = _render(rng, series, script, height * factor, width * factor, unit * factor, factor)
    if factor > 1:
        image = _shrunk(image, height, width)
        silhouettes = [_shrunk(mask, height, width) for mask in silhouettes]
        bodies = [_shrunk(mask, height, width) for mask in bodies]
    characters = tuple(
        DrawnCharacter(identity, state, _tight_box(mask))
        for (identity, state), mask in zip(script.people, silhouettes, strict=True)
    )
    caption = write_caption(rng, script.place, script.distance, script.people, len(bodies))
    dialogs = tuple(_tight_box(mask) for mask in bodies)
    return DrawnPanel(image, caption, script.place, script.distance, characters, dialogs)


def draw_character_crop(rng: np.random.Generator, series: Series, identity: Identity, side: int) -> Image:
    """A (side, side) crop of ``identity`` as it appears in a panel in a random state, alone or among others."""
    height, width = (int(v) for v in rng.integers(90, 180, 2))
    panel = draw_panel(
        rng, series, height, width, script=write_script(rng, height, width, series.cast, always=identity)
    )
    box = next(character.box for character in panel.characters if character.identity == identity)
    x1, y1, x2, y2 = (int(v) for v in box)
    crop = panel.image[y1:y2, x1:x2]
    shrinks = (y2 - y1) * (x2 - x1) > side * side
    return np.asarray(cv2.resize(crop, (side, side), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR))


def _shrunk(image: Image, height: int, width: int) -> Image:
    return np.asarray(cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA), dtype=np.uint8)


def _tight_box(mask: Image) -> Box:
    x, y, w, h = cv2.boundingRect((mask >= 128).astype(np.uint8))
    return float(x), float(y), float(x + w), float(y + h)


def _render(
    rng: np.random.Generator,
    series: Series,
    script: PanelScript,
    height: int,
    width: int,
    unit: float,
    least_border: int,
) -> tuple[Image, list[Image], list[Image]]:
    """The panel, the visible coverage of each person and the coverage of each bubble's body."""
    style = series.style
    heads = _stage(rng, script, height, width)
    image = np.empty((height, width), np.uint8)
    focus = heads[0][:2] if heads else (width / 2, height / 2)
    draw_background(image, script.place, style, rng, focus, unit)

    silhouettes: list[Image] = []
    for (identity, state), (x, y, radius) in zip(script.people, heads, strict=True):
        line = max(1, round(style.line_weight * min(0.055 * radius, 1.6 * unit)))
        layer = draw_character(
            identity, style, state, x=x, y=y, radius=radius, line=line,
            tone_period=style.tone_period * unit, height=height, width=width,
        )  # fmt: skip
        rim = lay_over(image, layer, halo=max(1, round(1.6 * unit)))
        mask = np.zeros((height, width), np.uint8)
        rows, columns = layer.alpha.shape
        region = np.s_[layer.top : layer.top + rows, layer.left : layer.left + columns]
        mask[region] = layer.alpha
        for earlier in silhouettes:
            cv2.subtract(earlier[region], rim, earlier[region])
        silhouettes.append(mask)

    bodies: list[Image] = []
    line = max(1, round(1.5 * unit))
    for bubble in place_bubbles(rng, height, width, *_obstacles(heads, height), _speakers(rng, script, heads)):
        body = draw_bubble(image, bubble, style, rng, line, unit)
        for mask in silhouettes:
            cv2.subtract(mask, body, mask)
        bodies.append(body)
    border = max(least_border, round(style.border * unit))
    for layer_mask in (*silhouettes, *bodies):
        _draw_border(layer_mask, border, 0)
    _draw_border(image, border, BLACK)
    return image, silhouettes, bodies


def _draw_border(image: Image, border: int, shade: int) -> None:
    image[:border] = image[-border:] = shade
    image[:, :border] = image[:, -border:] = shade


def _stage(rng: np.random.Generator, script: PanelScript, height: int, width: int) -> list[tuple[float, float, float]]:
    """Head centre and half height (x, y, radius) of each person, from the right to the left."""
    count = len(script.people)
    heads = []
    slot = width / max(count, 1)
    for i in range(count):
        radius = _RADIUS[script.distance] * _size(height, width) * rng.uniform(0.93, 1.07)
        slack = max(0.0, slot - _ROOM * radius) / 2
        if count == 1:
            slack *= 0.9
        x = width - (i + 0.5) * slot + rng.uniform(-1, 1) * slack
        y = height - rng.uniform(*_BELOW[script.distance]) * radius
        heads.append((float(x), float(y), float(radius)))
    return heads


def _obstacles(heads: list[tuple[float, float, float]], height: int) -> tuple[list[Box], list[Box]]:
    faces = [(x - 1.25 * r, y - 1.4 * r, x + 1.25 * r, y + 1.1 * r) for x, y, r in heads]
    figures = [(x - 1.4 * r, y - 1.5 * r, x + 1.4 * r, min(y + 3.6 * r, height)) for x, y, r in heads]
    return faces, figures


def _speakers(
    rng: np.random.Generator, script: PanelScript, heads: list[tuple[float, float, float]]
) -> list[tuple[tuple[float, float] | None, bool]]:
    speakers: list[tuple[tuple[float, float] | None, bool]] = []
    for _ in range(script.num_dialogs):
        i = int(rng.integers(len(heads))) if heads else 0
        if not heads or rng.random() > _SPOKEN_IN_VIEW_RATE:
            speakers.append((None, False))
            continue
        state = script.people[i][1]
        x, y, radius = heads[i]
        shouted = state.expression in ("angry", "surprised") and rng.random() < 0.6
        speakers.append(((x, y + 0.4 * radius), shouted))
    return speakers
