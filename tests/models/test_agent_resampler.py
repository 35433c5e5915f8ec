"""Agent resamplers: the released names and sizes, the positions, the equation."""

import math
from pathlib import Path

import pytest
import torch

from diffsensei.config.presets import paper
from diffsensei.models.agent_resampler import AgentResampler, AgentResamplers, grid_positions


def test_paper_size_is_the_released_agent_file() -> None:
    with torch.device("meta"):
        agent = AgentResamplers(
            num_tokens=64, token_dim=2048, llm_dim=5120, heads=paper().model.adapter.resampler_heads
        )
    shapes = {name: tuple(tensor.shape) for name, tensor in agent.state_dict().items()}
    assert sum(math.prod(shape) for shape in shapes.values()) == 143_581_184
    sides = (("input_resampler", 5120, 2048, 116_039_680), ("output_resampler", 2048, 5120, 27_541_504))
    for prefix, embed, other, numbers in sides:
        own = {name.removeprefix(f"{prefix}."): shape for name, shape in shapes.items() if name.startswith(prefix)}
        assert own == {
            "pos_embed": (64, embed),
            "query": (64, embed),
            "kv_proj.weight": (embed, other),
            "attn.in_proj_weight": (3 * embed, embed),
            "attn.in_proj_bias": (3 * embed,),
            "attn.out_proj.weight": (embed, embed),
            "attn.out_proj.bias": (embed,),
            "ln_q.weight": (embed,),
            "ln_q.bias": (embed,),
            "ln_kv.weight": (embed,),
            "ln_kv.bias": (embed,),
        }
        assert sum(math.prod(shape) for shape in own.values()) == numbers


def test_positions_are_column_then_row_sines_and_cosines() -> None:
    positions = grid_positions(16, 8)
    row, column = 2, 3
    angles = [column, column * 10000**-0.5, row, row * 10000**-0.5]
    expected = [f(angles[2 * half + k]) for half in (0, 1) for f in (math.sin, math.cos) for k in (0, 1)]
    torch.testing.assert_close(positions[row * 4 + column], torch.tensor(expected))


@pytest.mark.parametrize(("tokens", "dim", "message"), [(32, 8, "25 or 36"), (16, 6, "multiples of 4")])
def test_sizes_without_a_grid_are_refused(tokens: int, dim: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        grid_positions(tokens, dim)


def test_forward_is_one_cross_attention_with_positions_on_query_and_key_only() -> None:
    torch.manual_seed(0)
    resampler = AgentResampler(num_tokens=4, embed_dim=8, heads=2, kv_dim=12)
    tokens = torch.randn(3, 4, 12)
    read = resampler.ln_kv(resampler.kv_proj(tokens))
    weights = resampler.attn.in_proj_weight.chunk(3)
    biases = resampler.attn.in_proj_bias.chunk(3)
    query, key, value = (
        torch.nn.functional.linear(inputs, weight, bias).unflatten(-1, (2, 4)).transpose(1, 2)
        for inputs, weight, bias in zip(
            (
                (resampler.ln_q(resampler.query) + resampler.pos_embed).expand(3, -1, -1),
                read + resampler.pos_embed,
                read,
            ),
            weights,
            biases,
            strict=True,
        )
    )
    mixed = torch.softmax(query @ key.transpose(-1, -2) / 2.0, dim=-1) @ value
    expected = resampler.attn.out_proj(mixed.transpose(1, 2).flatten(2))
    torch.testing.assert_close(resampler(tokens), expected)


def test_save_and_load_are_bit_equal(tmp_path: Path) -> None:
    torch.manual_seed(0)
    agent = AgentResamplers(num_tokens=4, token_dim=8, llm_dim=12, heads=2)
    agent.save_pretrained(tmp_path)
    loaded = AgentResamplers.from_pretrained(tmp_path).state_dict()
    assert all(torch.equal(tensor, loaded[name]) for name, tensor in agent.state_dict().items())
