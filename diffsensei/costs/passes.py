"""One pass of each network for one panel, crop or caption, counted once and kept."""

from functools import cached_property, lru_cache

import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from torch import Tensor
from transformers import LlamaForCausalLM, LlamaModel

from diffsensei.config import ExperimentConfig
from diffsensei.config.schema import GeneratorStageConfig
from diffsensei.costs.counting import PassCost, count_forward, count_pass, count_weights
from diffsensei.costs.networks import (
    TEXT_TOKENS,
    meta_conditions,
    meta_llm,
    meta_manga_unet,
    meta_text_encoder,
    meta_unet,
    meta_vae,
    meta_vision_tower,
    vae_factor,
)
from diffsensei.models.conditions import Conditions
from diffsensei.models.unet import noise_predictor, predict_noise
from diffsensei.training.trained_parameters import select_trained


class Passes:
    """Costs of the networks of ``config``, on square panels of ``side`` pixels: within a tier, shape changes little."""

    def __init__(self, config: ExperimentConfig) -> None:
        self._config = config
        # Bound methods: what they keep lives as long as this object.
        self.unet = lru_cache(self._unet)
        self.loop = lru_cache(self._loop)
        self.vae_encode = lru_cache(self._vae_encode)
        self.vae_decode = lru_cache(self._vae_decode)
        self.vae_weights = lru_cache(self._vae_weights)
        self.caption = lru_cache(self._caption)
        self.image = lru_cache(self._image)
        self.prompt = lru_cache(self._prompt)

    def network(self, trained: GeneratorStageConfig | None, conditioned: bool) -> UNet2DConditionModel:
        """The UNet, which declares what is trained of it; ``trained`` None: nothing is."""
        unet = (meta_manga_unet if conditioned else meta_unet)(self._config).requires_grad_(False)
        if trained is not None:
            select_trained(unet, trained)
        return unet

    def _unet(self, side: int, trained: GeneratorStageConfig | None, conditioned: bool, backward: bool) -> PassCost:
        """With ``backward`` and nothing trained, gradients reach the character tokens (stage 2)."""
        conditions = self._conditions(conditioned)
        if backward and conditions.character_tokens is not None:
            conditions.character_tokens.requires_grad_()
        return self.sdxl(self.network(trained, conditioned), side, conditions, backward=backward)

    def _loop(self, side: int, conditioned: bool, steps: int) -> float:
        """Operations of drawing one panel under one condition, in so many steps."""
        return self.sdxl_loop(self.network(None, conditioned), side, self._conditions(conditioned), steps)

    def _conditions(self, conditioned: bool) -> Conditions:
        queries = self._config.model.resampler.num_queries if conditioned else None
        return meta_conditions(self._config, 1, queries=queries)

    def sdxl(self, unet: UNet2DConditionModel, side: int, conditions: Conditions, *, backward: bool) -> PassCost:
        """An SDXL UNet (on the meta device) on one panel under ``conditions``."""
        latents, timesteps = self._latents(unet, side)
        return count_pass(unet, lambda: predict_noise(unet, latents, timesteps, conditions), backward=backward)

    def sdxl_loop(self, unet: UNet2DConditionModel, side: int, conditions: Conditions, steps: int) -> float:
        """Operations of ``steps`` such passes in a denoising loop, where keys and values of the conditions are made
        once."""
        latents, timesteps = self._latents(unet, side)
        predict = noise_predictor(unet, conditions)
        first, later = (count_forward(unet, lambda: predict(latents, timesteps)) for _ in range(2))
        return first + (steps - 1) * later

    def _latents(self, unet: UNet2DConditionModel, side: int) -> tuple[Tensor, Tensor]:
        edge = side // vae_factor(self._config.model.foundations.vae)
        latents = torch.empty(1, unet.config["in_channels"], edge, edge, device="meta", dtype=torch.bfloat16)
        return latents, torch.empty(1, device="meta")

    def _vae_encode(self, reference: str, side: int) -> float:
        """Operations."""
        vae = meta_vae(reference)
        image = torch.empty(1, 3, side, side, device="meta")
        return count_forward(vae, lambda: vae.encode(image).latent_dist.parameters)

    def _vae_decode(self, reference: str, side: int) -> float:
        """Operations."""
        vae: AutoencoderKL = meta_vae(reference)
        edge = side // vae_factor(reference)
        latents = torch.empty(1, vae.config["latent_channels"], edge, edge, device="meta")
        return count_forward(vae, lambda: vae.decode(latents).sample)

    def _vae_weights(self, reference: str) -> int:
        """Parameters of the autoencoder."""
        return sum(count_weights(meta_vae(reference)))

    def _caption(self, reference: str) -> float:
        """Operations of a text encoder on one caption, padded to its length."""
        encoder = meta_text_encoder(reference)
        ids = torch.zeros(1, TEXT_TOKENS, device="meta", dtype=torch.long)
        mask = _every_token(TEXT_TOKENS)
        return count_forward(encoder, lambda: encoder(input_ids=ids, attention_mask=mask).last_hidden_state)

    def _image(self, reference: str) -> float:
        """Operations of an image encoder on one picture."""
        tower, side = meta_vision_tower(reference)
        image = torch.empty(1, 3, side, side, device="meta")
        return count_forward(
            tower, lambda: tower(image, interpolate_pos_encoding=side != tower.config.image_size).last_hidden_state
        )

    @cached_property
    def captions(self) -> float:
        """Operations of SDXL's text encoders on one caption."""
        names = self._config.model.foundations
        return self.caption(names.text_encoder) + self.caption(names.text_encoder_2)

    @cached_property
    def image_encoders(self) -> float:
        """Operations of both image encoders on one crop."""
        names = self._config.model.foundations
        return self.image(names.clip_image_encoder) + self.image(names.magi_image_encoder)

    def _prompt(self, reference: str, length: int) -> PassCost:
        """A frozen language model on ``length`` tokens; gradients pass through it."""
        return language_pass(meta_llm(reference).model, length, backward=True)

    @cached_property
    def adapter_prompt(self) -> PassCost:
        """The MLLM adapter's on one panel's prompt (`identity_prompt`)."""
        slots = self._config.data.conditioning.max_characters * self._config.model.resampler.num_queries
        length = self._config.model.adapter.max_caption_tokens + 2 * (slots + 2) + 4
        return self.prompt(self._config.model.foundations.llm, length)

    @cached_property
    def llm(self) -> LlamaForCausalLM:
        """The MLLM adapter's language model, without what is trained of it."""
        return meta_llm(self._config.model.foundations.llm)


def language_pass(decoder: LlamaModel, length: int, *, backward: bool) -> PassCost:
    """``decoder`` (on the meta device) up to its last norm on one row of ``length`` tokens; no word is scored."""
    dtype = next(decoder.parameters()).dtype
    embedded = torch.empty(1, length, decoder.config.hidden_size, device="meta", dtype=dtype)
    embedded.requires_grad_(backward)
    mask = _every_token(length)

    def run() -> Tensor:
        output: Tensor = decoder(inputs_embeds=embedded, attention_mask=mask, use_cache=False).last_hidden_state
        return output

    return count_pass(decoder, run, backward=backward)


def _every_token(length: int) -> Tensor:
    # Made here: transformers looks into position ids for it, which have no values on the meta device.
    return torch.ones(1, 1, length, length, device="meta", dtype=torch.bool)
