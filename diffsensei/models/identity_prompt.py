"""The language model's input: caption, source characters, and the answer to be filled in (paper sec. 4.2, SEED-X).

``BOS caption \\n <img> s0..s63 </img> \\n <img> t0..t63 </img> EOS``: s_k and t_k are both the token ``<img_000kk>``.
Ids are put together by hand, since tokenizers disagree about white space beside added tokens.
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

IGNORED = -100
"""Label of positions that are not predicted (PyTorch's cross-entropy)."""


@dataclass(frozen=True, eq=False)
class PromptBatch:
    """B prompts, padded on the right; S image tokens each."""

    token_ids: Tensor
    """(B, L) int64."""
    source_positions: Tensor
    """(B, S) int64: where the source characters' embeddings go."""
    question_lengths: Tensor
    """(B,) int64: how many tokens come before the answer."""
    answer_positions: Tensor
    """(B, S) int64: where the hidden states of the answer are read."""
    labels: Tensor
    """(B, L) int64: the answer's framing tokens; `IGNORED` elsewhere, also on the image tokens."""
    lengths: Tensor
    """(B,) int64: tokens before the padding."""

    def to(self, device: torch.device | str) -> "PromptBatch":
        """The same on ``device``."""
        return PromptBatch(*(getattr(self, name).to(device) for name in self.__dataclass_fields__))


class IdentityPrompts:
    """Builds prompts with ``num_tokens`` image tokens for one tokenizer.

    Raises ValueError if the tokenizer lacks any of ``<img>``, ``</img>``, ``<img_00000>``...
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase, num_tokens: int, max_caption_tokens: int) -> None:
        vocabulary = tokenizer.get_vocab()
        slots = [f"<img_{index:05d}>" for index in range(num_tokens)]
        absent = [token for token in ("<img>", "</img>", *slots) if token not in vocabulary]
        if absent or tokenizer.bos_token_id is None or tokenizer.eos_token_id is None:
            raise ValueError(
                f"expected BOS, EOS, <img>, </img> and {num_tokens} tokens <img_00000>... in the language model's "
                f"vocabulary, lacking {', '.join(absent[:3]) or 'BOS or EOS'}; use a tokenizer with image slots"
            )
        self.image_token_ids = [vocabulary[token] for token in ("<img>", "</img>", *slots)]
        """Ids of all image tokens: their embeddings are learnt."""
        self.inner_ids = self.image_token_ids[1:]
        """Ids that only stand inside an image, or end it."""
        self.num_tokens = num_tokens
        self.eos_id: int = tokenizer.eos_token_id
        self._tokenizer = tokenizer
        self._max_caption_tokens = max_caption_tokens
        self._image = [vocabulary["<img>"], *(vocabulary[token] for token in slots), vocabulary["</img>"]]
        # Llama's vocabulary spells white space; one that has no such piece simply goes without.
        self._newline = [vocabulary[piece] for piece in ("<0x0A>",) if piece in vocabulary]
        self._blank = [vocabulary[piece] for piece in ("▁",) if piece in vocabulary]
        self.opening_id = [*self._blank, *self._image][0]
        """The answer's first token."""

    def answer_from(self, token: int) -> list[int]:
        """The rest of the answer, up to its last image slot, from ``token`` on; empty if ``token`` opens no image."""
        answer = [*self._blank, *self._image[:-1]]
        return answer[answer.index(token) :] if token in answer[: len(self._blank) + 1] else []

    def encode(self, captions: list[str]) -> PromptBatch:
        """Prompts for ``captions`` (any length; each is cut to ``max_caption_tokens``)."""
        rows = [self._row(caption) for caption in captions]
        longest = max(len(ids) for ids, _, _ in rows)
        pad = self._tokenizer.pad_token_id
        filler = self._tokenizer.eos_token_id if pad is None else pad
        num_tokens = self.num_tokens
        offsets = torch.arange(num_tokens)
        token_ids = torch.full((len(rows), longest), filler)
        labels = torch.full((len(rows), longest), IGNORED)
        for row, (ids, _, answer) in enumerate(rows):
            token_ids[row, : len(ids)] = torch.tensor(ids)
            framing = [answer - 1, answer + num_tokens, answer + num_tokens + 1]
            framing += [answer - 2] if self._blank else []
            labels[row, framing] = token_ids[row, framing]
        return PromptBatch(
            token_ids=token_ids,
            source_positions=torch.tensor([source for _, source, _ in rows])[:, None] + offsets,
            question_lengths=torch.tensor([answer for _, _, answer in rows]) - 1 - len(self._blank),
            answer_positions=torch.tensor([answer for _, _, answer in rows])[:, None] + offsets,
            labels=labels,
            lengths=torch.tensor([len(ids) for ids, _, _ in rows]),
        )

    def _row(self, caption: str) -> tuple[list[int], int, int]:
        """Ids, position of s0, position of t0."""
        bos, eos = self._tokenizer.bos_token_id, self._tokenizer.eos_token_id
        caption_ids = self._tokenizer.encode(caption, add_special_tokens=False)[: self._max_caption_tokens]
        opening = [bos, *caption_ids, *self._newline]
        before_answer = [*opening, *self._image, *self._newline, *self._blank]
        return [*before_answer, *self._image, eos], len(opening) + 1, len(before_answer) + 1
