"""Text conditions against the encoders called by hand."""

from typing import Any

import torch

from diffsensei.models.text import encode_text, text_widths


def test_penultimate_states_side_by_side_and_the_last_projection(text_encoders: tuple[Any, Any]) -> None:
    captions = ["a boy runs", "the girl laughs in the rain with two friends in the rain"]
    tokens, pooled = encode_text(text_encoders, captions)
    assert text_widths(text_encoders) == (20, 10)
    assert tokens.shape == (2, 9, 20)
    assert pooled.shape == (2, 10)
    assert not tokens.requires_grad
    first, second = text_encoders
    ids = [first.tokenizer(caption).input_ids[:9] for caption in captions]
    padded = torch.tensor([row + [first.tokenizer.pad_token_id] * (9 - len(row)) for row in ids])
    with torch.no_grad():
        by_hand = [encoder.model(padded, output_hidden_states=True) for encoder in (first, second)]
    torch.testing.assert_close(tokens[..., :8], by_hand[0].hidden_states[2])
    torch.testing.assert_close(tokens[..., 8:], by_hand[1].hidden_states[2])
    torch.testing.assert_close(pooled, by_hand[1].text_embeds)


def test_a_caption_does_not_depend_on_its_batch(text_encoders: tuple[Any, Any]) -> None:
    captions = ["a boy runs", "", "the girl laughs"]
    tokens, pooled = encode_text(text_encoders, captions)
    alone_tokens, alone_pooled = encode_text(text_encoders, captions[1:2])
    torch.testing.assert_close(tokens[1:2], alone_tokens)
    torch.testing.assert_close(pooled[1:2], alone_pooled)
