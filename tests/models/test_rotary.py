import copy

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from diffsensei.methods.assembly import place
from diffsensei.models.rotary import exact_rotary


@pytest.fixture(scope="module")
def llm() -> LlamaForCausalLM:
    sizes = {"hidden_size": 128, "num_attention_heads": 1, "num_hidden_layers": 1, "intermediate_size": 32}
    return LlamaForCausalLM(LlamaConfig(vocab_size=8, **sizes))


def angles(llm: LlamaForCausalLM) -> torch.Tensor:
    """cos and sin of positions 0 to 499."""
    cos, sin = llm.model.rotary_emb(torch.zeros(1), torch.arange(500)[None])
    return torch.cat([cos, sin])


def test_rounded_frequencies_would_turn_positions(llm: LlamaForCausalLM) -> None:
    """What `exact_rotary` is for: if this fails, the library has taken care of it."""
    rounded = copy.deepcopy(llm).to(torch.bfloat16)
    assert (angles(rounded) - angles(llm)).abs().max() > 0.4


def test_converted_within_everything_else_is_rounded(llm: LlamaForCausalLM) -> None:
    converted = copy.deepcopy(llm)
    with exact_rotary(converted):
        converted.to(torch.bfloat16)
    assert {parameter.dtype for parameter in converted.parameters()} == {torch.bfloat16}
    assert torch.equal(angles(converted), angles(llm))
    placed = place(copy.deepcopy(llm), torch.device("cpu"), torch.bfloat16)
    assert torch.equal(angles(placed), angles(llm))
    assert next(placed.parameters()).dtype == torch.bfloat16
