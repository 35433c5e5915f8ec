"""Several prompts in one row of the language model's batch: what would be padding is another prompt.

Each prompt keeps its own positions and sees itself alone, so its states are those it has in a row of its own, to
rounding. Transformers derives both from position ids that start over: a mask for PyTorch's attention, sequence lengths
for flash attention.
"""

import torch
from torch import Tensor
from transformers import LlamaForCausalLM


def packed_hidden_states(llm: LlamaForCausalLM, embedded: Tensor, lengths: list[int], row_tokens: int) -> Tensor:
    """States after the last norm (B, L, hidden) of B prompts ``embedded`` (B, L, hidden), of ``lengths`` tokens.

    The language model sees them in rows of about ``row_tokens``. Behind each prompt's end the states are 0.
    """
    places = _Places(balanced_rows(lengths, row_tokens), lengths, embedded.device)
    packed = embedded.new_zeros(places.num_rows * places.width, embedded.shape[-1])
    packed = packed.index_copy(0, places.packed, embedded.flatten(0, 1)[places.padded])
    states: Tensor = llm.model(
        inputs_embeds=packed.unflatten(0, (places.num_rows, places.width)),
        position_ids=places.position_ids,
        use_cache=False,
    ).last_hidden_state
    hidden = states.new_zeros(embedded.shape[0] * embedded.shape[1], states.shape[-1])
    return hidden.index_copy(0, places.padded, states.flatten(0, 1)[places.packed]).view(*embedded.shape[:2], -1)


def balanced_rows(lengths: list[int], row_tokens: int) -> list[list[int]]:
    """Prompts by row: rows of about ``row_tokens``, as many (up to twice what they would fill) as leave least padding.

    Prompts of like length pad least where each row holds equally many.
    """
    fewest = min(len(lengths), -(-sum(lengths) // row_tokens))
    choices = [_spread(lengths, number) for number in range(fewest, min(2 * fewest, len(lengths)) + 1)]
    return min(choices, key=lambda rows: len(rows) * max(_filled(lengths, rows)))


def _spread(lengths: list[int], num_rows: int) -> list[list[int]]:
    """The longest go first, each to the emptiest row (longest processing time first; Graham 1969)."""
    rows: list[list[int]] = [[] for _ in range(num_rows)]
    filled = [0] * num_rows
    for prompt in sorted(range(len(lengths)), key=lambda index: -lengths[index]):
        row = filled.index(min(filled))
        rows[row].append(prompt)
        filled[row] += lengths[prompt]
    return rows


def _filled(lengths: list[int], rows: list[list[int]]) -> list[int]:
    return [sum(lengths[prompt] for prompt in row) for row in rows]


class _Places:
    """Where each token of each prompt lies, flattened: ``padded`` in (B, L), ``packed`` in the rows."""

    def __init__(self, rows: list[list[int]], lengths: list[int], device: torch.device) -> None:
        self.num_rows = len(rows)
        self.width = max(_filled(lengths, rows))
        longest = max(lengths)
        padded, packed = [], []
        # Padding at a row's end gets position 0 over and over: sequences of one token, which see only themselves.
        positions = torch.zeros(self.num_rows, self.width, dtype=torch.int64)
        for index, row in enumerate(rows):
            start = 0
            for prompt in row:
                own = torch.arange(lengths[prompt])
                positions[index, start : start + len(own)] = own
                padded.append(prompt * longest + own)
                packed.append(index * self.width + start + own)
                start += len(own)
        self.position_ids = positions.to(device)
        """(rows, width) int64."""
        self.padded, self.packed = torch.cat(padded).to(device), torch.cat(packed).to(device)
        """(tokens,) int64 each, in one order."""
