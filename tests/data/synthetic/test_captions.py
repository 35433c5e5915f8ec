"""Captions: closed vocabulary, short enough for 77 tokens, naming what is drawn, in several wordings."""

import re

import pytest

from diffsensei.data.synthetic.backgrounds import PLACES
from diffsensei.data.synthetic.captions import caption_tokens, caption_vocabulary, write_caption
from diffsensei.data.synthetic.cast import EXPRESSIONS, POSES, Identity, State, draw_series
from diffsensei.data.synthetic.panel import write_script
from diffsensei.seeding import numpy_stream

ALICE = Identity(0, 0, "spiky", "black", "round", "dot", "glasses", "striped")
CALM = State("neutral", "standing", "left", "medium", False)


def test_vocabulary_is_small_sorted_and_lowercase() -> None:
    words = caption_vocabulary()
    assert len(words) <= 300
    assert list(words) == sorted(set(words))
    assert all(word == "," or re.fullmatch(r"[a-z]+", word) for word in words)


def test_every_caption_fits_and_uses_the_vocabulary_only() -> None:
    vocabulary, seen = set(caption_vocabulary()), set()
    for draw in range(600):
        rng = numpy_stream(0, draw)
        cast = draw_series(1, draw % 64).cast
        script = write_script(rng, 100, 400, cast)
        caption = write_caption(rng, script.place, script.distance, script.people, script.num_dialogs)
        tokens = caption_tokens(caption)
        assert "".join(tokens) == caption.replace(" ", "")
        assert len(tokens) <= 75
        assert sum(token != "," for token in tokens) <= 60
        seen |= set(tokens)
    assert seen <= vocabulary
    assert len(seen) > 0.95 * len(vocabulary)


def test_the_longest_possible_caption_fits() -> None:
    person = (Identity(0, 0, "long", "white", "round", "dot", "hat", "striped"), CALM)
    away = (person[0], State("neutral", "arms raised", "away", "far", False))
    for people in ([person] * 4, [away] * 4, [person] * 2):
        for draw in range(50):
            caption = write_caption(numpy_stream(0, draw), "speed lines", "far", people, 3)
            assert len(caption_tokens(caption)) <= 75


def test_one_person_is_named_in_full() -> None:
    caption = write_caption(numpy_stream(0), "night", "medium", [(ALICE, CALM)], 1)
    for word in ("black", "glasses", "striped shirt", "standing", "left", "night", "bubble"):
        assert word in caption
    assert "calm" in caption or "neutral" in caption
    assert "medium" in caption or "half length" in caption


def test_a_back_has_no_expression() -> None:
    away = State("happy", "standing", "away", "medium", False)
    captions = {write_caption(numpy_stream(0, k), "city", "medium", [(ALICE, away)], 0) for k in range(20)}
    assert not [caption for caption in captions if "happy" in caption or "smiling" in caption]
    assert all("behind" in caption or "facing away" in caption for caption in captions)


def test_wording_varies_while_facts_stay() -> None:
    captions = {write_caption(numpy_stream(0, k), "rain", "close", [(ALICE, CALM)], 2) for k in range(40)}
    assert len(captions) > 15
    assert all("rain" in caption for caption in captions)


@pytest.mark.parametrize("field", ["expression", "pose", "place"])
def test_different_facts_read_differently(field: str) -> None:
    """No two values of a field can produce the same caption."""
    options = {"expression": EXPRESSIONS, "pose": POSES, "place": PLACES}[field]
    wordings = []
    for option in options:
        expression = option if field == "expression" else "happy"
        state = State(expression, option if field == "pose" else "waving", "right", "close", False)
        place = option if field == "place" else "sea"
        wordings.append({write_caption(numpy_stream(0, k), place, "close", [(ALICE, state)], 0) for k in range(60)})
    for i, first in enumerate(wordings):
        for second in wordings[i + 1 :]:
            assert not first & second
