"""Loads the frozen parts (paper sec. 5.1): autoencoder, encoders, language models, Magi. Strictly, as `reading` does.

Models come back in evaluation mode, without gradients, in float32 whatever precision they are stored in (``dtype``
asks for another).
"""

from dataclasses import dataclass
from typing import Literal

import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from transformers import (
    CLIPImageProcessorPil,
    CLIPTextModel,
    CLIPTextModelWithProjection,
    CLIPTokenizer,
    CLIPVisionModelWithProjection,
    ConditionalDetrImageProcessorPil,
    ConditionalDetrModel,
    LlamaForCausalLM,
    LlavaNextForConditionalGeneration,
    LlavaNextProcessor,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    PreTrainedTokenizerFast,
    ViTImageProcessorPil,
    ViTMAEModel,
)
from transformers.image_processing_utils import BaseImageProcessor

from diffsensei.foundations.locations import resolve
from diffsensei.foundations.reading import (
    checked,
    fill_strictly,
    has_file,
    read_config,
    read_magi_state,
    read_model,
    read_processor,
    read_tokenizer,
)
from diffsensei.magi.layout import CROPS_PREFIX, DETECTION_PREFIX, EVERY_PATCH, crop_encoder, is_magi, take_apart
from diffsensei.magi.magi import Magi
from diffsensei.magi.network import MagiNetwork


@dataclass(frozen=True)
class TextEncoder:
    tokenizer: PreTrainedTokenizerBase
    model: CLIPTextModel | CLIPTextModelWithProjection


@dataclass(frozen=True)
class ImageEncoder:
    """``processor(images=[...], return_tensors="pt").pixel_values`` is what ``model`` takes."""

    model: PreTrainedModel
    processor: BaseImageProcessor


@dataclass(frozen=True)
class LanguageModel:
    tokenizer: PreTrainedTokenizerBase
    model: LlamaForCausalLM


@dataclass(frozen=True)
class VisionLanguageModel:
    processor: LlavaNextProcessor
    model: LlavaNextForConditionalGeneration


def load_vae(reference: str, dtype: torch.dtype = torch.float32) -> AutoencoderKL:
    """The autoencoder of SDXL's ``vae`` folder: images (B, 3, h, w) in [-1, 1]."""
    return read_model(AutoencoderKL, resolve(reference), torch_dtype=dtype)


def load_text_encoder(reference: str, dtype: torch.dtype = torch.float32) -> TextEncoder:
    """A text encoder (projected if its config's architecture says so), with the tokenizer that lies beside it."""
    location = resolve(reference)
    (architecture,) = read_config(location).get("architectures") or ["none"]
    classes = {"CLIPTextModel": CLIPTextModel, "CLIPTextModelWithProjection": CLIPTextModelWithProjection}
    if architecture not in classes:
        raise ValueError(f"{reference}: expected architecture {' or '.join(classes)}, got {architecture}")
    return TextEncoder(
        read_tokenizer(CLIPTokenizer, location), read_model(classes[architecture], location, dtype=dtype)
    )


def load_tokenizer(reference: str) -> PreTrainedTokenizerBase:
    """The tokenizer of `load_text_encoder` alone, without the model's weights."""
    location = resolve(reference)
    read_config(location)  # without a model beside it, a folder of that name is something else
    return read_tokenizer(CLIPTokenizer, location)


def load_clip_image_encoder(reference: str, dtype: torch.dtype = torch.float32) -> ImageEncoder:
    """A CLIP vision tower. A folder without preprocessor (as IP-Adapter's) gets CLIP's own at the model's size."""
    location = resolve(reference)
    model = read_model(CLIPVisionModelWithProjection, location, dtype=dtype)
    if has_file(location, "preprocessor_config.json"):
        return ImageEncoder(model, read_processor(CLIPImageProcessorPil, location))
    side = model.config.image_size
    return ImageEncoder(
        model, CLIPImageProcessorPil(size={"shortest_edge": side}, crop_size={"height": side, "width": side})
    )


MAGI_PATCHES: dict[str, dict[str, float]] = {"all": EVERY_PATCH, "masked": {}}
"""What replaces values of the encoder's own configuration, by `FidelityConfig.magi_patches`."""


def load_magi_image_encoder(
    reference: str, dtype: torch.dtype = torch.float32, patches: Literal["all", "masked"] = "all"
) -> ImageEncoder:
    """Magi's crop encoder, a ViT-MAE that sees every patch, or with ``patches`` masked hides the share it was built to.

    Reads a plain ViTMAE folder, or Magi's own layout, where the encoder lies under a prefix of one large checkpoint and
    its configuration and preprocessing inside the top-level configuration.
    """
    location = resolve(reference)
    config = read_config(location)
    if not is_magi(config):
        return ImageEncoder(
            read_model(ViTMAEModel, location, dtype=dtype, **MAGI_PATCHES[patches]),
            read_processor(ViTImageProcessorPil, location),
        )
    state = read_magi_state(location)
    parts = checked(location, lambda: crop_encoder(config, state, MAGI_PATCHES[patches]))
    # Through from_pretrained, because the library's own names differ from those checkpoints are stored under.
    model = read_model(ViTMAEModel, location, config=parts.config, state_dict=parts.state, dtype=dtype)
    return ImageEncoder(model, checked(location, lambda: ViTImageProcessorPil(**parts.processing)))


def load_magi(reference: str, dtype: torch.dtype = torch.float32) -> Magi:
    """Magi v1 whole, but for its reader of text: what finds panels, characters and texts on pages."""
    location = resolve(reference)
    config, state = read_config(location), read_magi_state(location)
    layout = checked(location, lambda: take_apart(config, state))
    detection, crops = (
        read_model(model_class, location, config=part.config, state_dict=part.state, dtype=dtype)
        for model_class, part in ((ConditionalDetrModel, layout.detection), (ViTMAEModel, layout.crops))
    )
    network = checked(location, lambda: MagiNetwork(detection, crops))
    loaded = {
        prefix + key: value
        for prefix, model in ((DETECTION_PREFIX, detection), (CROPS_PREFIX, crops))
        for key, value in model.state_dict().items()
    }
    fill_strictly(network, loaded | layout.other_state, reference)
    processors = checked(
        location,
        lambda: (
            ConditionalDetrImageProcessorPil(**layout.detection.processing),
            ViTImageProcessorPil(**layout.crops.processing),
        ),
    )
    magi = Magi(network, *processors).to(dtype).eval()
    return magi.requires_grad_(False)


def load_llm(reference: str, dtype: torch.dtype = torch.float32) -> LanguageModel:
    """A Llama with the image-slot tokens in its vocabulary, and its tokenizer."""
    location = resolve(reference)
    return LanguageModel(
        read_tokenizer(PreTrainedTokenizerFast, location), read_model(LlamaForCausalLM, location, dtype=dtype)
    )


def load_llava_next(reference: str, dtype: torch.dtype = torch.float32) -> VisionLanguageModel:
    """LLaVA-NeXT (v1.6), with a processor that pads on the left, as generating in batches needs."""
    location = resolve(reference)
    model = read_model(LlavaNextForConditionalGeneration, location, dtype=dtype)
    subfolder = location.subfolder or ""
    processor = checked(location, lambda: LlavaNextProcessor.from_pretrained(location.source, subfolder=subfolder))
    if not processor.chat_template:
        raise ValueError(f"{reference}: its processor has no chat template; use a folder of the llava-hf family")
    processor.tokenizer.padding_side = "left"
    return VisionLanguageModel(processor, model)
