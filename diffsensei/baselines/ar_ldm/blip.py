"""BLIP's image-grounded text encoder: one sequence of features for an image together with its caption."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import (
    AutoTokenizer,
    BlipForImageTextRetrieval,
    BlipTextConfig,
    BlipTextModel,
    BlipVisionConfig,
    BlipVisionModel,
    PreTrainedTokenizerBase,
)
from transformers.image_utils import OPENAI_CLIP_MEAN, OPENAI_CLIP_STD

from diffsensei.config.baselines import BlipConfig
from diffsensei.foundations.locations import resolve
from diffsensei.models.weights import load_strict

RANDOM = "random"
BLIP_DROPOUT = 0.1
"""As BLIP is trained; its vision tower also drops paths, which transformers' does not."""
INIT_STD = 0.02
"""transformers' default for the vision tower, 1e-10, leaves images without any trace."""
_VISION, _TEXT, _TOKENIZER = "vision", "text", "tokenizer"
_WEIGHTS = "model.safetensors"


class GroundedCaptions(nn.Module):
    """The caption attends to the image: tokens of the caption that know what the picture shows."""

    mean: Tensor
    std: Tensor

    def __init__(self, vision: BlipVisionModel, text: BlipTextModel, tokenizer: PreTrainedTokenizerBase) -> None:
        super().__init__()
        self.vision, self.text, self.tokenizer = vision, text, tokenizer
        # BLIP puts its two own tokens behind the vocabulary; the last one opens a grounded caption.
        self._opening = int(text.config.vocab_size) - 1
        self.register_buffer("mean", torch.tensor(OPENAI_CLIP_MEAN).view(3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(OPENAI_CLIP_STD).view(3, 1, 1), persistent=False)

    def forward(self, images: Tensor, captions: Sequence[str], length: int) -> tuple[Tensor, Tensor]:
        """uint8 grey ``images`` (K, S, S), squashed, and their ``captions`` -> features
        (K, length, C), and which of them are no padding (K, length).

        The first token is the one that opens grounded captions; longer captions are cut.
        """
        tokenized = self.tokenizer(
            list(captions), padding="max_length", truncation=True, max_length=length, return_tensors="pt"
        )
        ids, mask = tokenized.input_ids.to(images.device), tokenized.attention_mask.to(images.device)
        ids[:, 0] = self._opening
        pixels = ((images.float() / 255.0).unsqueeze(1) - self.mean) / self.std
        seen = self.vision(pixels.to(self.vision.dtype), interpolate_pos_encoding=True).last_hidden_state
        states: Tensor = self.text(input_ids=ids, attention_mask=mask, encoder_hidden_states=seen).last_hidden_state
        return states, mask.bool()

    def save(self, folder: Path) -> None:
        """Write ``vision/``, ``text/`` and ``tokenizer/``."""
        self.vision.save_pretrained(folder / _VISION)
        self.text.save_pretrained(folder / _TEXT)
        self.tokenizer.save_pretrained(folder / _TOKENIZER)


def load_grounded_captions(config: BlipConfig, text_dim: int, tokenizer: PreTrainedTokenizerBase) -> GroundedCaptions:
    """BLIP as ``config`` names it: of the hub, of a folder, or ``random`` of its sizes with words of ``tokenizer``.

    Raises ValueError unless its features are as wide as the text encoder's, ``text_dim``.
    """
    if config.reference == RANDOM:
        return _random(config, text_dim, tokenizer)
    location = resolve(config.reference)
    loaded: Any = BlipForImageTextRetrieval.from_pretrained(
        location.source, subfolder=location.subfolder or "", use_safetensors=True, output_loading_info=True
    )
    model, info = loaded
    missing = sorted(name for name in info["missing_keys"] if name.startswith(("vision_model.", "text_encoder.")))
    if missing or model.config.text_config.hidden_size != text_dim:
        raise ValueError(
            f"{config.reference}: expected BLIP for image-text retrieval with features of {text_dim}, "
            f"got {model.config.text_config.hidden_size}, missing {missing[:5]}"
        )
    own = AutoTokenizer.from_pretrained(location.source, subfolder=location.subfolder or "", trust_remote_code=False)
    return GroundedCaptions(model.vision_model, model.text_encoder, own)


def read_grounded_captions(folder: Path) -> GroundedCaptions:
    """What `GroundedCaptions.save` wrote. Raises ValueError where anything is missing or left over."""
    if not (folder / _VISION / "config.json").is_file():
        raise ValueError(f"expected BLIP in {folder}, found none; give the output of the AR-LDM stage")
    vision = BlipVisionModel(BlipVisionConfig.from_pretrained(folder / _VISION))
    text = BlipTextModel(BlipTextConfig.from_pretrained(folder / _TEXT), add_pooling_layer=False)
    load_strict(vision, folder / _VISION / _WEIGHTS)
    load_strict(text, folder / _TEXT / _WEIGHTS)
    tokenizer = AutoTokenizer.from_pretrained(folder / _TOKENIZER, trust_remote_code=False)
    return GroundedCaptions(vision, text, tokenizer)


def random_sizes(config: BlipConfig, text_dim: int) -> tuple[dict[str, Any], dict[str, Any]]:
    """What a ``random`` BLIP's vision tower and text encoder are configured with, but for its words."""
    vision = {
        "hidden_size": config.vision_dim,
        "intermediate_size": 2 * config.vision_dim,
        "num_hidden_layers": config.num_layers,
        "num_attention_heads": config.num_heads,
        "image_size": config.image_side,
        "patch_size": config.patch_side,
    }
    text = {
        "hidden_size": text_dim,
        "encoder_hidden_size": config.vision_dim,
        "intermediate_size": 2 * text_dim,
        "num_hidden_layers": config.num_layers,
        "num_attention_heads": config.num_heads,
        "max_position_embeddings": 512,
        "is_decoder": True,  # builds the attention to images; the text itself still looks both ways
    }
    return vision, text


def _random(config: BlipConfig, text_dim: int, tokenizer: PreTrainedTokenizerBase) -> GroundedCaptions:
    of_vision, of_text = random_sizes(config, text_dim)
    vision = BlipVisionConfig(**of_vision, initializer_range=INIT_STD)
    text = BlipTextConfig(
        **of_text,
        vocab_size=len(tokenizer) + 1,
        hidden_dropout_prob=BLIP_DROPOUT,
        initializer_range=INIT_STD,
        pad_token_id=tokenizer.pad_token_id,
    )
    return GroundedCaptions(BlipVisionModel(vision), BlipTextModel(text, add_pooling_layer=False), tokenizer)
