"""A page as the language model reads it: captions and images in turn.

``BOS caption <img> slots </img> [INST]caption <img> slots </img> ... [INST]caption <img> slots </img> EOS``: the last
panel is the one to tell. Ids are put together by hand, since tokenizers disagree about white space beside added tokens.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from diffsensei.models.identity_prompt import IGNORED

TURN = "[INST]"
"""Opens every panel but the first."""
Ids = Sequence[int]
"""A caption as its tokens: what the model wrote itself is not spelt out and read again, which may give other tokens."""


@dataclass(frozen=True, eq=False)
class StoryPromptBatch:
    """B pages, padded on the right; S slots an image."""

    token_ids: Tensor
    """(B, L) int64."""
    context_rows: Tensor
    """(E,) int64: the page of each context panel, page after page, oldest first."""
    context_positions: Tensor
    """(E, S) int64: where that panel's features go."""
    answer_positions: Tensor
    """(B, S) int64: where the slots of the panel to tell are."""
    labels: Tensor
    """(B, L) int64: turn, caption, ``<img>`` and EOS of the panel to tell; `IGNORED` elsewhere, also on slots."""

    def to(self, device: torch.device | str) -> "StoryPromptBatch":
        """The same on ``device``."""
        return StoryPromptBatch(*(getattr(self, name).to(device) for name in self.__dataclass_fields__))


class StoryPrompts:
    """Builds prompts with ``num_slots`` slots an image, for one tokenizer.

    Raises ValueError if the tokenizer lacks any of ``<img>``, ``</img>``, ``<img_00000>``...
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase, num_slots: int, max_caption_tokens: int) -> None:
        vocabulary = tokenizer.get_vocab()
        slots = [f"<img_{index:05d}>" for index in range(num_slots)]
        absent = [token for token in ("<img>", "</img>", *slots) if token not in vocabulary]
        if absent or tokenizer.bos_token_id is None or tokenizer.eos_token_id is None:
            raise ValueError(
                f"expected BOS, EOS, <img>, </img> and {num_slots} tokens <img_00000>... in the language model's "
                f"vocabulary, lacking {', '.join(absent[:3]) or 'BOS or EOS'}; use a tokenizer with image slots"
            )
        self.num_slots = num_slots
        self.image_id: int = vocabulary["<img>"]
        self.bos_id: int = tokenizer.bos_token_id
        self.eos_id: int = tokenizer.eos_token_id
        self.inner_ids = [vocabulary[token] for token in ("</img>", *slots)]
        """Ids that only stand inside an image, or end it."""
        self.slot_ids = [vocabulary[token] for token in slots]
        self.turn_ids: list[int] = tokenizer.encode(TURN, add_special_tokens=False)
        self._end_id: int = vocabulary["</img>"]
        self._tokenizer, self._max_caption_tokens = tokenizer, max_caption_tokens

    def caption_ids(self, caption: str) -> list[int]:
        """Ids of ``caption``, cut to the longest that is allowed."""
        ids: list[int] = self._tokenizer.encode(caption, add_special_tokens=False)
        return ids[: self._max_caption_tokens]

    def panel_ids(self, caption_ids: Ids, *, first: bool) -> list[int]:
        """A whole panel."""
        return [*self._opening(caption_ids, first), self.image_id, *self.slot_ids, self._end_id]

    def _opening(self, caption_ids: Ids, first: bool) -> list[int]:
        return [*([self.bos_id] if first else self.turn_ids), *caption_ids]

    def encode(self, earlier: Sequence[Sequence[Ids]], captions: Sequence[Ids]) -> StoryPromptBatch:
        """Prompts that tell ``captions`` (B) after the captions of the panels before them."""
        rows, context_rows, context_starts, answers, framed = [], [], [], [], []
        for row, (before, caption) in enumerate(zip(earlier, captions, strict=True)):
            ids: list[int] = []
            for place, words in enumerate(before):
                ids += self.panel_ids(words, first=place == 0)
                context_rows.append(row)
                context_starts.append(len(ids) - 1 - self.num_slots)
            opening = self._opening(caption, first=not before)
            begin = len(ids) + (0 if before else 1)  # BOS is given, not told
            told = range(begin, len(ids) + len(opening) + 1)
            ids += [*opening, self.image_id, *self.slot_ids, self._end_id, self.eos_id]
            answers.append(len(ids) - 2 - self.num_slots)
            framed.append([*told, len(ids) - 1])
            rows.append(ids)
        longest = max(len(ids) for ids in rows)
        token_ids = torch.full((len(rows), longest), self.eos_id)
        labels = torch.full((len(rows), longest), IGNORED)
        for row, (ids, places) in enumerate(zip(rows, framed, strict=True)):
            token_ids[row, : len(ids)] = torch.tensor(ids)
            labels[row, places] = token_ids[row, places]
        offsets = torch.arange(self.num_slots)
        return StoryPromptBatch(
            token_ids=token_ids,
            context_rows=torch.tensor(context_rows, dtype=torch.long),
            context_positions=torch.tensor(context_starts, dtype=torch.long)[:, None] + offsets,
            answer_positions=torch.tensor(answers)[:, None] + offsets,
            labels=labels,
        )
