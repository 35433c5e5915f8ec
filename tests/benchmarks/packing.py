"""Stage 2's language model on 16 prompts: rows that prompts share, against a row for each, padded as the reference does
(to 256 tokens)."""

from collections.abc import Iterator
from functools import partial

import diffsensei.models  # noqa: F401  before transformers: torchvision must be importable beside a CPU build of torch

# isort: split

import random

import torch
from torch import Tensor
from transformers import LlamaConfig, LlamaForCausalLM

from diffsensei.models.prompt_packing import balanced_rows, packed_hidden_states
from tests.benchmarks.interleaved import Case

PROMPTS, HIDDEN, PADDED, ROW_TOKENS = 8, 1536, 256, 512
"""Wide and short, so that attention has about as small a part of the operations as in a 13B Llama: 4 % here, 3 % there.
With a width of 256 and rows of 1024 it had a third, and what rows save in layers they lost in attention."""


def cases() -> Iterator[Case]:
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=64,
        hidden_size=HIDDEN,
        intermediate_size=4128,
        num_hidden_layers=1,
        num_attention_heads=12,
        num_key_value_heads=12,
        max_position_embeddings=PADDED,
    )
    llm = LlamaForCausalLM(config).eval()
    lengths = prompt_lengths()
    embedded = torch.randn(PROMPTS, PADDED, HIDDEN)
    yield Case(
        name=f"language model on {PROMPTS} prompts: shared rows, or padded to {PADDED}",
        check=partial(_check, llm, embedded, lengths),
        plain=partial(_padded, llm, embedded),
        ours=partial(_packed, llm, embedded, lengths),
        goal=1.2,
    )


def prompt_lengths() -> list[int]:
    """Captions of 42 to 79 tokens (paper sec. 3: LLaVA's are long) between two images of 64 slots."""
    draw = random.Random(0)
    return [draw.randint(179, 216) for _ in range(PROMPTS)]


def useful_share() -> float:
    """Share of the packed rows' tokens that belong to a prompt."""
    lengths = prompt_lengths()
    rows = balanced_rows(lengths, ROW_TOKENS)
    return sum(lengths) / (len(rows) * max(sum(lengths[prompt] for prompt in row) for row in rows))


@torch.no_grad()
def _padded(llm: LlamaForCausalLM, embedded: Tensor) -> Tensor:
    states: Tensor = llm.model(inputs_embeds=embedded, use_cache=False).last_hidden_state
    return states


@torch.no_grad()
def _packed(llm: LlamaForCausalLM, embedded: Tensor, lengths: list[int]) -> Tensor:
    return packed_hidden_states(llm, embedded[:, : max(lengths)], lengths, ROW_TOKENS)


def _check(llm: LlamaForCausalLM, embedded: Tensor, lengths: list[int]) -> None:
    plain, ours = _padded(llm, embedded), _packed(llm, embedded, lengths)
    for index, length in enumerate(lengths):
        torch.testing.assert_close(plain[index, :length], ours[index, :length], atol=1e-4, rtol=1e-4)
