"""Captions that a model will not read to the end, told before it draws."""

from collections.abc import Iterator, Sequence

from transformers import PreTrainedTokenizerBase

from diffsensei.inference.pipeline import DiffSenseiPipeline
from diffsensei.inference.request import PanelRequest

QUOTED = 160
"""Letters of the lost words that a report quotes."""


def cut_captions(requests: Sequence[PanelRequest], pipeline: DiffSenseiPipeline) -> Iterator[str]:
    """One line for each caption longer than an encoder reads (CLIP: 77 tokens with both ends): the words it loses.

    The text encoders and the language model cut at their own lengths; the one that loses most is told.
    """
    limits = [(tokenizer, tokenizer.model_max_length, 2) for tokenizer in (pipeline.tokenizer, pipeline.tokenizer_2)]
    if pipeline.llm_tokenizer is not None:
        limits.append((pipeline.llm_tokenizer, pipeline.config["max_caption_tokens"], 0))
    for request in requests:
        lost = max((lost_words(request.caption, *limit) for limit in limits), key=len)
        if lost:
            quoted = lost if len(lost) <= QUOTED else f"{lost[:QUOTED]}..."
            yield f"{request.panel_id}: the caption is too long, the model does not read {quoted!r}; shorten it"


def lost_words(caption: str, tokenizer: PreTrainedTokenizerBase, max_tokens: int, num_ends: int) -> str:
    """The end of ``caption`` from the first word that does not fit wholly into ``max_tokens`` with ``num_ends`` marks.

    Empty if all of it fits.
    """
    encoded = tokenizer(caption, add_special_tokens=False, return_offsets_mapping=True, truncation=False, verbose=False)
    offsets = encoded["offset_mapping"]
    kept = max_tokens - num_ends
    if len(offsets) <= kept:
        return ""
    cut = offsets[kept][0]
    while cut > 0 and not caption[cut - 1].isspace():
        cut -= 1
    return caption[cut:].strip()
