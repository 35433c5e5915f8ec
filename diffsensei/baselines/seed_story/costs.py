"""What SEED-Story costs: a language model over captions and image features, and an SDXL that draws features.

Captions count at their longest. Words are written one after another, for which a GPU is far from its speed: the hours
of a method that writes its own captions are a bound from below.
"""

import math
from functools import cache, partial
from pathlib import Path

import torch
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from torch import Tensor, nn

from diffsensei.baselines.seed_story.detokenizer import FeatureResampler
from diffsensei.baselines.seed_story.language import with_lora
from diffsensei.baselines.seed_story.objectives import KEYS_AND_VALUES
from diffsensei.baselines.seed_story.qwen_visual import TRAINED_FRACTION, QwenTower, empty_tower
from diffsensei.baselines.seed_story.qwen_weights import find_tower
from diffsensei.baselines.seed_story.resamplers import StoryResamplers
from diffsensei.config.baselines import SeedStoryConfig
from diffsensei.costs.counting import PassCost, count_forward, count_pass
from diffsensei.costs.networks import (
    in_bfloat16,
    meta_conditions,
    meta_llm,
    meta_unet,
    meta_vision_tower,
    sizes,
    vae_factor,
    vision_sizes,
)
from diffsensei.costs.passes import language_pass
from diffsensei.costs.workload import FLOAT, HALF, Costs, StageCost, Workload, weights_beside, weights_of
from diffsensei.foundations.locations import resolve
from diffsensei.models.conditions import Conditions
from diffsensei.models.unet import predict_noise

FRAME_TOKENS = 6
"""Of a panel beside caption and slots: what opens it, and the image's brackets."""


def _train_language(work: Workload) -> StageCost:
    """Panels read a random number of those before them; a batch is as long as its longest."""
    method = work.config.baselines.seed_story
    tower = _Tower.of(method.visual_encoder)
    adapted = with_lora(meta_llm(method.llm), method.language)
    base = adapted.get_base_model().model  # type: ignore[operator]
    mean = _mean_read(work, method)
    prompt = work.of_llm(language_pass(base, round((1 + mean) * _tokens(method)), backward=True))
    longest = work.of_llm(language_pass(base, (1 + method.window) * _tokens(method), backward=True)).kept_bytes
    per_panel = PassCost(prompt.forward + (1 + mean) * tower.operations, prompt.backward, longest)
    held = weights_of(adapted, HALF) + weights_of(_resamplers(method, tower), FLOAT) + tower.weights
    return work.trained(method.language_training, lambda _: per_panel, held)


def _train_detokenizer(work: Workload) -> StageCost:
    method = work.config.baselines.seed_story
    tower, llm = _Tower.of(method.visual_encoder), meta_llm(method.llm)
    mean = _mean_read(work, method)
    told = language_pass(llm.model, round((1 + mean) * _tokens(method)), backward=False).forward
    before = told + (1 + mean) * tower.operations
    drawer = _Drawer.of(work, method, tower)
    held = weights_of(drawer, FLOAT) + weights_of(llm, HALF) + tower.weights
    return work.trained(
        method.detokenizer_training,
        lambda side: PassCost(before) + work.of_unet(drawer.cost(work, side, backward=True)),
        held,
    )


def _draw(work: Workload, *, writes: bool) -> StageCost:
    """``writes``: captions are its own."""
    method = work.config.baselines.seed_story
    tower, llm = _Tower.of(method.visual_encoder), meta_llm(method.llm)
    drawer = _Drawer.of(work, method, tower).requires_grad_(False)

    @cache
    def tell(earlier: int) -> float:
        told = language_pass(llm.model, (1 + earlier) * _tokens(method), backward=False).forward
        if writes:
            length = earlier * _tokens(method) + method.language.max_written_tokens
            told += language_pass(llm.model, length, backward=False).forward
        return told

    @cache
    def draw(side: int) -> float:
        return method.sampling.steps * drawer.cost(work, side, backward=False).forward

    def panel(side: int, earlier: int) -> float:
        return tell(earlier) + work.denoised(method.sampling, side, draw(side))

    held = weights_of(drawer, HALF) + weights_of(llm, HALF) + tower.weights
    return work.drawn(panel, held, window=method.window)


