"""Who and how: the art style of a series, the looks of its cast and the state a character is in on a panel.

Looks differ in silhouette and tone, so that they stay apart when a head is a dozen pixels high.
"""

from dataclasses import dataclass

import numpy as np

from diffsensei.seeding import numpy_stream

HAIR_SHAPES = ("spiky", "bob", "long", "ponytail", "twintails", "bald", "curly", "short", "mohawk", "bun")
HAIR_TONES = ("black", "white", "grey")
FACES = ("round", "oval", "square", "pointed")
EYES = ("dot", "tall", "ring", "narrow")
ACCESSORIES = ("none", "glasses", "hat", "ribbon", "scar", "headband", "beard", "eyepatch")
CLOTHES = ("white", "black", "grey", "striped", "dotted", "checked", "suit")

EXPRESSIONS = ("neutral", "happy", "sad", "angry", "surprised", "crying")
EXAGGERATED = ("angry", "surprised", "crying")
POSES = ("standing", "waving", "pointing", "arms crossed", "arms raised")
FACINGS = ("left", "right", "away")
DISTANCES = ("close", "medium", "far")

TONE_PATTERNS = ("dots", "lines", "cross", "dashes")
BUBBLE_SHAPES = ("ellipse", "rounded", "cloud", "octagon")
MAX_CAST = 8
KEYS_PER_SERIES = 16
"""Global identity keys are ``series * KEYS_PER_SERIES + index``."""

_NO_BEARD = {"bob", "long", "ponytail", "twintails", "bun"}
_NO_HAT = {"spiky", "mohawk", "bun", "curly"}
_NO_RIBBON = {"bald", "mohawk", "short", "spiky"}


@dataclass(frozen=True)
class Style:
    """How a series is drawn. Lengths are in units of 1/360 of the page height."""

    line_weight: float
    head_width: float
    """Width of a head over its height."""
    tone_pattern: str
    tone_period: float
    tone_dark: int
    """Grey value of the tone's ink: how dense grey hair and cloth look."""
    bubble_shape: str
    lettering: str
    """``columns`` (right to left, downwards) or ``lines``."""
    building: str
    tree: str
    border: float
    gutter: float
    gloss: bool
    """Black hair carries a highlight."""
    blush: bool
    """Cheeks are hatched when a character is happy."""


@dataclass(frozen=True)
class Identity:
    """What stays the same about a character wherever it appears."""

    series: int
    index: int
    hair_shape: str
    hair_tone: str
    face: str
    eyes: str
    accessory: str
    clothes: str

    @property
    def key(self) -> int:
        """Number of this identity in its world."""
        return self.series * KEYS_PER_SERIES + self.index


@dataclass(frozen=True)
class State:
    """What changes about a character from panel to panel."""

    expression: str
    pose: str
    facing: str
    """Side of the panel the face is turned to; ``away`` shows the back of the head."""
    distance: str
    intense: bool
    """The expression is exaggerated (only those in `EXAGGERATED`)."""


@dataclass(frozen=True)
class Series:
    """One series of a world: an art style and a cast of 4 to 8 identities."""

    index: int
    name: str
    style: Style
    cast: tuple[Identity, ...]


def draw_series(seed: int, index: int) -> Series:
    """Series ``index`` of the world ``seed``: the same whatever other series are drawn."""
    style_rng = numpy_stream(seed, "series", index, "style")
    eyes = style_rng.permutation(EYES)[:2]
    style = _draw_style(style_rng, seed, index)
    return Series(index, _draw_name(seed, index), style, _draw_cast(seed, index, eyes))


def _draw_style(rng: np.random.Generator, seed: int, index: int) -> Style:
    # Consecutive series never share the pair of bubble and tone: one shuffle of all pairs serves the whole world.
    pairs = [(bubble, tone) for bubble in BUBBLE_SHAPES for tone in TONE_PATTERNS]
    order = numpy_stream(seed, "styles").permutation(len(pairs))
    bubble_shape, tone_pattern = pairs[order[index % len(pairs)]]
    return Style(
        line_weight=float(rng.uniform(1.1, 2.1)),
        head_width=float(rng.uniform(0.88, 1.1)),
        tone_pattern=tone_pattern,
        tone_period=float(rng.uniform(3.0, 4.6)),
        bubble_shape=bubble_shape,
        lettering=str(rng.choice(["columns", "lines"])),
        building=str(rng.choice(["blocks", "towers", "houses"])),
        tree=str(rng.choice(["round", "pine", "palm"])),
        border=float(rng.uniform(1.2, 2.6)),
        gutter=float(rng.uniform(5.0, 10.0)),
        gloss=bool(rng.random() < 0.5),
        blush=bool(rng.random() < 0.5),
        tone_dark=int(rng.integers(70, 125)),
    )


def _draw_name(seed: int, index: int) -> str:
    rng = numpy_stream(seed, "series", index, "name")
    syllables = ["ka", "mi", "ro", "to", "se", "na", "hi", "ku", "yo", "ri", "sa", "mo", "te", "chi", "ha", "shi"]
    return f"{index:02d}-" + "".join(rng.choice(syllables, size=3))


def _draw_cast(seed: int, series: int, eyes: np.ndarray) -> tuple[Identity, ...]:
    """No two members share a hair shape or an accessory; clothes repeat only in a cast of 8."""
    rng = numpy_stream(seed, "series", series, "cast")
    size = int(rng.integers(4, MAX_CAST + 1))
    shapes = [str(s) for s in rng.permutation(HAIR_SHAPES)[:size]]
    tones = [HAIR_TONES[i % 3] for i in rng.permutation(size)]
    clothes = [str(c) for c in np.resize(rng.permutation(CLOTHES), size)]
    accessories = [str(a) for a in rng.permutation(ACCESSORIES)[:size]]
    while any(_clash(shape, accessory) for shape, accessory in zip(shapes, accessories, strict=True)):
        accessories = [str(a) for a in rng.permutation(ACCESSORIES)[:size]]
    faces = [str(f) for f in rng.choice(FACES, size=size)]
    return tuple(
        Identity(series, i, shapes[i], tones[i], faces[i], str(eyes[i % 2]), accessories[i], clothes[i])
        for i in range(size)
    )


def _clash(shape: str, accessory: str) -> bool:
    banned = {"beard": _NO_BEARD, "hat": _NO_HAT, "ribbon": _NO_RIBBON}
    return shape in banned.get(accessory, set())
