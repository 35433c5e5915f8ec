"""The pipeline's networks on the meta device, at the sizes of the configured foundations.

Folders tell their sizes in ``config.json``; of hub ids those are known that `published` lists, and nothing is
downloaded.
"""

import json
from typing import Any, TypeVar

import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from torch import nn
from transformers import (
    CLIPTextConfig,
    CLIPTextModel,
    CLIPVisionConfig,
    CLIPVisionModel,
    LlamaConfig,
    LlamaForCausalLM,
)

from diffsensei.config import ExperimentConfig
from diffsensei.costs.published import PUBLISHED, Sizes
from diffsensei.foundations.locations import resolve
from diffsensei.models.conditions import Conditions, Layout
from diffsensei.models.unet import add_manga_conditions, build_unet

Network = TypeVar("Network", bound=nn.Module)
TEXT_TOKENS = 77
DIALOG_SLOTS = 8
_VISION = ("hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "image_size", "patch_size")
_TEXT = ("hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads")


class NotCounted(ValueError):
    """The cost cannot be counted; the message, one line, says why."""


def sizes(reference: str) -> Sizes:
    """``config.json`` of the frozen part that ``reference`` names, or what is published of it.

    Raises NotCounted for a hub id whose sizes are not known here, ValueError as `resolve`.
    """
    location = resolve(reference)
    if location.is_hub:
        if reference not in PUBLISHED:
            raise NotCounted(f"the sizes of {reference} are not known; name a folder that holds it")
        return PUBLISHED[reference]
    found: Sizes = json.loads((location.folder() / "config.json").read_text())
    return found


def text_width(config: ExperimentConfig) -> int:
    """Channels of SDXL's text tokens: those of both encoders."""
    names = config.model.foundations
    return sum(int(sizes(name)["hidden_size"]) for name in (names.text_encoder, names.text_encoder_2))


def meta_unet(config: ExperimentConfig) -> UNet2DConditionModel:
    """The UNet of ``model.unet``, in bfloat16, as text-to-image has it."""
    names = config.model.foundations
    with torch.device("meta"):
        unet = build_unet(
            config.model.unet,
            in_channels=sizes(names.vae)["latent_channels"],
            cross_attention_dim=text_width(config),
            pooled_dim=sizes(names.text_encoder_2)["projection_dim"],
        )
    return in_bfloat16(unet)


def meta_manga_unet(config: ExperimentConfig) -> UNet2DConditionModel:
    """The same, conditioned by characters and dialogs as DiffSensei's is."""
    unet = meta_unet(config)
    with torch.device("meta"):
        add_manga_conditions(
            unet,
            config.model.resampler.num_queries,
            max_characters=config.data.conditioning.max_characters,
            characters=config.model.layout.characters,
            dialogs=config.model.layout.dialogs,
        )
    return in_bfloat16(unet)


def meta_conditions(
    config: ExperimentConfig, batch: int, *, queries: int | None = None, text_tokens: int = TEXT_TOKENS
) -> Conditions:
    """What an SDXL UNet is told about ``batch`` panels; with ``queries`` tokens of each character, where it has any."""
    names, width = config.model.foundations, text_width(config)
    characters = config.data.conditioning.max_characters
    embedding: dict[str, Any] = {"device": "meta", "dtype": torch.bfloat16}
    known = queries is not None
    return Conditions(
        text_tokens=torch.empty(batch, text_tokens, width, **embedding),
        pooled_text=torch.empty(batch, sizes(names.text_encoder_2)["projection_dim"], **embedding),
        time_ids=torch.empty(batch, 6, device="meta"),
        character_tokens=torch.empty(batch, (characters + 1) * (queries or 0), width, **embedding) if known else None,
        layout=Layout.empty(batch, characters, DIALOG_SLOTS, device="meta") if known else None,
    )


def meta_vae(reference: str) -> AutoencoderKL:
    """The autoencoder, in float32 as it is used."""
    with torch.device("meta"):
        vae: AutoencoderKL = AutoencoderKL.from_config(dict(sizes(reference)))
    return vae


def vae_factor(reference: str) -> int:
    """Pixels to a latent of the autoencoder, per side."""
    return 2 ** (len(sizes(reference)["block_out_channels"]) - 1)


def meta_llm(reference: str) -> LlamaForCausalLM:
    """The language model, frozen, in bfloat16."""
    with torch.device("meta"):
        llm = LlamaForCausalLM(LlamaConfig.from_dict(dict(sizes(reference))))
    return in_bfloat16(llm).requires_grad_(False)


def meta_text_encoder(reference: str) -> CLIPTextModel:
    """A text encoder of CLIP's kind, or that of a CLIP with both towers; without its projection, which is one small
    product a caption."""
    found = sizes(reference)
    known = found.get("text_config") or found
    with torch.device("meta"):
        return CLIPTextModel(CLIPTextConfig(**{name: known[name] for name in _TEXT}))


def meta_vision_tower(reference: str) -> tuple[CLIPVisionModel, int]:
    """A transformer of the size of the image encoder that ``reference`` names, and the edge (pixels) of its input.

    Of a CLIP with both towers it is the one for images, of Magi that for crops.
    """
    known = vision_sizes(reference)
    if "mlp_ratio" in known:  # DINOv2's word for it
        known = known | {"intermediate_size": known["mlp_ratio"] * known["hidden_size"]}
    with torch.device("meta"):
        tower = CLIPVisionModel(CLIPVisionConfig(**{name: known[name] for name in _VISION}))
    return tower, int(known.get("crop_size") or known["image_size"])


def vision_sizes(reference: str) -> Sizes:
    """`sizes` of an image encoder, where ``reference`` may hold more than that."""
    found = sizes(reference)
    known: Sizes = found.get("vision_config") or found.get("crop_embedding_model_config") or found
    return known


def in_bfloat16(network: Network) -> Network:
    """``network``, converted in place: the libraries' own ``to`` warns of layers that some models keep in float32."""
    nn.Module.to(network, torch.bfloat16)
    return network
