"""The MLLM as text-compatible identity adapter (paper sec. 4.2).

A language model reads the caption and a panel's character tokens and returns them adapted to what the caption says
(pose, expression, ...). Its answer, once trained, is always the same token string, so one forward pass replaces
generation token by token.
"""

import json
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import torch
import torch.nn.functional as F
from peft import LoraConfig, PeftModel, get_peft_model, get_peft_model_state_dict, set_peft_model_state_dict
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import LlamaForCausalLM, PreTrainedTokenizerBase

from diffsensei.config.schema import IdentityAdapterConfig
from diffsensei.models.agent_resampler import AgentResamplers
from diffsensei.models.identity_prompt import IGNORED, IdentityPrompts, PromptBatch
from diffsensei.models.identity_speech import next_token, speak
from diffsensei.models.prompt_packing import packed_hidden_states
from diffsensei.models.weights import WEIGHTS, load_strict

logger = logging.getLogger(__name__)

LORA_TARGETS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
LEARNT_NORMS = ("input_layernorm", "post_attention_layernorm", "norm")


class LanguageModel(Protocol):
    """A Llama with image slots in its vocabulary, and its tokenizer."""

    @property
    def tokenizer(self) -> PreTrainedTokenizerBase: ...

    @property
    def model(self) -> LlamaForCausalLM: ...


@dataclass(frozen=True, eq=False)
class AdapterOutput:
    predicted: Tensor
    """(B, N*Q, C): the adapted character tokens."""
    lm_loss: Tensor
    """Scalar: cross-entropy of the answer's framing tokens, averaged over all of them in the batch."""


class IdentityAdapter(nn.Module):
    """Language model with LoRA, and the resamplers into and out of it: what stage 2 trains.

    Learnt are LoRA on all linear layers of the blocks, both resamplers and, as configured, the RMSNorms and the rows of
    the image tokens in embedding and head. (The reference code trains all rows; only these are new.)
    """

    def __init__(
        self,
        llm: LlamaForCausalLM,
        tokenizer: PreTrainedTokenizerBase,
        config: IdentityAdapterConfig,
        num_characters: int,
        num_queries: int,
        token_dim: int,
    ) -> None:
        """``llm`` is modified in place. Raises ValueError if ``num_characters * num_queries`` is no square number, or
        ``tokenizer`` has no image slots.
        """
        super().__init__()
        num_tokens = num_characters * num_queries
        self.config = config
        self.shape = {"num_characters": num_characters, "num_queries": num_queries, "token_dim": token_dim}
        self.tokenizer = tokenizer
        self.prompts = IdentityPrompts(tokenizer, num_tokens, config.max_caption_tokens)
        self.agent = AgentResamplers(num_tokens, token_dim, llm.config.hidden_size, config.resampler_heads)
        rows = dict.fromkeys(("embed_tokens", "lm_head"), sorted(self.prompts.image_token_ids))
        lora = LoraConfig(
            r=config.lora_rank,
            lora_alpha=config.lora_alpha,  # type: ignore[arg-type]
            lora_dropout=config.lora_dropout,
            target_modules=list(LORA_TARGETS),
            modules_to_save=list(LEARNT_NORMS) if config.train_norms else None,
            trainable_token_indices=rows if config.train_image_tokens else None,
        )
        self.llm: PeftModel = get_peft_model(llm, lora)

    def forward(self, captions: list[str], source_tokens: Tensor, row_tokens: int | None = None) -> AdapterOutput:
        """``source_tokens`` (B, N*Q, C), zeros in absent slots, with ``captions`` (B) -> adapted tokens and LM loss.

        Prompts share rows of about ``row_tokens`` (`prompt_packing`); None gives each a row of its own, padded.
        """
        encoded = self.prompts.encode(captions)
        prompts = encoded.to(source_tokens.device)
        base: LlamaForCausalLM = self.llm.get_base_model()  # type: ignore[assignment]
        embedded = _embedded(base, self.agent, prompts, source_tokens)
        if row_tokens is None:
            hidden = _hidden_states(base, embedded)
        else:
            hidden = packed_hidden_states(base, embedded, encoded.lengths.tolist(), row_tokens)
        predicted = _read_answer(self.agent, _slots(prompts, hidden))
        targets = prompts.labels[:, 1:]
        framed = targets != IGNORED
        logits = base.lm_head(hidden[:, :-1][framed])
        return AdapterOutput(predicted, F.cross_entropy(logits.float(), targets[framed]))

    @torch.no_grad()
    def adapt(self, captions: list[str], source_tokens: Tensor) -> Tensor:
        """Adapted character tokens (B, N*Q, C); see `adapt_tokens`."""
        base: LlamaForCausalLM = self.llm.get_base_model()  # type: ignore[assignment]
        return adapt_tokens(base, self.agent, self.prompts, captions, source_tokens)

    def trainable_parameters(self) -> list[nn.Parameter]:
        """What the optimizer gets."""
        return [parameter for parameter in self.parameters() if parameter.requires_grad]

    def save_adapter(self, folder: Path) -> None:
        """Write ``config.json``, ``llm_changes.safetensors`` (LoRA, norms, rows) and ``agent/`` (both resamplers)."""
        folder.mkdir(parents=True, exist_ok=True)
        settings = {"adapter": self.config.model_dump(mode="json"), **self.shape}
        (folder / "config.json").write_text(json.dumps(settings, indent=2, sort_keys=True) + "\n")
        changes = {name: tensor.contiguous() for name, tensor in self._changes().items()}
        save_file(changes, folder / "llm_changes.safetensors", metadata={"format": "pt"})
        self.agent.save_pretrained(folder / "agent")

    def merged_llm(self) -> LlamaForCausalLM:
        """The language model with everything learnt folded into plain Llama weights. The adapter is used up."""
        return self.llm.merge_and_unload()

    def _changes(self) -> dict[str, Tensor]:
        return get_peft_model_state_dict(self.llm, save_embedding_layers=False)


