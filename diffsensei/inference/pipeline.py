"""DiffSensei as a diffusers pipeline: saved and loaded as one folder, called with panel requests.

pipeline = DiffSenseiPipeline.from_pretrained("folder")
images = pipeline(requests, reference_folder, sampling)
"""

import json
import os
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import Any, Self

import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from diffusers.pipelines.pipeline_utils import DiffusionPipeline
from diffusers.schedulers.scheduling_utils import KarrasDiffusionSchedulers
from PIL import Image
from torch import Tensor
from transformers import (
    CLIPTextModel,
    CLIPTextModelWithProjection,
    CLIPVisionModelWithProjection,
    LlamaForCausalLM,
    PreTrainedTokenizerBase,
    ViTMAEModel,
)
from transformers.image_processing_utils import BaseImageProcessor

from diffsensei.config.schema import Foundations, SamplingConfig
from diffsensei.foundations.loading import ImageEncoder, TextEncoder
from diffsensei.inference.request import PanelRequest
from diffsensei.methods.assembly import build_diffsensei, build_diffsensei_stage1
from diffsensei.methods.character_encoder import CharacterEncoder
from diffsensei.methods.diffsensei import DiffSensei, MergedAdapter
from diffsensei.methods.image_generator import ImageGenerator
from diffsensei.models.agent_resampler import AgentResamplers
from diffsensei.models.resampler import Resampler
from diffsensei.models.rotary import exact_rotary
from diffsensei.models.unet import load_unet

StepCallback = Callable[["DiffSenseiPipeline", int, int, dict[str, Any]], dict[str, Any] | None]
OnStepOfBatch = Callable[[Sequence[str], int, int, Tensor], Tensor]

_SETTINGS = ("config.json", "model_index.json", "tokenizer_config.json")
_ORIGIN = ("_name_or_path", "name_or_path", "is_local", "local_files_only")
"""What the libraries note about where a component came from."""


