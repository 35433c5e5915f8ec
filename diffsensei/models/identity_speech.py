"""The language model's answer token by token, for the panels whose answer is not the expected one (SEED-X).

The answer is a fixed string once its first token has been chosen, so the adapter reads it in one prefill. Only that
first choice is free. Where the model would rather say something else first, the image comes after what it says.
"""

from typing import Any

import torch
from torch import Tensor
from transformers import LlamaForCausalLM

from diffsensei.models.identity_prompt import IdentityPrompts

MAX_FREE_TOKENS = 64
"""Tokens the model may say before its image. (The reference allows 500 new tokens, image included, then crashes.)"""


def next_token(llm: LlamaForCausalLM, hidden: Tensor, prompts: IdentityPrompts) -> Tensor:
    """(B,) the likeliest token after ``hidden`` (B, hidden); an image's inside cannot come before its ``<img>``.

    The reference sets the logits of those tokens to 0, which only makes them unlikely.
    """
    logits = llm.lm_head(hidden).float()
    logits[:, prompts.inner_ids] = -torch.inf
    return logits.argmax(dim=-1)


def speak(llm: LlamaForCausalLM, embedded: Tensor, prompts: IdentityPrompts) -> Tensor | None:
    """Hidden states (1, S, hidden) of the image slots in the answer to ``embedded`` (1, L, hidden), chosen greedily.

    After a token that opens the image the rest is forced, and read in one pass. None if the model ends its answer, or
    goes on beyond `MAX_FREE_TOKENS`, without one.
    """
    output: Any = llm.model(inputs_embeds=embedded, use_cache=True)
    for _ in range(MAX_FREE_TOKENS + 1):
        token = int(next_token(llm, output.last_hidden_state[:, -1], prompts))
        if token == prompts.eos_id:
            return None
        answer = prompts.answer_from(token)
        ids = torch.tensor([answer or [token]], device=embedded.device)
        output = llm.model(
            inputs_embeds=llm.get_input_embeddings()(ids), past_key_values=output.past_key_values, use_cache=True
        )
        if answer:
            return output.last_hidden_state[:, -prompts.num_tokens :]
    return None
