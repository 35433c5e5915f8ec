"""A toy: a training step of a small stage 1 from stored features, against one that encodes what it reads.

The small encoders do as many operations as SDXL's do beside its UNet (counted, within a tenth): autoencoder, two text
encoders, and both image encoders on four crops a panel, which is what the reference computes at every step.
"""

from bisect import bisect_left
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import diffsensei.models  # noqa: F401  before diffusers: torchvision must be importable beside a CPU build of torch

# isort: split

import pytest
import torch
from diffusers import AutoencoderKL
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode
from transformers import CLIPTextConfig, CLIPTextModel, CLIPVisionConfig, CLIPVisionModel

from diffsensei.config.schema import UNetConfig
from diffsensei.costs.counting import count_forward, count_pass
from diffsensei.models.conditions import Conditions, Layout
from diffsensei.models.resampler import Resampler
from diffsensei.models.unet import add_manga_conditions, build_unet
from diffsensei.training.batch import CharacterImages, PanelBatch
from diffsensei.training.image_generator import ImageGeneratorObjective
from tests.benchmarks.interleaved import Case

UNET = UNetConfig(
    block_out_channels=(64, 128),
    transformer_layers_per_block=(1, 1),
    layers_per_block=1,
    attention_head_dim=(2, 4),
    addition_time_embed_dim=16,
)
BATCH, SLOTS, QUERIES, TEXT_WIDTH, IMAGE_WIDTH, TEXT_TOKENS = 2, 4, 4, 128, 256, 77
SIDE, PATCH = 64, 8
"""Pixels of a crop."""
SHARES = {256: (0.19, 0.08, 1.06), 512: (0.23, 0.02, 0.30)}
"""Pixels of a square panel -> operations of autoencoder, text encoders and image encoders over the UNet's forward and
backward pass (1.40 and 4.90 TFLOP), at SDXL's sizes."""
SIZES = range(8, 4001, 8)
"""Widths of the autoencoder, and inner widths of the transformers, of which the nearest is taken."""


@dataclass(frozen=True, eq=False)
class Step:
    """One batch, stored and as it is before it is encoded."""

    objective: ImageGeneratorObjective
    batch: PanelBatch
    vae: nn.Module
    text: nn.Module
    images: nn.Module
    pixels: Tensor
    words: Tensor
    crops: Tensor


def cases() -> Iterator[Case]:
    for pixels, shares in SHARES.items():
        step = _step(shares)
        yield Case(
            name=f"toy training step, stored features, encoders in proportion to {pixels} px",
            check=partial(_check, step),
            plain=partial(_afresh, step),
            ours=partial(_stored, step),
            goal=0.0,
        )


