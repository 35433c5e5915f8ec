"""Trains the text encoders (paper sec. 5.1 takes SDXL's two CLIP encoders) by contrast of caption and panel."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection, PreTrainedTokenizerBase

from diffsensei.foundations.contrast import paired_contrast
from diffsensei.foundations.drawn_pool import PoolPanel
from diffsensei.foundations.labels import panel_facts
from diffsensei.foundations.optimisation import build, fit
from diffsensei.foundations.recipes import TextRecipe
from diffsensei.foundations.views import random_views, squashed
from diffsensei.foundations.vocabulary import clip_tokenizer
from diffsensei.progress import Progress
from diffsensei.seeding import numpy_stream, stream_seed

TOWER_SIDE = 64
_SHARED_DIM = 128
_START_SCALE = float(np.log(1 / 0.07))


@dataclass(frozen=True)
class TrainedText:
    """``encoder`` and ``tokenizer`` are shipped; ``pair`` holds both sides of the contrast, to measure it by."""

    encoder: CLIPTextModel | CLIPTextModelWithProjection
    tokenizer: PreTrainedTokenizerBase
    pair: "TextImagePair"


class TextImagePair(nn.Module):
    """A text encoder, a small convolutional image tower and the heads that only training needs."""

    def __init__(self, recipe: TextRecipe, config: CLIPTextConfig, num_facts: int) -> None:
        super().__init__()
        projected = recipe.projection_dim is not None
        self.encoder = CLIPTextModelWithProjection(config) if projected else CLIPTextModel(config)
        shared = recipe.projection_dim or _SHARED_DIM
        self.text_head = nn.Identity() if projected else nn.Linear(recipe.hidden_size, shared)
        self.tower = nn.Sequential(
            _conv(3, 24), _conv(24, 48), _conv(48, 96), _conv(96, 192), nn.AdaptiveAvgPool2d(2), nn.Flatten(),
            nn.Linear(4 * 192, shared),
        )  # fmt: skip
        self.text_facts = nn.Linear(shared, num_facts)
        self.image_facts = nn.Linear(shared, num_facts)
        self.next_word = nn.Linear(recipe.hidden_size, config.vocab_size)
        self.log_scale = nn.Parameter(torch.tensor(_START_SCALE))

    def text(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """Shared embedding (n, d) and penultimate states (n, t, hidden) of token ids (n, t)."""
        out = self.encoder(input_ids=tokens, output_hidden_states=True)
        pooled = out.text_embeds if isinstance(self.encoder, CLIPTextModelWithProjection) else out.pooler_output
        return self.text_head(pooled), out.hidden_states[-2]


def train_text_encoder(recipe: TextRecipe, panels: list[PoolPanel], progress: Progress) -> TrainedText:
    """A text encoder whose pooled output finds the caption's panel and whose penultimate states know their words."""
    tokenizer = clip_tokenizer()
    tokens = tokenised(tokenizer, [panel.caption for panel in panels])
    images = squashed([panel.image for panel in panels], TOWER_SIDE)
    facts = torch.from_numpy(panel_facts(panels))
    config = CLIPTextConfig(
        vocab_size=len(tokenizer),
        hidden_size=recipe.hidden_size,
        intermediate_size=4 * recipe.hidden_size,
        projection_dim=recipe.projection_dim or recipe.hidden_size,
        num_hidden_layers=recipe.num_layers,
        num_attention_heads=recipe.num_heads,
        max_position_embeddings=tokenizer.model_max_length,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    pair = build(recipe.fit, lambda: TextImagePair(recipe, config, facts.shape[1]))
    rng = numpy_stream(recipe.fit.seed, "batches")
    generator = torch.Generator().manual_seed(stream_seed(recipe.fit.seed, "views"))

    def loss_of_step(step: int) -> Tensor:
        chosen = rng.choice(len(images), recipe.fit.batch, replace=False)
        batch = trimmed(tokens[chosen], tokenizer.eos_token_id)
        embedded, states = pair.text(batch)
        seen = pair.tower(random_views(images[chosen], generator))
        truth = facts[chosen]
        loss = paired_contrast(embedded, seen, pair.log_scale)
        loss = loss + functional.binary_cross_entropy_with_logits(pair.text_facts(embedded), truth)
        loss = loss + functional.binary_cross_entropy_with_logits(pair.image_facts(seen), truth)
        return loss + recipe.language_weight * next_token_loss(pair.next_word(states), batch, tokenizer.eos_token_id)

    fit(recipe.fit, [pair], loss_of_step, progress)
    return TrainedText(pair.encoder, tokenizer, pair)


def tokenised(tokenizer: PreTrainedTokenizerBase, captions: list[str]) -> Tensor:
    """Token ids (n, max length) of ``captions``, padded."""
    padded = tokenizer(captions, padding="max_length", truncation=True, return_tensors="pt")
    return padded.input_ids


def trimmed(tokens: Tensor, end: int) -> Tensor:
    """``tokens`` (n, t) without the columns in which every row is past its end."""
    return tokens[:, : int((tokens != end).sum(dim=1).max()) + 1]


def next_token_loss(logits: Tensor, tokens: Tensor, end: int) -> Tensor:
    """Mean cross entropy of each next token, up to and including the first ``end``."""
    target = tokens[:, 1:]
    target = torch.where(tokens[:, :-1] == end, -100, target)
    return functional.cross_entropy(logits[:, :-1].flatten(0, 1), target.flatten())


def _conv(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(inputs, outputs, 3, stride=2, padding=1), nn.GroupNorm(8, outputs), nn.SiLU())
