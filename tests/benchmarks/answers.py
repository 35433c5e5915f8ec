"""The MLLM adapter's answer: one prefill against generation token by token, on a small Llama with 64 image slots."""

from collections.abc import Iterator
from functools import partial
from typing import Any

import diffsensei.models  # noqa: F401  before transformers: torchvision must be importable beside a CPU build of torch

# isort: split

import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from torch import Tensor
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from diffsensei.models.agent_resampler import AgentResamplers
from diffsensei.models.identity_adapter import adapt_tokens
from diffsensei.models.identity_prompt import IdentityPrompts
from tests.benchmarks.interleaved import Case

SLOTS, TOKEN_DIM, HIDDEN = 64, 64, 256
CAPTION = "a girl laughs in the rain"


def cases() -> Iterator[Case]:
    torch.manual_seed(0)
    prompts = IdentityPrompts(_tokenizer(), SLOTS, max_caption_tokens=77)
    config = LlamaConfig(
        vocab_size=len(_tokenizer()),
        hidden_size=HIDDEN,
        intermediate_size=688,
        num_hidden_layers=4,
        num_attention_heads=8,
        num_key_value_heads=8,
        max_position_embeddings=256,
        tie_word_embeddings=False,
    )
    llm = LlamaForCausalLM(config).eval()
    agent = AgentResamplers(SLOTS, TOKEN_DIM, HIDDEN, heads=4).eval()
    source = torch.randn(1, SLOTS, TOKEN_DIM)
    _teach_opening(llm, agent, prompts, source)
    yield Case(
        name="MLLM answer of 64 image slots, one panel",
        check=partial(_check, llm, agent, prompts, source),
        plain=partial(_token_by_token, llm, agent, prompts, source),
        ours=partial(_prefill, llm, agent, prompts, source),
        goal=4.0,
    )


def _tokenizer() -> PreTrainedTokenizerFast:
    specials = {"unk_token": "<unk>", "bos_token": "<s>", "eos_token": "</s>"}
    slots = ("<img>", "</img>", *(f"<img_{index:05d}>" for index in range(SLOTS)))
    pieces = (*specials.values(), *sorted(set(CAPTION.split())), "<0x0A>", "▁", *slots)
    base = Tokenizer(models.WordLevel({piece: index for index, piece in enumerate(pieces)}, unk_token="<unk>"))
    base.pre_tokenizer = pre_tokenizers.Whitespace()
    return PreTrainedTokenizerFast(tokenizer_object=base, **specials)


@torch.no_grad()
def _question(llm: Any, agent: AgentResamplers, prompts: IdentityPrompts, source: Tensor) -> Tensor:
    prompt = prompts.encode([CAPTION])
    embedded = llm.get_input_embeddings()(prompt.token_ids).clone()
    embedded[0, prompt.source_positions[0]] = agent.input_resampler(source)[0]
    return embedded[:, : int(prompt.question_lengths)]


@torch.no_grad()
def _teach_opening(llm: Any, agent: AgentResamplers, prompts: IdentityPrompts, source: Tensor) -> None:
    """A trained model opens its answer as in training: here the head is set so that it does."""
    state = llm.model(inputs_embeds=_question(llm, agent, prompts, source)).last_hidden_state[0, -1]
    llm.lm_head.weight[prompts.opening_id] = state


@torch.no_grad()
def _prefill(llm: Any, agent: AgentResamplers, prompts: IdentityPrompts, source: Tensor) -> Tensor:
    return adapt_tokens(llm, agent, prompts, [CAPTION], source)


@torch.no_grad()
def _token_by_token(llm: Any, agent: AgentResamplers, prompts: IdentityPrompts, source: Tensor) -> Tensor:
    """Every token of the answer in a forward of its own, with kept keys and values; the first is the model's choice,
    each other one is forced by the one before."""
    output = llm.model(inputs_embeds=_question(llm, agent, prompts, source), use_cache=True)
    token = int(llm.lm_head(output.last_hidden_state[:, -1]).argmax())
    answer = prompts.answer_from(token)
    states = []
    while answer:
        embedded = llm.get_input_embeddings()(torch.tensor([[token]]))
        output = llm.model(inputs_embeds=embedded, past_key_values=output.past_key_values, use_cache=True)
        scores = llm.lm_head(output.last_hidden_state[:, -1])
        states.append(output.last_hidden_state)
        if len(states) == len(answer):
            break
        scores[:, answer[len(states)]] = scores.max() + 10
        token = int(scores.argmax())
    return agent.output_resampler(torch.cat(states[-SLOTS:], dim=1))


def _check(llm: Any, agent: AgentResamplers, prompts: IdentityPrompts, source: Tensor) -> None:
    plain, ours = (call(llm, agent, prompts, source) for call in (_token_by_token, _prefill))
    torch.testing.assert_close(plain, ours, atol=1e-4, rtol=0)
