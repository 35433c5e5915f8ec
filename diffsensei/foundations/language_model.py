"""Trains the small Llama (paper sec. 5.1 takes SEED-X's) as a language model of captions, image slots included."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerBase

from diffsensei.foundations.drawn_pool import PoolPanel
from diffsensei.foundations.optimisation import build, fit
from diffsensei.foundations.recipes import LanguageModelRecipe
from diffsensei.foundations.vocabulary import NUM_IMAGE_SLOTS, image_slot, llama_tokenizer
from diffsensei.progress import Progress
from diffsensei.seeding import numpy_stream

_IGNORED = -100
_SLOT_COUNTS = (NUM_IMAGE_SLOTS // 4, NUM_IMAGE_SLOTS // 2, NUM_IMAGE_SLOTS)
"""Of four characters with 4, 8 or 16 tokens each."""


@dataclass(frozen=True)
class TrainedLanguageModel:
    model: LlamaForCausalLM
    tokenizer: PreTrainedTokenizerBase


def train_language_model(
    recipe: LanguageModelRecipe, panels: list[PoolPanel], progress: Progress
) -> TrainedLanguageModel:
    """A Llama that continues captions, and that follows a caption's image slots with the response's slots."""
    tokenizer = llama_tokenizer()
    captions = [tokenizer(panel.caption).input_ids for panel in panels]
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=recipe.hidden_size,
        intermediate_size=recipe.intermediate_size,
        num_hidden_layers=recipe.num_layers,
        num_attention_heads=recipe.num_heads,
        max_position_embeddings=recipe.max_positions,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=None,
        tie_word_embeddings=False,
    )
    model = build(recipe.fit, lambda: LlamaForCausalLM(config))
    rng = numpy_stream(recipe.fit.seed, "batches")

    def loss_of_step(step: int) -> Tensor:
        chosen = rng.choice(len(captions), recipe.fit.batch, replace=False)
        rows = [captions[index] for index in chosen]
        if rng.random() < recipe.template_rate:
            # The slots make a row four times as long.
            tail = image_template(tokenizer, int(rng.choice(_SLOT_COUNTS)))
            rows = [row + tail for row in rows[: recipe.fit.batch // 4]]
        return language_loss(model, rows, tokenizer.eos_token_id)

    fit(recipe.fit, [model], loss_of_step, progress)
    return TrainedLanguageModel(model, tokenizer)


def image_template(tokenizer: PreTrainedTokenizerBase, num_slots: int) -> list[int]:
    """Ids that follow a caption: newline, the source's image slots, newline, a bare piece, the response's slots."""
    slots = ["<img>", *(image_slot(index) for index in range(num_slots)), "</img>"]
    tokens = ["<0x0A>", *slots, "<0x0A>", "▁", *slots]
    return [int(tokenizer.convert_tokens_to_ids(token)) for token in tokens]  # type: ignore[arg-type]


def language_loss(model: LlamaForCausalLM, rows: list[list[int]], end: int) -> Tensor:
    """Mean cross entropy of every next token of ``rows``, their ends included, the beginnings given."""
    rows = [[*row, end] for row in rows]
    longest = max(len(row) for row in rows)
    tokens = torch.tensor([row + [0] * (longest - len(row)) for row in rows])
    labels = torch.tensor([row + [_IGNORED] * (longest - len(row)) for row in rows])
    # Padding on the right needs no mask: the attention is causal.
    logits = model(input_ids=tokens, use_cache=False).logits
    return functional.cross_entropy(logits[:, :-1].flatten(0, 1), labels[:, 1:].flatten(), ignore_index=_IGNORED)