def _step(shares: tuple[float, float, float]) -> Step:
    torch.manual_seed(0)
    unet = build_unet(UNET, in_channels=4, cross_attention_dim=TEXT_WIDTH, pooled_dim=TEXT_WIDTH)
    add_manga_conditions(unet, QUERIES, max_characters=SLOTS)
    resampler = Resampler(
        dim=32,
        depth=1,
        heads=2,
        head_dim=16,
        num_queries=QUERIES,
        clip_dim=IMAGE_WIDTH,
        magi_dim=IMAGE_WIDTH,
        output_dim=TEXT_WIDTH,
    )
    objective = ImageGeneratorObjective(unet, resampler, 0.5)
    layout = Layout(
        torch.tensor(
            [[[0.0, 0.0, 0.5, 1.0], [0.4, 0.5, 1.0, 1.0], [0.0, 0.5, 0.3, 1.0], [0.7, 0.0, 1.0, 0.4]]] * BATCH
        ),
        torch.ones(BATCH, SLOTS, dtype=torch.bool),
        torch.tensor([[[0.5, 0.0, 1.0, 0.5]]] * BATCH),
        torch.ones(BATCH, 1, dtype=torch.bool),
    )
    pixels = torch.rand(BATCH, 3, 32, 32) * 2 - 1
    words, crops = torch.randint(0, 99, (BATCH, TEXT_TOKENS)), torch.rand(BATCH * SLOTS, 3, SIDE, SIDE)
    conditions = Conditions(
        torch.zeros(BATCH, TEXT_TOKENS, TEXT_WIDTH),
        torch.zeros(BATCH, TEXT_WIDTH),
        torch.full((BATCH, 6), 64.0),
        layout=layout,
    )
    tokens = torch.zeros(BATCH, SLOTS, (SIDE // PATCH) ** 2 + 1, IMAGE_WIDTH)
    references = CharacterImages(tokens, torch.zeros(BATCH, SLOTS, IMAGE_WIDTH))
    empty = PanelBatch(torch.zeros(BATCH, 8, 16, 16), conditions, references)
    trained = count_pass(objective, lambda: objective(empty, torch.Generator())["loss"], backward=True).total
    vae, text, images = (
        _nearest(share * trained, build, given)
        for share, build, given in zip(shares, (_vae, _text, _images), (pixels, words, crops), strict=True)
    )
    step = Step(objective, empty, vae, text, images, pixels, words, crops)
    with FlopCounterMode(display=False) as counter:
        encoded = _encoded(step)
    assert counter.get_total_flops() == pytest.approx(sum(shares) * trained, rel=0.1), "in proportion"
    return replace(step, batch=encoded)


def _nearest(operations: float, build: Callable[[int], nn.Module], given: Tensor) -> nn.Module:
    """The frozen network of ``build`` whose size comes nearest to so many operations on ``given``."""

    def count(size: int) -> float:
        with torch.device("meta"):
            network = build(size)
        return count_forward(network, lambda: network(given.to("meta")))

    size = SIZES[min(bisect_left(SIZES, operations, key=count), len(SIZES) - 1)]
    return build(min((size, max(size - SIZES.step, SIZES[0])), key=lambda it: abs(count(it) - operations))).eval()


class _Autoencoder(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.vae = AutoencoderKL(
            down_block_types=("DownEncoderBlock2D",) * 2,
            up_block_types=("UpDecoderBlock2D",) * 2,
            block_out_channels=(width, width),
            layers_per_block=1,
            norm_num_groups=2,
            latent_channels=4,
        )

    def forward(self, pixels: Tensor) -> Tensor:
        parameters: Tensor = self.vae.encode(pixels).latent_dist.parameters
        return parameters


class _Tokens(nn.Module):
    """A transformer's last hidden states."""

    def __init__(self, transformer: nn.Module) -> None:
        super().__init__()
        self.transformer = transformer

    def forward(self, given: Tensor) -> Tensor:
        states: Tensor = self.transformer(given).last_hidden_state
        return states


def _vae(width: int) -> nn.Module:
    return _Autoencoder(width)


def _text(inner: int) -> nn.Module:
    return _Tokens(
        CLIPTextModel(
            CLIPTextConfig(
                **_transformer(TEXT_WIDTH, inner, 2), vocab_size=99, eos_token_id=98, bos_token_id=97, pad_token_id=0
            )
        )
    )


def _images(inner: int) -> nn.Module:
    config = CLIPVisionConfig(**_transformer(IMAGE_WIDTH, inner, 4), image_size=SIDE, patch_size=PATCH)
    return _Tokens(CLIPVisionModel(config))


def _transformer(width: int, inner: int, layers: int) -> dict[str, Any]:
    return {"hidden_size": width, "intermediate_size": inner, "num_hidden_layers": layers, "num_attention_heads": 4}


@torch.no_grad()
def _encoded(step: Step) -> PanelBatch:
    tokens = step.images(step.crops).unflatten(0, (BATCH, SLOTS))
    text = step.text(step.words)
    return replace(
        step.batch,
        moments=step.vae(step.pixels),
        conditions=replace(step.batch.conditions, text_tokens=text, pooled_text=text[:, -1]),
        references=CharacterImages(tokens, tokens[:, :, 0]),
    )


def _stored(step: Step) -> dict[str, Tensor]:
    return _gradients(step.objective, step.batch)


def _afresh(step: Step) -> dict[str, Tensor]:
    return _gradients(step.objective, _encoded(step))


def _gradients(objective: ImageGeneratorObjective, batch: PanelBatch) -> dict[str, Tensor]:
    """What a step computes, by parameter; and the loss."""
    loss = objective(batch, torch.Generator().manual_seed(0))["loss"]
    parameters = dict(objective.named_parameters())
    found = torch.autograd.grad(loss, list(parameters.values()), allow_unused=True)
    gradients = {name: gradient for name, gradient in zip(parameters, found, strict=True) if gradient is not None}
    return gradients | {"loss": loss.detach()}


def _check(step: Step) -> None:
    plain, ours = _afresh(step), _stored(step)
    assert plain.keys() == ours.keys()
    assert all(torch.equal(value, ours[name]) for name, value in plain.items())
