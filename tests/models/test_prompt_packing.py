"""Packed prompts give the states of padded ones, with next to no padding."""

import random
from collections.abc import Callable

import pytest
import torch
from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

from diffsensei.models.identity_adapter import IdentityAdapter
from diffsensei.models.prompt_packing import balanced_rows, packed_hidden_states
from tests.models.test_identity_adapter import build

BuildLlm = Callable[..., LlamaForCausalLM]


def padded_states(llm: LlamaForCausalLM, embedded: torch.Tensor, lengths: list[int]) -> torch.Tensor:
    hidden: torch.Tensor = llm.model(inputs_embeds=embedded, use_cache=False).last_hidden_state
    real = torch.arange(embedded.shape[1]) < torch.tensor(lengths)[:, None]
    return torch.where(real[..., None], hidden, 0.0)


@pytest.mark.parametrize("row_tokens", [1, 9, 16, 1000])
def test_states_and_gradients_are_those_of_padded_prompts(llm: LlamaForCausalLM, row_tokens: int) -> None:
    torch.manual_seed(0)
    lengths = [7, 3, 9, 1, 5]
    results = []
    start = torch.randn(len(lengths), max(lengths), llm.config.hidden_size)
    weights = torch.randn_like(start)
    for packed in (False, True):
        embedded = start.clone().requires_grad_()
        states = (
            packed_hidden_states(llm, embedded, lengths, row_tokens)
            if packed
            else padded_states(llm, embedded, lengths)
        )
        (states * weights).sum().backward()
        assert embedded.grad is not None
        results.append((states.detach(), embedded.grad))
    torch.testing.assert_close(results[1], results[0], atol=1e-5, rtol=1e-4)
    assert float(results[1][0][1, 3:].abs().max()) == 0.0


def test_a_neighbour_in_the_row_changes_nothing(llm: LlamaForCausalLM) -> None:
    torch.manual_seed(0)
    embedded = torch.randn(2, 6, llm.config.hidden_size)
    other = torch.stack([torch.randn(6, llm.config.hidden_size), embedded[1]])
    with torch.no_grad():
        one, two = (packed_hidden_states(llm, value, [6, 6], row_tokens=100) for value in (embedded, other))
    torch.testing.assert_close(one[1], two[1], atol=1e-6, rtol=1e-6)


def test_rows_are_equally_full() -> None:
    draw = random.Random(0)
    for _ in range(50):
        # A caption of up to 77 tokens and two images of 64 slots with their frames.
        lengths = [draw.randint(179, 216) for _ in range(16)]
        rows = balanced_rows(lengths, 1024)
        assert sorted(prompt for row in rows for prompt in row) == list(range(16))
        filled = [sum(lengths[prompt] for prompt in row) for row in rows]
        assert sum(lengths) >= 0.97 * len(rows) * max(filled)
    assert balanced_rows([5, 5], row_tokens=4) == [[0], [1]]


def test_the_adapter_trains_alike_on_packed_prompts(
    build_llm: BuildLlm, llm_tokenizer: PreTrainedTokenizerFast
) -> None:
    captions = ["a boy runs in the rain", "two friends", "a girl"]
    outcomes = []
    for row_tokens in (None, 40):
        adapter: IdentityAdapter = build(build_llm(), llm_tokenizer).train()
        torch.manual_seed(2)
        output = adapter(captions, torch.randn(3, 4, 8), row_tokens)
        (output.lm_loss + output.predicted.square().mean()).backward()
        grads = {name: p.grad for name, p in adapter.named_parameters() if p.grad is not None}
        outcomes.append((output.predicted.detach(), output.lm_loss.detach(), grads))
    torch.testing.assert_close(outcomes[1], outcomes[0], atol=1e-5, rtol=1e-3)
