"""DiffSensei (paper sec. 4): characters by image and box, dialogs by box, and the MLLM that follows the caption."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from transformers import LlamaForCausalLM, PreTrainedTokenizerBase

from diffsensei.config.schema import SamplingConfig
from diffsensei.methods.character_encoder import CharacterEncoder
from diffsensei.methods.image_generator import Branches, ImageGenerator
from diffsensei.methods.layout_slots import layout_of, require_slots
from diffsensei.methods.method import CAPTION, CHARACTER_BOXES, CHARACTER_IMAGES, DIALOG_BOXES, Page, Panel
from diffsensei.methods.reference_image import read_reference
from diffsensei.methods.rollout import single_panels, to_draw
from diffsensei.models.agent_resampler import AgentResamplers
from diffsensei.models.conditions import Layout
from diffsensei.models.identity_adapter import adapt_tokens, blend_tokens
from diffsensei.models.identity_prompt import IdentityPrompts
from diffsensei.models.offload import on_its_device


@dataclass(frozen=True, eq=False)
class MergedAdapter:
    """A trained identity adapter whose LoRA has been folded into the language model."""

    llm: LlamaForCausalLM
    tokenizer: PreTrainedTokenizerBase
    agent: AgentResamplers
    max_caption_tokens: int

    @property
    def num_tokens(self) -> int:
        """Character tokens of one panel: characters x tokens per character."""
        return self.agent.config["num_tokens"]

    @torch.no_grad()
    def adapt(self, captions: list[str], source_tokens: Tensor) -> Tensor:
        """``source_tokens`` (B, N*Q, C) as the captions (B) want them: (B, N*Q, C)."""
        prompts = IdentityPrompts(self.tokenizer, self.num_tokens, self.max_caption_tokens)
        llm = on_its_device(self.llm)
        return adapt_tokens(llm, self.agent, prompts, captions, source_tokens).to(source_tokens.dtype)


class DiffSensei:
    """The image generator of stage 1 and, where given, the identity adapter of stage 2."""

    consumes = frozenset({CAPTION, CHARACTER_IMAGES, CHARACTER_BOXES, DIALOG_BOXES})
    deviations: tuple[str, ...] = ()

    def __init__(
        self, generator: ImageGenerator, characters: CharacterEncoder, adapter: MergedAdapter | None = None
    ) -> None:
        self.name = "diffsensei" if adapter else "diffsensei_stage1"
        self.generator = generator
        self.characters = characters
        self.adapter = adapter

    def pieces(self, pages: Sequence[Page], sampling: SamplingConfig) -> list[list[Page]]:
        """See `Method.pieces`."""
        return single_panels(pages, sampling.batch_size)

    def generate(
        self, pages: Sequence[Page], folder: Path, sampling: SamplingConfig
    ) -> Iterator[tuple[str, Image.Image]]:
        """See `Method.generate`. Raises ValueError for a missing reference, or more characters than there are slots."""
        panels = to_draw(pages)
        num_slots: int = self.generator.unet.config["manga_conditions"]["max_characters"]
        require_slots(panels, num_slots)
        num_dialogs = max([1, *(len(panel.dialogs) for panel in panels)])
        images: dict[str, NDArray[np.uint8]] = {}

        def reference(name: str) -> NDArray[np.uint8]:
            if name not in images:
                images[name] = read_reference(folder / name)
            return images[name]

        def condition(batch: Sequence[Panel]) -> Branches:
            references = [[reference(character.reference) for character in panel.characters] for panel in batch]
            negative, positive = self.generator.text_conditions(batch, sampling.negative_prompt)
            layout = layout_of(batch, num_slots, num_dialogs).to(positive.text_tokens.device)
            tokens = self.characters.tokens(references, num_slots)
            tokens = self._adapted(tokens, batch, layout, sampling.adapter_blend)
            nobody = self.characters.tokens([[] for _ in batch], num_slots)
            nothing = Layout.empty(len(batch), num_slots, num_dialogs, tokens.device)
            return (
                replace(negative, character_tokens=nobody, layout=nothing),
                replace(positive, character_tokens=tokens, layout=layout),
            )

        return self.generator.draw(panels, condition, sampling)

    def _adapted(self, tokens: Tensor, batch: Sequence[Panel], layout: Layout, adapter_blend: float) -> Tensor:
        """Blend the MLLM's tokens into those of characters that exist; background and empty slots stay."""
        present = layout.character_exists.any(dim=1).nonzero().squeeze(1)
        if self.adapter is None or adapter_blend == 0.0 or len(present) == 0:
            return tokens
        num_queries = self.characters.num_queries
        captions = [batch[row].caption for row in present.tolist()]
        source = tokens[present, num_queries:]
        of_characters = layout.character_exists[present].repeat_interleave(num_queries, dim=1).unsqueeze(-1)
        # In training the adapter only ever saw zeros in empty slots.
        adapted = self.adapter.adapt(captions, torch.where(of_characters, source, 0.0))
        result = tokens.clone()
        result[present, num_queries:] = torch.where(of_characters, blend_tokens(source, adapted, adapter_blend), source)
        return result
