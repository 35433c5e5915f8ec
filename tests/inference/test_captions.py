"""Captions that do not fit: which words are lost, counted by the tokenizers themselves."""

import pytest

from diffsensei.config.presets import tiny
from diffsensei.foundations.loading import load_text_encoder
from diffsensei.inference.captions import lost_words


@pytest.fixture(scope="module")
def tokenizer():
    return load_text_encoder(tiny().model.foundations.text_encoder).tokenizer


def test_nothing_is_lost_up_to_75_tokens_between_the_ends(tokenizer) -> None:
    assert lost_words("rain " * 75, tokenizer, 77, 2) == ""
    assert lost_words("rain " * 75 + "umbrella today", tokenizer, 77, 2) == "umbrella today"


def test_a_word_cut_in_its_middle_is_lost_whole(tokenizer) -> None:
    pieces = len(tokenizer.encode("Zürich", add_special_tokens=False))
    assert pieces > 2
    assert lost_words("rain " * 73 + "Zürich now", tokenizer, 77, 2) == "Zürich now"


def test_what_is_kept_encodes_to_what_the_model_sees(tokenizer) -> None:
    caption = " ".join(f"girl{number} laughs" for number in range(40))
    lost = lost_words(caption, tokenizer, 77, 2)
    kept = caption.removesuffix(lost).strip()
    seen = tokenizer(caption, truncation=True, max_length=77).input_ids[1:-1]
    ids = tokenizer.encode(kept, add_special_tokens=False)
    assert ids == seen[: len(ids)]
    assert len(seen) - len(ids) < 6, "at most the beginning of one word is seen beyond"
