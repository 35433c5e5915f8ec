"""Small random instances of the real transformers classes, with tokenizers made on the spot."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
import torch

import diffsensei.models  # noqa: F401  before transformers: torchvision must be importable beside a CPU build of torch

# isort: split

from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import (
    CLIPImageProcessorPil,
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTextModelWithProjection,
    CLIPVisionConfig,
    CLIPVisionModelWithProjection,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
    ViTImageProcessorPil,
    ViTMAEConfig,
    ViTMAEModel,
)

WORDS = ("a", "boy", "girl", "runs", "laughs", "in", "the", "rain", "with", "two", "friends")


@dataclass(frozen=True)
class Encoder:
    model: Any
    tokenizer: Any = None
    processor: Any = None


def word_tokenizer(specials: dict[str, str], extra: tuple[str, ...] = (), **options: Any) -> PreTrainedTokenizerFast:
    vocabulary = {word: index for index, word in enumerate([*specials.values(), *WORDS, *extra])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token=specials["unk_token"]))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, **specials, **options)


@pytest.fixture(scope="session")
def text_encoders() -> tuple[Encoder, Encoder]:
    torch.manual_seed(0)
    specials = {"unk_token": "<unk>", "bos_token": "<s>", "eos_token": "</s>", "pad_token": "<pad>"}
    tokenizer = word_tokenizer(specials, model_max_length=9)
    sizes = {
        "vocab_size": len(tokenizer),
        "intermediate_size": 16,
        "num_hidden_layers": 3,
        "num_attention_heads": 2,
        "max_position_embeddings": 9,
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
    }
    first = CLIPTextModel(CLIPTextConfig(hidden_size=8, **sizes)).eval()
    second = CLIPTextModelWithProjection(CLIPTextConfig(hidden_size=12, projection_dim=10, **sizes)).eval()
    return Encoder(first, tokenizer), Encoder(second, tokenizer)


@pytest.fixture(scope="session")
def image_encoders() -> tuple[Encoder, Encoder]:
    torch.manual_seed(0)
    sizes = {
        "image_size": 16,
        "patch_size": 8,
        "intermediate_size": 16,
        "num_hidden_layers": 3,
        "num_attention_heads": 2,
    }
    square = {"height": 16, "width": 16}
    clip = CLIPVisionModelWithProjection(CLIPVisionConfig(hidden_size=8, projection_dim=6, **sizes)).eval()
    magi = ViTMAEModel(ViTMAEConfig(hidden_size=12, mask_ratio=0.0, **sizes)).eval()
    return (
        Encoder(clip, processor=CLIPImageProcessorPil(size={"shortest_edge": 16}, crop_size=square)),
        Encoder(magi, processor=ViTImageProcessorPil(size=square)),
    )


@pytest.fixture(scope="session")
def llm_tokenizer() -> PreTrainedTokenizerFast:
    specials = {"unk_token": "<unk>", "bos_token": "<s>", "eos_token": "</s>", "pad_token": "<pad>"}
    slots = ("<img>", "</img>", *(f"<img_{index:05d}>" for index in range(16)))
    return word_tokenizer(specials, ("<0x0A>", "▁", *slots))


@pytest.fixture(scope="session")
def build_llm(llm_tokenizer: PreTrainedTokenizerFast) -> Callable[..., LlamaForCausalLM]:
    """Always the same weights for the same ``num_hidden_layers``."""

    def build(num_hidden_layers: int = 2) -> LlamaForCausalLM:
        torch.manual_seed(0)
        config = LlamaConfig(
            vocab_size=len(llm_tokenizer),
            hidden_size=32,
            intermediate_size=48,
            num_hidden_layers=num_hidden_layers,
            num_attention_heads=2,
            num_key_value_heads=2,
            max_position_embeddings=256,
            initializer_range=0.2,
            tie_word_embeddings=False,
        )
        return LlamaForCausalLM(config).eval()

    return build


@pytest.fixture
def llm(build_llm: Callable[..., LlamaForCausalLM]) -> LlamaForCausalLM:
    return build_llm()
