"""The story's language model: reads captions and features in turn, and regresses the features of the next panel."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from peft import LoraConfig, PeftModel, get_peft_model
from torch import Tensor, nn
from transformers import LlamaForCausalLM, PreTrainedTokenizerBase

from diffsensei.baselines.seed_story.prompts import Ids, StoryPromptBatch, StoryPrompts
from diffsensei.baselines.seed_story.resamplers import StoryResamplers
from diffsensei.config.baselines import SeedStoryLanguageConfig
from diffsensei.models.identity_adapter import LORA_TARGETS
from diffsensei.models.identity_prompt import IGNORED

TRAINED_WHOLE = ("input_layernorm", "post_attention_layernorm", "embed_tokens", "lm_head")


def with_lora(llm: Any, config: SeedStoryLanguageConfig) -> nn.Module:
    """``llm`` with LoRA and trained norms, embedding and head around it; the rest of it is frozen."""
    lora = LoraConfig(
        r=config.lora_rank,
        lora_alpha=config.lora_alpha,  # type: ignore[arg-type]
        lora_dropout=config.lora_dropout,
        target_modules=list(LORA_TARGETS),
        modules_to_save=list(TRAINED_WHOLE),
    )
    return get_peft_model(llm, lora)


@dataclass(frozen=True, eq=False)
class Told:
    """What a forward pass gives: the next panels' features (B, P, D), and the loss of their words (0-d)."""

    features: Tensor
    lm_loss: Tensor


class StoryLanguage(nn.Module):
    """A Llama with image slots between the two resamplers."""

    def __init__(
        self,
        llm: LlamaForCausalLM,
        tokenizer: PreTrainedTokenizerBase,
        resamplers: StoryResamplers,
        max_caption_tokens: int,
    ) -> None:
        super().__init__()
        self.llm: nn.Module = llm
        self.resamplers = resamplers
        self.prompts = StoryPrompts(tokenizer, resamplers.config["num_slots"], max_caption_tokens)

    def train_with_lora(self, config: SeedStoryLanguageConfig) -> None:
        """Let LoRA, norms, embedding, head and both resamplers be trained; the rest of the Llama is frozen."""
        self.llm = with_lora(self.llm, config)
        self.resamplers.requires_grad_(True)

    def merged_llm(self) -> LlamaForCausalLM:
        """The Llama with everything learnt folded in, in float32; the model is used up."""
        # Small changes would be lost in what a frozen base was held in. FSDP overrides what ``float()`` rests on.
        for parameter in self.llm.parameters():
            parameter.data = parameter.data.float()
        merged = self.llm.merge_and_unload() if isinstance(self.llm, PeftModel) else self.llm
        assert isinstance(merged, LlamaForCausalLM)
        return merged

    @property
    def base(self) -> LlamaForCausalLM:
        """The Llama, whatever was put around it."""
        found = self.llm.get_base_model() if isinstance(self.llm, PeftModel) else self.llm
        assert isinstance(found, LlamaForCausalLM)
        return found

    def forward(self, earlier: Sequence[Sequence[Ids]], captions: Sequence[Ids], context: Tensor) -> Told:
        """Tell ``captions`` (B) after panels with captions ``earlier`` and features ``context`` (E, P, D),
        which lie page after page, oldest first."""
        prompts = self.prompts.encode(earlier, captions).to(context.device)
        hidden = self._hidden(self._embedded(prompts, context))
        slots = hidden.gather(1, prompts.answer_positions.unsqueeze(-1).expand(-1, -1, hidden.shape[-1]))
        targets = prompts.labels[:, 1:]
        framed = targets != IGNORED
        logits = self.base.lm_head(hidden[:, :-1][framed])
        lm_loss = F.cross_entropy(logits.float(), targets[framed])
        return Told(self._features(slots), lm_loss)

    @torch.no_grad()
    def write_caption(self, earlier: Sequence[Ids], context: Tensor, max_tokens: int) -> list[int]:
        """Ids of the next caption in the model's own words, greedily, up to its ``<img>``; at most ``max_tokens``.

        ``context`` (n, P, D) are the features of the n panels of one page with captions ``earlier``.
        """
        prompts = self.prompts
        embed = self.base.get_input_embeddings()
        ids = [token for place, words in enumerate(earlier) for token in prompts.panel_ids(words, first=place == 0)]
        ids += prompts.turn_ids if earlier else [prompts.bos_id]
        embedded = embed(torch.tensor([ids], device=context.device))
        starts = [index + 1 for index, token in enumerate(ids) if token == prompts.image_id]
        slots = self.resamplers.input_resampler(context.to(self.resamplers.dtype)).to(embedded.dtype)
        for panel, start in enumerate(starts):
            embedded[0, start : start + prompts.num_slots] = slots[panel]
        written: list[int] = []
        output = self.base.model(inputs_embeds=embedded, use_cache=True)
        while len(written) < max_tokens:
            logits = self.base.lm_head(output.last_hidden_state[:, -1]).float()
            # An image's inside cannot come before its opening; the published code sets these to 0 only.
            logits[:, prompts.inner_ids] = -torch.inf
            token = int(logits.argmax(dim=-1))
            if token in (prompts.image_id, prompts.eos_id):
                break
            written.append(token)
            output = self.base.model(
                inputs_embeds=embed(torch.tensor([[token]], device=context.device)),
                past_key_values=output.past_key_values,
                use_cache=True,
            )
        return written

    def _embedded(self, prompts: StoryPromptBatch, context: Tensor) -> Tensor:
        """Without panels before, the resampler runs on nothing: processes that share a step must all have gradients."""
        embedded = self.base.get_input_embeddings()(prompts.token_ids)
        slots = self.resamplers.input_resampler(context.to(self.resamplers.dtype)).to(embedded.dtype)
        rows = prompts.context_rows[:, None].expand(-1, slots.shape[1])
        return embedded.index_put((rows, prompts.context_positions), slots)

    def _hidden(self, embedded: Tensor) -> Tensor:
        """After the last norm; padding is on the right, where causal attention does not look."""
        return self.base.model(inputs_embeds=embedded, use_cache=False).last_hidden_state

    def _features(self, slots: Tensor) -> Tensor:
        return self.resamplers.output_resampler(slots.to(self.resamplers.dtype))