class _Tower:
    """The frozen vision tower: operations of a picture, what it holds, and how its features look."""

    def __init__(self, network: nn.Module, side: int, num_tokens: int, dim: int) -> None:
        image = torch.empty(1, 3, side, side, device="meta", dtype=torch.bfloat16)
        in_bfloat16(network.requires_grad_(False))

        def run() -> Tensor:
            output = network(image)
            return output if isinstance(output, Tensor) else output.last_hidden_state

        self.operations, self.weights = count_forward(network, run), weights_beside(network)
        self.num_tokens, self.dim = num_tokens, dim

    @classmethod
    def of(cls, reference: str) -> "_Tower":
        qwen = _qwen(reference)
        if qwen is not None:
            patch = qwen.conv1.kernel_size[0]
            side = TRAINED_FRACTION * math.isqrt(len(qwen.positional_embedding)) * patch
            return cls(qwen, side, *qwen.attn_pool.query.shape)
        network, side = meta_vision_tower(reference)
        known = vision_sizes(reference)
        return cls(network, side, (side // int(known["patch_size"])) ** 2, int(known["hidden_size"]))


def _qwen(reference: str) -> QwenTower | None:
    """Of hub ids by what is published, so that nothing is downloaded."""
    if not Path(reference).expanduser().is_file() and resolve(reference).is_hub:
        known = sizes(reference)
        with torch.device("meta"):
            return QwenTower(**known) if "positions" in known else None
    found = find_tower(reference)
    if found is None:
        return None
    with torch.device("meta"):
        return empty_tower(found.state, found.source)


class _Drawer(nn.Module):
    """The de-tokenizer: feature resampler and SDXL, of whose weights keys and values are trained."""

    def __init__(self, unet: UNet2DConditionModel, resampler: FeatureResampler, features: Tensor) -> None:
        super().__init__()
        self.unet, self.resampler = unet, resampler
        self._features, self._channels = features, int(unet.config["in_channels"])

    @classmethod
    def of(cls, work: Workload, method: SeedStoryConfig, tower: _Tower) -> "_Drawer":
        names = work.config.model.foundations
        first, second = sizes(names.text_encoder), sizes(names.text_encoder_2)
        unet = meta_unet(work.config)
        for name, parameter in unet.named_parameters():
            parameter.requires_grad_(any(part in name for part in KEYS_AND_VALUES))
        with torch.device("meta"):
            resampler = FeatureResampler(
                **method.resampler.model_dump(),
                feature_dim=tower.dim,
                first_dim=first["hidden_size"],
                second_dim=second["hidden_size"],
                pooled_dim=second["projection_dim"],
            )
            features = torch.empty(1, tower.num_tokens, tower.dim, dtype=torch.bfloat16)
        return cls(unet, in_bfloat16(resampler), features)

    def cost(self, work: Workload, side: int, *, backward: bool) -> PassCost:
        """One panel under one of guidance's conditions."""
        edge = side // vae_factor(work.config.model.foundations.vae)
        latents = torch.empty(1, self._channels, edge, edge, device="meta", dtype=torch.bfloat16)
        time_ids = meta_conditions(work.config, 1).time_ids

        def run() -> Tensor:
            prompt, pooled = self.resampler(self._features)
            conditions = Conditions(prompt, pooled, time_ids)
            return predict_noise(self.unet, latents, torch.empty(1, device="meta"), conditions)

        return count_pass(self, run, backward=backward)


def _resamplers(method: SeedStoryConfig, tower: _Tower) -> nn.Module:
    with torch.device("meta"):
        return StoryResamplers(
            num_slots=method.language.num_slots,
            num_features=tower.num_tokens,
            feature_dim=tower.dim,
            llm_dim=sizes(method.llm)["hidden_size"],
            heads=method.language.resampler_heads,
        )


def _tokens(method: SeedStoryConfig) -> int:
    """Of one panel in a prompt."""
    return method.language.max_caption_tokens + method.language.num_slots + FRAME_TOKENS


def _mean_read(work: Workload, method: SeedStoryConfig) -> float:
    """Earlier panels that a training panel reads: any number of those there are, all as likely (`tell`)."""
    found = work.data.training.earlier(method.window, given=False)
    return sum(earlier * panels for earlier, panels in found.items()) / sum(found.values()) / 2


COSTS: Costs = {
    "seed_story_language": _train_language,
    "seed_story": _train_detokenizer,
    "generate_seed_story": partial(_draw, writes=True),
    "generate_seed_story_given": partial(_draw, writes=False),
}
