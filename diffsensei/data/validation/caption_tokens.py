"""How many CLIP tokens captions have: SDXL's text encoders see 75 and drop the rest without a word."""

from collections.abc import Sequence

from diffsensei.data.validation.checks import MAX_CAPTION_CHARACTERS
from diffsensei.data.validation.contents import CaptionTokens

BATCH = 4096


def caption_token_counter(text_encoder: str) -> CaptionTokens:
    """Counts with the tokenizer that lies beside the text encoder ``text_encoder`` (a reference of the foundations).

    Captions are read up to the length at which they are set aside.
    """
    from diffsensei.foundations.loading import load_tokenizer

    tokenizer = load_tokenizer(text_encoder)

    def count(captions: Sequence[str]) -> tuple[list[int], int]:
        counts: list[int] = []
        for start in range(0, len(captions), BATCH):
            batch = [caption[:MAX_CAPTION_CHARACTERS] for caption in captions[start : start + BATCH]]
            counts += map(len, tokenizer(batch, add_special_tokens=False, verbose=False)["input_ids"])
        return counts, tokenizer.model_max_length - 2

    return count
