"""What AR-LDM costs: a UNet that reads caption and history, and the encoder of both; all of it is trained."""

from functools import cache, partial

import torch
from torch import Tensor, nn
from transformers import BlipTextConfig, BlipTextModel, BlipVisionConfig, BlipVisionModel

from diffsensei.baselines.ar_ldm.blip import RANDOM, random_sizes
from diffsensei.baselines.stable_diffusion_costs import meta_latents, meta_sd_unet
from diffsensei.config.baselines import ArLdmConfig, StableDiffusionParts
from diffsensei.costs.counting import PassCost, count_pass
from diffsensei.costs.networks import TEXT_TOKENS, in_bfloat16, meta_text_encoder, sizes
from diffsensei.costs.workload import FLOAT, HALF, Costs, StageCost, Workload, weights_of

VOCABULARY = 30_524
"""Words of a ``random`` BLIP, which cost no operations."""


def _train(work: Workload) -> StageCost:
    """Slots of the window that have no panel are computed like the others."""
    method, base = work.config.baselines.ar_ldm, work.config.baselines.stable_diffusion
    unet, encoder = meta_sd_unet(base).requires_grad_(True), _encoder(method, base)
    history = _history(encoder, method, method.window, backward=True)
    return work.trained(
        method.training,
        lambda side: history + work.of_unet(_unet(unet, method, base, side, method.window, backward=True)),
        weights_of(unet, FLOAT) + weights_of(encoder, FLOAT),
    )


def _draw(work: Workload) -> StageCost:
    """Guidance's branch without conditions reads blanks in the place of the history: it costs as much."""
    method, base = work.config.baselines.ar_ldm, work.config.baselines.stable_diffusion
    unet, encoder = meta_sd_unet(base), _encoder(method, base).requires_grad_(False)

    history = cache(partial(_history, encoder, method, backward=False))

    def panel(side: int, earlier: int) -> float:
        step = _unet(unet, method, base, side, earlier, backward=False).forward
        return 2 * history(earlier).forward + work.denoised(
            method.sampling, side, method.sampling.steps * step, base.vae
        )

    held = weights_of(unet, HALF) + weights_of(encoder, FLOAT)
    return work.drawn(panel, held, window=method.window, vae=base.vae)


class _Encoder(nn.Module):
    """The networks of `HistoryEncoder`, without its words."""

    def __init__(self, text: nn.Module, vision: nn.Module, pairs: nn.Module) -> None:
        super().__init__()
        self.text, self.vision, self.pairs = text, vision, pairs


def _encoder(method: ArLdmConfig, base: StableDiffusionParts) -> _Encoder:
    width = sizes(base.text_encoder)["hidden_size"]
    if method.blip.reference == RANDOM:
        of_vision, of_text = random_sizes(method.blip, width)
        of_text = of_text | {"vocab_size": VOCABULARY}
    else:
        known = sizes(method.blip.reference)
        of_vision, of_text = known["vision_config"], known["text_config"] | {"is_decoder": True}
    with torch.device("meta"):
        vision = BlipVisionModel(BlipVisionConfig(**of_vision))
        pairs = BlipTextModel(BlipTextConfig(**of_text), add_pooling_layer=False)
    return in_bfloat16(_Encoder(meta_text_encoder(base.text_encoder), vision, pairs))


def _history(encoder: _Encoder, method: ArLdmConfig, earlier: int, *, backward: bool) -> PassCost:
    """One caption and ``earlier`` pairs."""
    words = torch.zeros(1, TEXT_TOKENS, device="meta", dtype=torch.long)
    told = torch.zeros(earlier, method.caption_length, device="meta", dtype=torch.long)
    side = method.blip.image_side
    images = torch.empty(earlier, 3, side, side, device="meta", dtype=torch.bfloat16)
    mask = torch.ones(1, 1, TEXT_TOKENS, TEXT_TOKENS, device="meta", dtype=torch.bool)

    def run() -> Tensor:
        caption: Tensor = encoder.text(input_ids=words, attention_mask=mask).last_hidden_state.flatten(0, 1)
        if not earlier:
            return caption
        seen = encoder.vision(images, interpolate_pos_encoding=True).last_hidden_state
        pairs = encoder.pairs(input_ids=told, encoder_hidden_states=seen).last_hidden_state
        return torch.cat([caption, pairs.flatten(0, 1)])

    return count_pass(encoder, run, backward=backward)


def _unet(
    unet: nn.Module, method: ArLdmConfig, base: StableDiffusionParts, side: int, earlier: int, *, backward: bool
) -> PassCost:
    length, width = TEXT_TOKENS + earlier * method.caption_length, sizes(base.text_encoder)["hidden_size"]
    context = torch.empty(1, length, width, device="meta", dtype=torch.bfloat16)
    visible = torch.ones(1, length, device="meta", dtype=torch.bool)
    latents, timesteps = meta_latents(base, side), torch.empty(1, device="meta")

    def run() -> Tensor:
        predicted: Tensor = unet(
            latents, timesteps, encoder_hidden_states=context, encoder_attention_mask=visible, return_dict=False
        )[0]
        return predicted

    return count_pass(unet, run, backward=backward)


COSTS: Costs = {"ar_ldm": _train, "generate_ar_ldm": _draw}
