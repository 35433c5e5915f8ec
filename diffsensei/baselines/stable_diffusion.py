"""What the methods on Stable Diffusion 1.5 share: its UNet, and captions as its text encoder gives them."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from torch import Tensor

from diffsensei.foundations.locations import resolve
from diffsensei.models.text import TextEncoder
from diffsensei.models.weights import WEIGHTS, load_strict

_SDXL_ONLY = ("add_embedding.", "add_time_proj.")


def load_sd_unet(reference: str, text_dim: int) -> UNet2DConditionModel:
    """The UNet that ``reference`` names, read strictly; its cross-attention reads text of ``text_dim``.

    An SDXL UNet becomes one of Stable Diffusion 1.5's kind: without pooled text and micro-conditions, and of the two
    text encoders only the first is left, whose channels come first. That is how the embedded foundations have one.
    Raises ValueError where keys are missing or left over, or the widths do not fit.
    """
    location = resolve(reference)
    unet, info = UNet2DConditionModel.from_pretrained(
        location.source, subfolder=location.subfolder, use_safetensors=True, output_loading_info=True
    )
    if info["missing_keys"] or info["unexpected_keys"]:
        odd = sorted([*info["missing_keys"], *info["unexpected_keys"]])
        raise ValueError(f"{reference}: keys missing or left over: {odd[:5]}; give a UNet folder of diffusers")
    if unet.config["addition_embed_type"] == "text_time":
        unet = _without_second_encoder(unet, text_dim)
    if unet.config["cross_attention_dim"] != text_dim:
        raise ValueError(
            f"{reference}: cross-attention reads text of {unet.config['cross_attention_dim']}, the text encoder gives "
            f"{text_dim}; give the UNet and the text encoder of one model"
        )
    return unet


def plain_config(sdxl: Mapping[str, Any], text_dim: int) -> dict[str, Any]:
    """The configuration of an SDXL UNet without its second text encoder: one of Stable Diffusion 1.5's kind."""
    return dict(sdxl) | {
        "addition_embed_type": None,
        "addition_time_embed_dim": None,
        "projection_class_embeddings_input_dim": None,
        "cross_attention_dim": text_dim,
    }


def _without_second_encoder(unet: UNet2DConditionModel, text_dim: int) -> UNet2DConditionModel:
    plain = UNet2DConditionModel.from_config(plain_config(unet.config, text_dim))
    state = {name: tensor for name, tensor in unet.state_dict().items() if not name.startswith(_SDXL_ONLY)}
    for name, tensor in plain.state_dict().items():
        if ".attn2.to_k." in name or ".attn2.to_v." in name:
            state[name] = state[name][:, : tensor.shape[1]]
    plain.load_state_dict(state)
    return plain


def read_sd_unet(folder: Path, install: Callable[[UNet2DConditionModel], None] | None = None) -> UNet2DConditionModel:
    """What `save_unet` wrote, after ``install`` added its parts to a stock UNet.

    Raises ValueError where anything is missing or left over.
    """
    if not (folder / "config.json").is_file():
        raise ValueError(f"expected a saved UNet in {folder}, found none; give the output of its training stage")
    unet = UNet2DConditionModel.from_config(UNet2DConditionModel.load_config(folder))
    if install is not None:
        install(unet)
    load_strict(unet, folder / WEIGHTS)
    return unet


def encode_captions(encoder: TextEncoder, captions: Sequence[str]) -> tuple[Tensor, Tensor]:
    """Last hidden states (B, T, C) of ``captions``, padded to the tokenizer's length, and which are no padding (B, T).

    The end token counts as text, the padding behind it does not (CLIP pads with its end token).
    """
    tokenized = encoder.tokenizer(
        list(captions),
        padding="max_length",
        max_length=encoder.tokenizer.model_max_length,
        truncation=True,
        return_tensors="pt",
    )
    ids = tokenized.input_ids.to(encoder.model.device)
    states: Tensor = encoder.model(ids).last_hidden_state
    return states, tokenized.attention_mask.bool().to(states.device)


def grey_to_pixels(images: Tensor) -> Tensor:
    """uint8 grey (K, S, S) -> (K, 3, S, S) in [-1, 1], as the autoencoder reads them."""
    return (images.float() / 127.5 - 1.0).unsqueeze(1).expand(-1, 3, -1, -1)


def train_only(unet: UNet2DConditionModel, part: str) -> None:
    """Let exactly the parameters with ``part`` in their name require gradients."""
    for name, parameter in unet.named_parameters():
        parameter.requires_grad_(part in name)
