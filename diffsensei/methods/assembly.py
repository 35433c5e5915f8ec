"""Trained weights and frozen parts put together on one device: in bfloat16 on a GPU, in float32 on a CPU."""

from pathlib import Path
from typing import Any

import torch
from diffusers.schedulers.scheduling_euler_discrete import EulerDiscreteScheduler

from diffsensei.config.schema import Foundations
from diffsensei.diffusion.noise_schedule import NOISE_SCHEDULE
from diffsensei.foundations.loading import (
    load_clip_image_encoder,
    load_llm,
    load_magi_image_encoder,
    load_text_encoder,
    load_vae,
)
from diffsensei.methods.character_encoder import CharacterEncoder
from diffsensei.methods.diffsensei import DiffSensei, MergedAdapter
from diffsensei.methods.image_generator import ImageGenerator
from diffsensei.methods.sdxl_t2i import SdxlTextToImage
from diffsensei.models.identity_adapter import load_adapter
from diffsensei.models.resampler import Resampler
from diffsensei.models.rotary import exact_rotary
from diffsensei.models.unet import load_unet
from diffsensei.models.weights import load_saved

StageOutputs = dict[str, Path]
"""Stage name -> folder of its output."""


def build_sdxl_t2i(foundations: Foundations, outputs: StageOutputs, device: torch.device) -> SdxlTextToImage:
    """With the UNet of stage ``pretrain``."""
    return SdxlTextToImage(load_image_generator(foundations, _output(outputs, "pretrain"), device))


def build_diffsensei_stage1(foundations: Foundations, outputs: StageOutputs, device: torch.device) -> DiffSensei:
    """With UNet and resampler of stage ``stage1``: characters exactly as their references show them."""
    stage1 = _output(outputs, "stage1")
    return DiffSensei(
        load_image_generator(foundations, stage1, device), load_character_encoder(foundations, stage1, device)
    )


def build_diffsensei(foundations: Foundations, outputs: StageOutputs, device: torch.device) -> DiffSensei:
    """With stage ``stage1`` and the identity adapter of stage ``stage2``."""
    stage1, stage2 = _output(outputs, "stage1"), _output(outputs, "stage2")
    return DiffSensei(
        load_image_generator(foundations, stage1, device),
        load_character_encoder(foundations, stage1, device),
        load_merged_adapter(foundations, stage2, device),
    )


def load_image_generator(foundations: Foundations, stage: Path, device: torch.device) -> ImageGenerator:
    """The SDXL parts around ``stage/unet``. The autoencoder stays in float32, as float16 overflows in SDXL's."""
    dtype = inference_dtype(device)
    text_encoders = [load_text_encoder(name, dtype) for name in (foundations.text_encoder, foundations.text_encoder_2)]
    for encoder in text_encoders:
        place(encoder.model, device)
    return ImageGenerator(
        vae=place(load_vae(foundations.vae), device),
        text_encoders=text_encoders,
        unet=place(load_unet(stage / "unet"), device, dtype),
        scheduler=EulerDiscreteScheduler(**NOISE_SCHEDULE),
    )


def load_character_encoder(foundations: Foundations, stage: Path, device: torch.device) -> CharacterEncoder:
    """The image encoders, and the resampler of ``stage/resampler``."""
    dtype = inference_dtype(device)
    resampler = load_resampler(stage / "resampler")
    clip = load_clip_image_encoder(foundations.clip_image_encoder, dtype)
    magi = load_magi_image_encoder(foundations.magi_image_encoder, dtype, resampler.config["magi_patches"])
    for encoder in (clip, magi):
        place(encoder.model, device)
    return CharacterEncoder(clip, magi, place(resampler, device, dtype))


def load_resampler(folder: Path) -> Resampler:
    """Read strictly. Raises ValueError if the folder or a tensor is missing, unexpected or of another shape."""
    if not (folder / "config.json").is_file():
        raise ValueError(f"expected config.json in resampler folder {folder}, found none; give the folder of stage 1")
    return load_saved(Resampler, folder)


def load_merged_adapter(foundations: Foundations, stage: Path, device: torch.device) -> MergedAdapter:
    """The identity adapter of ``stage/adapter``, folded into plain Llama weights (in float32, then converted)."""
    adapter = load_adapter(stage / "adapter", load_llm(foundations.llm))
    llm = place(adapter.merged_llm(), device, inference_dtype(device))
    agent = place(adapter.agent, device)
    return MergedAdapter(llm, adapter.tokenizer, agent, adapter.config.max_caption_tokens)


def inference_dtype(device: torch.device) -> torch.dtype:
    """bfloat16 on a GPU; a CPU is fastest in float32."""
    return torch.bfloat16 if device.type == "cuda" else torch.float32


def place(module: Any, device: torch.device, dtype: torch.dtype | None = None) -> Any:
    """Ready for inference; the libraries' own ``to`` is untyped."""
    with exact_rotary(module):
        return module.to(device=device, dtype=dtype).eval().requires_grad_(False)


def _output(outputs: StageOutputs, stage: str) -> Path:
    if stage not in outputs:
        raise ValueError(f"expected the output of stage {stage}, got {sorted(outputs) or 'none'}; run that stage first")
    return outputs[stage]