class DiffSenseiPipeline(DiffusionPipeline):
    """All parts of DiffSensei. ``llm``, ``llm_tokenizer`` and ``agent`` come together or not at all (stage 1)."""

    _optional_components = ["llm", "llm_tokenizer", "agent"]  # noqa: RUF012  diffusers' own attribute
    model_cpu_offload_seq = "->".join(  # type: ignore[assignment]  # diffusers' own attribute
        ("text_encoder", "text_encoder_2", "clip_image_encoder", "magi_image_encoder", "llm", "unet", "vae")
    )
    _exclude_from_cpu_offload = ["resampler", "agent"]  # noqa: RUF012  small, and used around the language model

    def __init__(
        self,
        vae: AutoencoderKL,
        text_encoder: CLIPTextModel,
        text_encoder_2: CLIPTextModelWithProjection,
        tokenizer: PreTrainedTokenizerBase,
        tokenizer_2: PreTrainedTokenizerBase,
        unet: UNet2DConditionModel,
        scheduler: KarrasDiffusionSchedulers,
        clip_image_encoder: CLIPVisionModelWithProjection,
        clip_image_processor: BaseImageProcessor,
        magi_image_encoder: ViTMAEModel,
        magi_image_processor: BaseImageProcessor,
        resampler: Resampler,
        llm: LlamaForCausalLM | None = None,
        llm_tokenizer: PreTrainedTokenizerBase | None = None,
        agent: AgentResamplers | None = None,
        max_caption_tokens: int = 77,
    ) -> None:
        super().__init__()
        self.register_modules(
            vae=vae,
            text_encoder=text_encoder,
            text_encoder_2=text_encoder_2,
            tokenizer=tokenizer,
            tokenizer_2=tokenizer_2,
            unet=unet,
            scheduler=scheduler,
            clip_image_encoder=clip_image_encoder,
            clip_image_processor=clip_image_processor,
            magi_image_encoder=magi_image_encoder,
            magi_image_processor=magi_image_processor,
            resampler=resampler,
            llm=llm,
            llm_tokenizer=llm_tokenizer,
            agent=agent,
        )
        self.register_to_config(max_caption_tokens=max_caption_tokens)

    @classmethod
    def from_method(cls, method: DiffSensei) -> Self:
        """The same parts as a pipeline."""
        generator, characters, adapter = method.generator, method.characters, method.adapter
        first, second = generator.text_encoders
        parts: dict[str, Any] = {
            "vae": generator.vae,
            "text_encoder": first.model,
            "text_encoder_2": second.model,
            "tokenizer": first.tokenizer,
            "tokenizer_2": second.tokenizer,
            "unet": generator.unet,
            "scheduler": generator.scheduler,
            "clip_image_encoder": characters.clip.model,
            "clip_image_processor": characters.clip.processor,
            "magi_image_encoder": characters.magi.model,
            "magi_image_processor": characters.magi.processor,
            "resampler": characters.resampler,
        }
        if adapter is not None:
            parts |= {
                "llm": adapter.llm,
                "llm_tokenizer": adapter.tokenizer,
                "agent": adapter.agent,
                "max_caption_tokens": adapter.max_caption_tokens,
            }
        return cls(**parts)

    def as_method(self, on_step: OnStepOfBatch | None = None) -> DiffSensei:
        """What draws the panels; ``on_step`` as in `ImageGenerator`."""
        generator = ImageGenerator(
            self.vae,
            (
                TextEncoder(self.tokenizer, self.text_encoder),
                TextEncoder(self.tokenizer_2, self.text_encoder_2),
            ),
            self.unet,
            self.scheduler,
            on_step,
        )
        characters = CharacterEncoder(
            ImageEncoder(self.clip_image_encoder, self.clip_image_processor),
            ImageEncoder(self.magi_image_encoder, self.magi_image_processor),
            self.resampler,
        )
        if self.llm is None:
            return DiffSensei(generator, characters)
        adapter = MergedAdapter(self.llm, self.llm_tokenizer, self.agent, self.config["max_caption_tokens"])
        return DiffSensei(generator, characters, adapter)

    @torch.no_grad()
    def __call__(
        self,
        requests: Sequence[PanelRequest],
        reference_folder: Path,
        sampling: SamplingConfig,
        callback_on_step_end: StepCallback | None = None,
    ) -> list[Image.Image]:
        """Draw ``requests``, in their order, as grey images; references lie relative to ``reference_folder``.

        Panels of one size are drawn together; a panel depends on its own seed, not on its company beyond float
        rounding. ``callback_on_step_end(pipeline, step, timestep, {"latents": ..., "panel_ids": [...]})`` is called
        after every step of every batch; ``latents`` in the dict it returns replace the latents, as in diffusers.
        Raises ValueError for repeated ids, impossible sizes, missing references or too many characters.
        """
        ids = [request.panel_id for request in requests]
        if len(set(ids)) < len(ids):
            raise ValueError(f"expected distinct panel_ids, got {ids}; rename the panels")
        method = self.as_method(partial(self._after_step, callback_on_step_end) if callback_on_step_end else None)
        images: dict[str, Image.Image] = {}
        for panel_id, image in method.generate([requests], reference_folder, sampling):
            images[panel_id] = image
            # Under CPU offload the next batch's language model would find this batch's UNet still in its place.
            self.maybe_free_model_hooks()
        return [images[panel_id] for panel_id in ids]

    def _after_step(
        self, callback: StepCallback, panel_ids: Sequence[str], step: int, timestep: int, latents: Tensor
    ) -> Tensor:
        returned = callback(self, step, timestep, {"latents": latents, "panel_ids": list(panel_ids)})
        replaced: Tensor = (returned or {}).get("latents", latents)
        return replaced

    def to(self, *args: Any, **kwargs: Any) -> Self:
        """As diffusers' ``to``; the language model keeps its rotary frequencies in float32 (`exact_rotary`)."""
        with nullcontext() if self.llm is None else exact_rotary(self.llm):
            return super().to(*args, **kwargs)

    def save_pretrained(self, save_directory: str | os.PathLike[str], *args: Any, **kwargs: Any) -> None:
        """Write the folder that `from_pretrained` reads; ``kwargs`` as for diffusers.

        What differs between machines and moments is left out: where components were loaded from, and how a tokenizer
        was last called.
        """
        for tokenizer in filter(None, (self.tokenizer, self.tokenizer_2, self.llm_tokenizer)):
            tokenizer.backend_tokenizer.no_truncation()
            tokenizer.backend_tokenizer.no_padding()
        super().save_pretrained(save_directory, *args, **kwargs)
        for path in Path(save_directory).rglob("*.json"):
            settings = json.loads(path.read_text())
            if path.name in _SETTINGS and not settings.keys().isdisjoint(_ORIGIN):
                kept = {name: value for name, value in settings.items() if name not in _ORIGIN}
                path.write_text(json.dumps(kept, indent=2, sort_keys=True) + "\n")

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path: str | os.PathLike[str], **kwargs: Any) -> Self:
        """Load a local folder that `save_pretrained` wrote; ``kwargs`` as for diffusers.

        Raises ValueError if the folder holds no pipeline, or the UNet's tensors differ from its configuration.
        """
        path = Path(pretrained_model_name_or_path)
        if not (path / "model_index.json").is_file():
            raise ValueError(f"expected a saved pipeline at {path}, found no model_index.json; give its folder")
        # diffusers would build a stock UNet and drop the character branch.
        unet = kwargs.pop("unet", None) or load_unet(path / "unet")
        return super().from_pretrained(path, unet=unet, **kwargs)


def build_pipeline(
    foundations: Foundations, stage1: Path, stage2: Path | None, device: torch.device
) -> DiffSenseiPipeline:
    """The trained pipeline from frozen parts and stage outputs; without ``stage2``, without the MLLM.

    LoRA is merged into the language model. Raises ValueError for weights that are missing or do not fit.
    """
    if stage2 is None:
        return DiffSenseiPipeline.from_method(build_diffsensei_stage1(foundations, {"stage1": stage1}, device))
    outputs = {"stage1": stage1, "stage2": stage2}
    return DiffSenseiPipeline.from_method(build_diffsensei(foundations, outputs, device))
