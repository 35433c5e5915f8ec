"""Prompts, id by id."""

import pytest
from transformers import PreTrainedTokenizerFast

from diffsensei.models.identity_prompt import IGNORED, IdentityPrompts


def pieces(tokenizer: PreTrainedTokenizerFast, ids: list[int]) -> str:
    return " ".join(tokenizer.convert_ids_to_tokens(ids))


def test_layout_positions_and_labels(llm_tokenizer: PreTrainedTokenizerFast) -> None:
    batch = IdentityPrompts(llm_tokenizer, num_tokens=4, max_caption_tokens=3).encode(["a boy", "the girl laughs in"])
    image = "<img> <img_00000> <img_00001> <img_00002> <img_00003> </img>"
    assert pieces(llm_tokenizer, batch.token_ids[0].tolist()) == (
        f"<s> a boy <0x0A> {image} <0x0A> ▁ {image} </s> <pad>"
    )
    assert pieces(llm_tokenizer, batch.token_ids[1].tolist()) == (
        f"<s> the girl laughs <0x0A> {image} <0x0A> ▁ {image} </s>"
    )
    slots = "<img_00000> <img_00001> <img_00002> <img_00003>"
    for row in range(2):
        for positions in (batch.source_positions, batch.answer_positions):
            assert pieces(llm_tokenizer, batch.token_ids[row, positions[row]].tolist()) == slots
        labels = batch.labels[row]
        assert pieces(llm_tokenizer, labels[labels != IGNORED].tolist()) == "▁ <img> </img> </s>"
        assert bool((labels[labels != IGNORED] == batch.token_ids[row][labels != IGNORED]).all())
    assert batch.source_positions[0, 0] == 5
    assert batch.answer_positions[0, 0] == 13
    assert batch.answer_positions[1, 0] == 14


def test_an_empty_caption_is_a_prompt(llm_tokenizer: PreTrainedTokenizerFast) -> None:
    batch = IdentityPrompts(llm_tokenizer, num_tokens=1, max_caption_tokens=3).encode([""])
    expected = "<s> <0x0A> <img> <img_00000> </img> <0x0A> ▁ <img> <img_00000> </img> </s>"
    assert pieces(llm_tokenizer, batch.token_ids[0].tolist()) == expected


def test_a_tokenizer_without_image_slots_is_refused(llm_tokenizer: PreTrainedTokenizerFast) -> None:
    with pytest.raises(ValueError, match=r"lacking <img_00016>, <img_00017>, <img_00018>"):
        IdentityPrompts(llm_tokenizer, num_tokens=25, max_caption_tokens=3)
