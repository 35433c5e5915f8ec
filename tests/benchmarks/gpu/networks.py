"""Networks with random weights on the device, and batches of random panels for them."""

from typing import Any

import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from tokenizers import Tokenizer, models, pre_tokenizers
from torch import Tensor
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from diffsensei.costs.networks import DIALOG_SLOTS, TEXT_TOKENS, sizes, text_width, vision_sizes
from diffsensei.costs.networks import vae_factor as factor_of
from diffsensei.models.conditions import Conditions, Layout
from diffsensei.models.resampler import Resampler
from diffsensei.models.unet import add_manga_conditions, build_unet
from diffsensei.training.batch import CharacterImages, PanelBatch
from tests.benchmarks.gpu.setting import Setting

CAPTION = "a girl laughs in the rain under a torn umbrella while her friend runs ahead of her"
"""Panels' captions are its beginnings, so that prompts have unequal lengths."""


def random_unet(setting: Setting, dtype: torch.dtype = torch.float32) -> UNet2DConditionModel:
    """With manga conditions, in channels_last as training has it."""
    config = setting.config
    names = config.model.foundations
    with torch.device(setting.device):
        unet = build_unet(
            config.model.unet,
            in_channels=sizes(names.vae)["latent_channels"],
            cross_attention_dim=text_width(config),
            pooled_dim=sizes(names.text_encoder_2)["projection_dim"],
        )
        add_manga_conditions(
            unet, config.model.resampler.num_queries, max_characters=config.data.conditioning.max_characters
        )
    torch.nn.Module.to(unet, dtype=dtype)
    torch.nn.Module.to(unet, memory_format=torch.channels_last)
    return unet


def random_resampler(setting: Setting, unet: UNet2DConditionModel) -> Resampler:
    names = setting.config.model.foundations
    clip, magi = vision_sizes(names.clip_image_encoder), vision_sizes(names.magi_image_encoder)
    with torch.device(setting.device):
        return Resampler(
            **setting.config.model.resampler.model_dump(),
            clip_dim=clip["hidden_size"],
            magi_dim=magi["hidden_size"],
            output_dim=unet.config["cross_attention_dim"],
        )


def random_vae(setting: Setting) -> AutoencoderKL:
    with torch.device(setting.device):
        vae: AutoencoderKL = AutoencoderKL.from_config(dict(sizes(setting.config.model.foundations.vae)))
    return vae.eval().requires_grad_(False)


def random_llm(setting: Setting, tokenizer: PreTrainedTokenizerFast) -> LlamaForCausalLM:
    """In bfloat16, as stage 2 holds it; its vocabulary has at least the tokenizer's words."""
    shape = dict(sizes(setting.config.model.foundations.llm))
    shape["vocab_size"] = max(shape["vocab_size"], len(tokenizer))
    default = torch.get_default_dtype()
    torch.set_default_dtype(torch.bfloat16)  # 13 billion weights in float32 first would not fit beside the rest
    try:
        with torch.device(setting.device):
            llm = LlamaForCausalLM(LlamaConfig.from_dict(shape))
    finally:
        torch.set_default_dtype(default)
    return llm.requires_grad_(False)


def slot_tokenizer(slots: int) -> PreTrainedTokenizerFast:
    """Words and ``slots`` image slots."""
    specials = {"unk_token": "<unk>", "bos_token": "<s>", "eos_token": "</s>"}
    images = ("<img>", "</img>", *(f"<img_{index:05d}>" for index in range(slots)))
    pieces = (*specials.values(), *dict.fromkeys(CAPTION.split()), "<0x0A>", "▁", *images)
    base = Tokenizer(models.WordLevel({piece: index for index, piece in enumerate(pieces)}, unk_token="<unk>"))
    base.pre_tokenizer = pre_tokenizers.Whitespace()
    return PreTrainedTokenizerFast(tokenizer_object=base, **specials)


def random_conditions(setting: Setting, count: int, unet: UNet2DConditionModel, dtype: torch.dtype) -> Conditions:
    """Of ``count`` panels with two characters and one dialog each."""
    second = sizes(setting.config.model.foundations.text_encoder_2)
    characters, queries = setting.config.data.conditioning.max_characters, setting.config.model.resampler.num_queries
    layout = Layout.empty(count, characters, DIALOG_SLOTS, device=setting.device)
    layout.character_boxes[:, :2] = torch.tensor([[0.05, 0.3, 0.5, 1.0], [0.45, 0.2, 0.95, 1.0]]).to(setting.device)
    layout.character_exists[:, :2] = True
    layout.dialog_boxes[:, 0] = torch.tensor([0.6, 0.05, 0.95, 0.25]).to(setting.device)
    layout.dialog_exists[:, 0] = True
    width = unet.config["cross_attention_dim"]
    here: dict[str, Any] = {"device": setting.device, "dtype": dtype}
    return Conditions(
        text_tokens=torch.randn(count, TEXT_TOKENS, width, **here),
        pooled_text=torch.randn(count, second["projection_dim"], **here),
        time_ids=torch.full((count, 6), 512.0, device=setting.device),
        character_tokens=torch.randn(count, (characters + 1) * queries, width, **here),
        layout=layout,
    )


def random_batch(setting: Setting, side: int, count: int, unet: UNet2DConditionModel, targets: bool) -> PanelBatch:
    """``count`` square panels of ``side`` pixels, as training reads them from its caches."""
    conditions = random_conditions(setting, count, unet, torch.float32)
    edge = side // vae_factor(setting)
    return PanelBatch(
        moments=torch.randn(count, 2 * unet.config["in_channels"], edge, edge, device=setting.device),
        conditions=Conditions(
            conditions.text_tokens, conditions.pooled_text, conditions.time_ids, None, conditions.layout
        ),
        references=_images(setting, count),
        targets=_images(setting, count) if targets else None,
        captions=tuple(" ".join(CAPTION.split()[: 4 + index % 12]) for index in range(count)) if targets else (),
    )


def vae_factor(setting: Setting) -> int:
    """Pixels to a latent, per side."""
    return factor_of(setting.config.model.foundations.vae)


def _images(setting: Setting, count: int) -> CharacterImages:
    names = setting.config.model.foundations
    clip, magi = vision_sizes(names.clip_image_encoder), vision_sizes(names.magi_image_encoder)
    tokens = (clip["image_size"] // clip["patch_size"]) ** 2 + 1
    slots = setting.config.data.conditioning.max_characters
    shape = (count, slots)
    clip_tokens: Tensor = torch.randn(*shape, tokens, clip["hidden_size"], device=setting.device)
    return CharacterImages(clip_tokens, torch.randn(*shape, magi["hidden_size"], device=setting.device))
