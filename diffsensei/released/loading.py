"""The released folder to a pipeline."""

from pathlib import Path
from typing import Any

import torch
from diffusers.schedulers.scheduling_euler_discrete import EulerDiscreteScheduler

from diffsensei.config.schema import FidelityConfig
from diffsensei.foundations.loading import load_clip_image_encoder, load_text_encoder, load_vae
from diffsensei.inference.pipeline import DiffSenseiPipeline
from diffsensei.released.changes import split_agent
from diffsensei.released.encoders import load_released_magi
from diffsensei.released.language_model import load_llama
from diffsensei.released.layout import (
    AGENT_DEFAULTS,
    IMAGE_GENERATOR,
    MLLM,
    PICKLED,
    RESAMPLER,
    is_released,
    read_object,
    settings_beside,
)
from diffsensei.released.networks import agent_from, load_released_resampler, load_released_unet
from diffsensei.released.settings import GeneratorSettings, read_settings
from diffsensei.released.stored import pickled_state
from diffsensei.released.tokenizer import load_llm_tokenizer

LORA_ALPHA = 64.0
"""The reference configuration's; its rank is in the file."""


def load_released(
    folder: Path,
    *,
    with_mllm: bool = True,
    dtype: torch.dtype = torch.float32,
    device: torch.device | str = "cpu",
    fidelity: FidelityConfig | None = None,
    lora_alpha: float = LORA_ALPHA,
) -> DiffSenseiPipeline:
    """The pipeline in a folder of the released layout: ``image_generator/``, and ``mllm/`` unless ``with_mllm`` is off.

    Everything is on ``device`` in ``dtype``, but the autoencoder, which stays in float32 as SDXL's overflows in half
    precision. Tensors are converted one by one, so memory peaks at the result; those already in ``dtype`` stay mapped
    from their files, which must stay in place as long as the pipeline is used.

    ``fidelity``: the reference code's masks, hidden Magi patches and empty slots (REFERENCE, as released weights were
    trained), or ours (CORRECTED). None takes what `write_released` recorded in the folder, REFERENCE where it did not.
    ``lora_alpha`` counts only for an agent file of one's own training, whose LoRA is merged.
    Raises ValueError if a file is missing or damaged, or tensors are missing, left over or misshapen.
    """
    folder, device = Path(folder).expanduser().resolve(), torch.device(device)
    if not is_released(folder):
        raise ValueError(
            f"expected a released DiffSensei at {folder}, found no {IMAGE_GENERATOR}/model_index.json; give the folder "
            f"that holds {IMAGE_GENERATOR}/ and {MLLM}/"
        )
    if with_mllm and not (folder / MLLM).is_dir():
        raise ValueError(
            f"expected the language model in {folder / MLLM}, found none; download it, or load without the MLLM"
        )
    settings = read_settings(folder / IMAGE_GENERATOR / RESAMPLER)
    if fidelity is not None:
        settings = settings.with_fidelity(fidelity)
    parts = _image_generator(folder / IMAGE_GENERATOR, settings, device=device, dtype=dtype)
    width = parts["unet"].config["cross_attention_dim"]
    _agree(folder, "the UNet's cross-attention width", width, parts["resampler"].config["output_dim"], "the resampler")
    if with_mllm:
        parts |= _mllm(folder / MLLM, lora_alpha, device=device, dtype=dtype)
        _agree(folder, "the UNet's cross-attention width", width, parts["agent"].config["token_dim"], "the agent")
        tokens = settings.max_characters * parts["resampler"].config["num_queries"]
        _agree(folder, "the number of character tokens", tokens, parts["agent"].config["num_tokens"], "the agent")
    return DiffSenseiPipeline(**parts)


def _image_generator(
    folder: Path, settings: GeneratorSettings, *, device: torch.device, dtype: torch.dtype
) -> dict[str, Any]:
    resampler = load_released_resampler(folder / RESAMPLER, settings, device=device, dtype=dtype)
    unet = load_released_unet(folder / "unet", resampler.config["num_queries"], settings, device=device, dtype=dtype)
    first, second = (load_text_encoder(str(folder / name), dtype) for name in ("text_encoder", "text_encoder_2"))
    clip = load_clip_image_encoder(str(folder / "clip_image_encoder"), dtype)
    magi = load_released_magi(folder / "magi_image_encoder", settings.magi_patches, dtype=dtype)
    vae = load_vae(str(folder / "vae"))
    models: list[Any] = [vae, first.model, second.model, clip.model, magi.model]
    for model in models:
        model.to(device)
    return {
        "vae": vae,
        "text_encoder": first.model,
        "text_encoder_2": second.model,
        "tokenizer": first.tokenizer,
        "tokenizer_2": second.tokenizer,
        "unet": unet,
        "scheduler": _scheduler(folder / "scheduler" / "scheduler_config.json"),
        "clip_image_encoder": clip.model,
        "clip_image_processor": clip.processor,
        "magi_image_encoder": magi.model,
        "magi_image_processor": magi.processor,
        "resampler": resampler,
    }


def _scheduler(config: Path) -> EulerDiscreteScheduler:
    settings = read_object(config)
    if settings.get("_class_name") != EulerDiscreteScheduler.__name__:
        raise ValueError(
            f"{config}: expected an {EulerDiscreteScheduler.__name__}, got {settings.get('_class_name')}; "
            "use the release's scheduler folder"
        )
    return EulerDiscreteScheduler.from_config(settings)


def _mllm(folder: Path, lora_alpha: float, *, device: torch.device, dtype: torch.dtype) -> dict[str, Any]:
    tokenizer = load_llm_tokenizer(folder / "tokenizer")
    weights = folder / "agent" / PICKLED
    resamplers, changes = split_agent(pickled_state(weights), lora_alpha, str(weights))
    settings = settings_beside(weights, AGENT_DEFAULTS)
    agent = agent_from(resamplers, str(weights), settings["heads"], device=device, dtype=dtype)
    llm = load_llama(folder / "llm", changes, device=device, dtype=dtype)
    if len(tokenizer) > llm.config.vocab_size:
        raise ValueError(
            f"{folder}: the tokenizer has {len(tokenizer)} tokens, the language model embeds {llm.config.vocab_size}; "
            "both must come from one release"
        )
    _agree(folder, "the language model's width", llm.config.hidden_size, agent.config["llm_dim"], "the agent")
    return {
        "llm": llm,
        "llm_tokenizer": tokenizer,
        "agent": agent,
        "max_caption_tokens": settings["max_caption_tokens"],
    }


def _agree(folder: Path, what: str, wanted: int, got: int, whose: str) -> None:
    if wanted != got:
        raise ValueError(f"{folder}: expected {what} {wanted} of {whose}, got {got}; both must come from one release")
