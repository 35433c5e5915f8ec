"""Captions: a small grammar that names what is drawn, with a closed vocabulary.

At most 60 words and, commas counted as words, at most 75, so that a caption fits 77 word-level tokens with both ends.
"""

import re
from collections.abc import Sequence

import numpy as np

from diffsensei.data.synthetic.cast import Identity, State

_COUNTS: dict[int, tuple[str, ...]] = {
    0: ("nobody", "no one", "an empty scene"),
    1: ("one person", "a person", "a single figure"),
    2: ("two people", "a pair of people", "two figures"),
    3: ("three people", "three figures", "a group of three people"),
    4: ("four people", "four figures", "a group of four people"),
}
_DISTANCES: dict[str, tuple[str, ...]] = {
    "close": ("close up", "close shot"),
    "medium": ("medium shot", "half length shot"),
    "far": ("far shot", "distant view"),
}
_PLACES: dict[str, tuple[str, ...]] = {
    "plain": ("on a plain background", "with nothing behind"),
    "speed lines": ("with speed lines", "before radial speed lines"),
    "city": ("in a city", "on a street with buildings"),
    "forest": ("in a forest", "among trees"),
    "room": ("in a room", "indoors by a window"),
    "night": ("at night", "under a dark night sky"),
    "sunset": ("at sunset", "before the setting sun"),
    "rain": ("in the rain", "on a rainy day"),
    "sea": ("by the sea", "on a beach with waves"),
    "sparkles": ("among sparkles", "with sparkling stars around"),
}
_HAIR: dict[str, tuple[str, ...]] = {
    "spiky": ("spiky {} hair", "wild {} spikes"),
    "bob": ("{} bob hair", "a {} bob"),
    "long": ("long {} hair", "very long {} hair"),
    "ponytail": ("{} ponytail", "{} hair in a ponytail"),
    "twintails": ("{} twintails", "{} hair in twintails"),
    "bald": ("bald head", "no hair"),
    "curly": ("curly {} hair", "big {} curls"),
    "short": ("short {} hair", "short cut {} hair"),
    "mohawk": ("{} mohawk", "{} mohawk hair"),
    "bun": ("{} hair bun", "{} hair in a bun"),
}
_ACCESSORIES: dict[str, str] = {
    "glasses": "glasses",
    "hat": "black hat",
    "ribbon": "ribbon",
    "scar": "scar",
    "headband": "headband",
    "beard": "beard",
    "eyepatch": "eyepatch",
}
_CLOTHES: dict[str, str] = {
    "white": "white shirt",
    "black": "black shirt",
    "grey": "grey shirt",
    "striped": "striped shirt",
    "dotted": "dotted shirt",
    "checked": "checked shirt",
    "suit": "black suit",
}
_EXPRESSIONS: dict[str, tuple[str, ...]] = {
    "neutral": ("calm", "neutral"),
    "happy": ("happy", "smiling"),
    "sad": ("sad", "unhappy"),
    "angry": ("angry", "furious"),
    "surprised": ("surprised", "shocked"),
    "crying": ("crying", "in tears"),
}
_POSES: dict[str, tuple[str, ...]] = {
    "standing": ("standing", "standing still"),
    "waving": ("waving", "waving one hand"),
    "pointing": ("pointing", "pointing ahead"),
    "arms crossed": ("arms crossed", "crossed arms"),
    "arms raised": ("arms raised", "both arms up"),
}
_FACINGS: dict[str, tuple[str, ...]] = {
    "left": ("facing left", "turned left"),
    "right": ("facing right", "turned right"),
    "away": ("seen from behind", "facing away"),
}
_BUBBLES: dict[int, tuple[str, ...]] = {
    0: ("no speech", "silent"),
    1: ("one speech bubble", "a speech bubble"),
    2: ("two speech bubbles", "a pair of speech bubbles"),
    3: ("three speech bubbles",),
}
_TONES = ("black", "white", "grey")
_FULL_PEOPLE = 2
"""Up to so many people are described in full; of more, the longer paraphrases would not fit."""


def write_caption(
    rng: np.random.Generator,
    place: str,
    distance: str,
    people: Sequence[tuple[Identity, State]],
    num_dialogs: int,
) -> str:
    """The caption of a panel, people in reading order (right to left); words and commas only, all lowercase."""
    brief = len(people) > _FULL_PEOPLE
    opening = f"{_pick(rng, _COUNTS[len(people)], brief)} {_pick(rng, _PLACES[place], brief)}"
    parts = [_pick(rng, _DISTANCES[distance], brief), opening] if people else [opening]
    if rng.random() < 0.5:
        parts.reverse()
    parts += [_describe(rng, identity, state, brief) for identity, state in people]
    parts.append(_pick(rng, _BUBBLES[num_dialogs], brief))
    return ", ".join(parts)


def describe_look(identity: Identity) -> str:
    """What stays the same about ``identity``, in the words of captions."""
    worn = [] if identity.accessory == "none" else [_ACCESSORIES[identity.accessory]]
    return ", ".join([_HAIR[identity.hair_shape][0].format(identity.hair_tone), *worn, _CLOTHES[identity.clothes]])


def _describe(rng: np.random.Generator, identity: Identity, state: State, brief: bool) -> str:
    look = _pick(rng, _HAIR[identity.hair_shape], brief).format(identity.hair_tone)
    worn = [] if identity.accessory == "none" else [_ACCESSORIES[identity.accessory]]
    worn.append(_CLOTHES[identity.clothes])
    states = [_pick(rng, _POSES[state.pose], brief), _pick(rng, _FACINGS[state.facing], brief)]
    if state.facing != "away":
        states.insert(0, _pick(rng, _EXPRESSIONS[state.expression], brief))
    return f"{look} {' '.join(worn)}, {' '.join(states)}"


def _pick(rng: np.random.Generator, phrases: Sequence[str], brief: bool) -> str:
    return phrases[0] if brief else phrases[int(rng.integers(len(phrases)))]


def caption_vocabulary() -> tuple[str, ...]:
    """Every word `write_caption` can use, and the comma, sorted."""
    tables: list[dict[int, tuple[str, ...]] | dict[str, tuple[str, ...]]] = [
        _COUNTS, _DISTANCES, _PLACES, _HAIR, _EXPRESSIONS, _POSES, _FACINGS, _BUBBLES,
    ]  # fmt: skip
    phrases = [phrase for table in tables for phrases in table.values() for phrase in phrases]
    phrases += [*_ACCESSORIES.values(), *_CLOTHES.values(), *_TONES]
    return tuple(sorted({word for phrase in phrases for word in re.findall(r"[a-z]+", phrase)} | {","}))


def caption_tokens(caption: str) -> list[str]:
    """Words and commas of a caption, in order."""
    return re.findall(r"[a-z]+|,", caption)
