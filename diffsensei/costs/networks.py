"""The pipeline's networks on the meta device, at the sizes of the configured foundations.

Folders tell their sizes in ``config.json``. Hub ids are not asked: what they name has the published sizes below, those
of SDXL, of IP-Adapter-Plus' CLIP ViT-H, of Magi's ViT-MAE base and of SEED-X' LLaMA 13B.
"""

import json
from typing import Any

import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from torch import nn
from transformers import CLIPVisionConfig, CLIPVisionModel, LlamaConfig, LlamaForCausalLM

from diffsensei.config import ExperimentConfig
from diffsensei.foundations.locations import resolve
from diffsensei.models.conditions import Conditions, Layout
from diffsensei.models.unet import add_manga_conditions, build_unet

TEXT_TOKENS = 77
DIALOG_SLOTS = 8
PUBLISHED: dict[str, dict[str, Any]] = {
    "text_encoder": {"hidden_size": 768},
    "text_encoder_2": {"hidden_size": 1280, "projection_dim": 1280},
    "vae": {
        "down_block_types": ("DownEncoderBlock2D",) * 4,
        "up_block_types": ("UpDecoderBlock2D",) * 4,
        "block_out_channels": (128, 256, 512, 512),
        "layers_per_block": 2,
        "latent_channels": 4,
    },
    "llm": {
        "hidden_size": 5120,
        "intermediate_size": 13824,
        "num_hidden_layers": 40,
        "num_attention_heads": 40,
        "vocab_size": 32330,
    },
    "clip_image_encoder": {
        "hidden_size": 1280,
        "intermediate_size": 5120,
        "num_hidden_layers": 32,
        "num_attention_heads": 16,
        "image_size": 224,
        "patch_size": 14,
        "hidden_act": "gelu",
    },
    "magi_image_encoder": {
        "hidden_size": 768,
        "intermediate_size": 3072,
        "num_hidden_layers": 12,
        "num_attention_heads": 12,
        "image_size": 224,
        "patch_size": 16,
    },
}


def sizes(config: ExperimentConfig, part: str) -> dict[str, Any]:
    """``config.json`` of the foundation called ``part``, or what is published of it. Raises ValueError as `resolve`."""
    location = resolve(getattr(config.model.foundations, part))
    if location.is_hub:
        return PUBLISHED[part]
    found: dict[str, Any] = json.loads((location.folder() / "config.json").read_text())
    return found


def meta_unet(config: ExperimentConfig, *, conditioned: bool) -> UNet2DConditionModel:
    """The UNet of ``model.unet``, in bfloat16; ``conditioned`` by characters and dialogs."""
    first, second = sizes(config, "text_encoder"), sizes(config, "text_encoder_2")
    with torch.device("meta"):
        unet = build_unet(
            config.model.unet,
            in_channels=sizes(config, "vae")["latent_channels"],
            cross_attention_dim=first["hidden_size"] + second["hidden_size"],
            pooled_dim=second["projection_dim"],
        )
        if conditioned:
            add_manga_conditions(
                unet,
                config.model.resampler.num_queries,
                max_characters=config.data.conditioning.max_characters,
                characters=config.model.layout.characters,
                dialogs=config.model.layout.dialogs,
            )
    nn.Module.to(unet, torch.bfloat16)  # the model's own `to` warns of layers that some models keep in float32
    return unet


def meta_conditions(config: ExperimentConfig, batch: int, *, conditioned: bool) -> Conditions:
    """What that UNet is told about ``batch`` panels."""
    second = sizes(config, "text_encoder_2")
    width = sizes(config, "text_encoder")["hidden_size"] + second["hidden_size"]
    characters, queries = config.data.conditioning.max_characters, config.model.resampler.num_queries
    embedding: dict[str, Any] = {"device": "meta", "dtype": torch.bfloat16}
    return Conditions(
        text_tokens=torch.empty(batch, TEXT_TOKENS, width, **embedding),
        pooled_text=torch.empty(batch, second["projection_dim"], **embedding),
        time_ids=torch.empty(batch, 6, device="meta"),
        character_tokens=torch.empty(batch, (characters + 1) * queries, width, **embedding) if conditioned else None,
        layout=Layout.empty(batch, characters, DIALOG_SLOTS, device="meta") if conditioned else None,
    )


def meta_vae(config: ExperimentConfig) -> AutoencoderKL:
    """The autoencoder, in float32 as it is used."""
    with torch.device("meta"):
        vae: AutoencoderKL = AutoencoderKL.from_config(dict(sizes(config, "vae")))
    return vae


def meta_llm(config: ExperimentConfig) -> LlamaForCausalLM:
    """The language model, frozen, in bfloat16."""
    with torch.device("meta"):
        llm = LlamaForCausalLM(LlamaConfig.from_dict(dict(sizes(config, "llm"))))
    nn.Module.to(llm, torch.bfloat16)
    return llm.requires_grad_(False)


def meta_vision_tower(config: ExperimentConfig, part: str) -> tuple[nn.Module, int]:
    """A transformer of the size of the image encoder ``part``, and the edge (pixels) of the square it sees."""
    known = sizes(config, part)
    names = ("hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "image_size", "patch_size")
    with torch.device("meta"):
        tower = CLIPVisionModel(CLIPVisionConfig(**{name: known[name] for name in names}))
    return tower, int(known["image_size"])