def load_adapter(folder: Path, language_model: LanguageModel) -> IdentityAdapter:
    """Read what `IdentityAdapter.save_adapter` wrote, onto the language model it was trained on (modified in place).

    Raises ValueError if a file is missing or a tensor is missing, unexpected or of another shape.
    """
    for name in ("config.json", "llm_changes.safetensors", "agent/config.json"):
        if not (folder / name).is_file():
            raise ValueError(f"expected {name} in adapter folder {folder}, found none; give the folder of stage 2")
    settings = json.loads((folder / "config.json").read_text())
    config = IdentityAdapterConfig.model_validate(settings.pop("adapter"))
    adapter = IdentityAdapter(language_model.model, language_model.tokenizer, config, **settings)
    changes, own = load_file(folder / "llm_changes.safetensors"), adapter._changes()
    wrong = sorted(name for name in changes.keys() | own.keys() if _shape(changes, name) != _shape(own, name))
    if wrong:
        raise ValueError(
            f"{folder / 'llm_changes.safetensors'} does not fit the language model: {wrong[:5]} ({len(wrong)} in all) "
            "missing, unexpected or of another shape; use the language model of that training"
        )
    set_peft_model_state_dict(adapter.llm, changes)
    load_strict(adapter.agent, folder / "agent" / WEIGHTS)
    return adapter.eval()


def adapt_tokens(
    llm: LlamaForCausalLM,
    agent: AgentResamplers,
    prompts: IdentityPrompts,
    captions: list[str],
    source_tokens: Tensor,
) -> Tensor:
    """``source_tokens`` (B, N*Q, C), zeros in absent slots, adapted to ``captions``: (B, N*Q, C).

    One prefill reads the whole answer, and whether the model would open it like that. Where it would not, a panel is
    answered token by token (`identity_speech`); if that gives no image either, the expected answer is kept, with a
    warning.
    """
    encoded = prompts.encode(captions).to(source_tokens.device)
    embedded = _embedded(llm, agent, encoded, source_tokens)
    hidden = _hidden_states(llm, embedded)
    slots = _slots(encoded, hidden)
    rows = torch.arange(len(hidden), device=hidden.device)
    openings = next_token(llm, hidden[rows, encoded.question_lengths - 1], prompts)
    for row, opening in enumerate(openings.tolist()):
        if opening != prompts.opening_id:
            spoken = speak(llm, embedded[row : row + 1, : int(encoded.question_lengths[row])], prompts)
            if spoken is None:
                logger.warning("the language model's answer has no image; it needs more training (stage 2)")
            else:
                slots[row] = spoken[0]
    return _read_answer(agent, slots)


def blend_tokens(source_tokens: Tensor, adapted_tokens: Tensor, adapter_blend: float) -> Tensor:
    """beta * adapted + (1 - beta) * source: 0 keeps the reference's look, 1 follows the caption (paper sec. 5.4)."""
    return adapter_blend * adapted_tokens + (1 - adapter_blend) * source_tokens


def _embedded(llm: LlamaForCausalLM, agent: AgentResamplers, prompts: PromptBatch, source_tokens: Tensor) -> Tensor:
    """(B, L, hidden): the prompts' embeddings with the source characters in their places."""
    embedded = llm.get_input_embeddings()(prompts.token_ids)
    source = agent.input_resampler(source_tokens.to(agent.dtype)).to(embedded.dtype)
    positions = prompts.source_positions.unsqueeze(-1).expand(-1, -1, embedded.shape[-1])
    return embedded.scatter(1, positions, source)


def _hidden_states(llm: LlamaForCausalLM, embedded: Tensor) -> Tensor:
    """(B, L, hidden) after the last norm. Padding is on the right, where causal attention does not look."""
    return llm.model(inputs_embeds=embedded, use_cache=False).last_hidden_state


def _slots(prompts: PromptBatch, hidden: Tensor) -> Tensor:
    """(B, S, hidden): the states at the answer's image slots."""
    return hidden.gather(1, prompts.answer_positions.unsqueeze(-1).expand(-1, -1, hidden.shape[-1]))


def _read_answer(agent: AgentResamplers, slots: Tensor) -> Tensor:
    return agent.output_resampler(slots.to(agent.dtype))


def _shape(state: dict[str, Tensor], name: str) -> torch.Size | None:
    return state[name].shape if name in state else None
