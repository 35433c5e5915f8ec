"""One pass of each network for one panel or crop, counted once and kept."""

from functools import cached_property, lru_cache

import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from torch import Tensor

from diffsensei.config import ExperimentConfig
from diffsensei.config.schema import GeneratorStageConfig
from diffsensei.costs.counting import PassCost, count_pass, count_weights
from diffsensei.costs.networks import meta_conditions, meta_llm, meta_unet, meta_vae, meta_vision_tower
from diffsensei.models.unet import predict_noise
from diffsensei.training.trained_parameters import select_trained


class Passes:
    """Costs of the networks of ``config``, on square panels of ``side`` pixels: within a tier, shape changes little."""

    def __init__(self, config: ExperimentConfig) -> None:
        self._config = config
        self.unet = lru_cache(self._unet)
        self.vae_encode = lru_cache(self._vae_encode)
        self.vae_decode = lru_cache(self._vae_decode)

    def unet_weights(self, trained: GeneratorStageConfig | None, *, conditioned: bool) -> tuple[int, int]:
        """Trained and frozen parameters. ``trained`` None: the whole UNet is frozen."""
        unet = meta_unet(self._config, conditioned=conditioned).requires_grad_(False)
        if trained is not None:
            select_trained(unet, trained)
        return count_weights(unet)

    def _unet(self, side: int, trained: GeneratorStageConfig | None, conditioned: bool, backward: bool) -> PassCost:
        """With ``backward`` and nothing trained, gradients reach the character tokens (stage 2)."""
        unet = meta_unet(self._config, conditioned=conditioned).requires_grad_(False)
        if trained is not None:
            select_trained(unet, trained)
        conditions = meta_conditions(self._config, 1, conditioned=conditioned)
        if backward and conditions.character_tokens is not None:
            conditions.character_tokens.requires_grad_()
        edge = side // self._vae_factor
        latents = torch.empty(1, unet.config["in_channels"], edge, edge, device="meta", dtype=torch.bfloat16)
        timesteps = torch.empty(1, device="meta")
        return count_pass(unet, lambda: predict_noise(unet, latents, timesteps, conditions), backward=backward)

    def _vae_encode(self, side: int) -> float:
        """Operations."""
        image = torch.empty(1, 3, side, side, device="meta")
        return count_pass(self._vae, lambda: self._vae.encode(image).latent_dist.parameters, backward=False).forward

    def _vae_decode(self, side: int) -> float:
        """Operations."""
        edge = side // self._vae_factor
        latents = torch.empty(1, self._vae.config["latent_channels"], edge, edge, device="meta")
        return count_pass(self._vae, lambda: self._vae.decode(latents).sample, backward=False).forward

    @cached_property
    def vae_weights(self) -> int:
        """Parameters of the autoencoder."""
        return sum(count_weights(self._vae))

    @cached_property
    def image_encoders(self) -> float:
        """Operations of both image encoders on one crop."""
        total = 0.0
        for part in ("clip_image_encoder", "magi_image_encoder"):
            tower, side = meta_vision_tower(self._config, part)
            image = torch.empty(1, 3, side, side, device="meta")
            total += count_pass(tower, lambda: tower(image).last_hidden_state, backward=False).forward  # noqa: B023
        return total

    @cached_property
    def llm(self) -> PassCost:
        """The frozen language model on one panel's prompt (`identity_prompt`); gradients pass through it."""
        model = meta_llm(self._config)
        slots = self._config.data.conditioning.max_characters * self._config.model.resampler.num_queries
        length = self._config.model.adapter.max_caption_tokens + 2 * (slots + 2) + 4
        embedded = torch.empty(1, length, model.config.hidden_size, device="meta", dtype=torch.bfloat16)
        embedded.requires_grad_()
        # Made here: transformers looks into position ids for it, which have no values on the meta device.
        mask = torch.ones(1, 1, length, length, device="meta", dtype=torch.bool)

        def run() -> Tensor:
            output: Tensor = model.model(inputs_embeds=embedded, attention_mask=mask, use_cache=False).last_hidden_state
            return output

        return count_pass(model, run, backward=True)

    @cached_property
    def llm_weights(self) -> int:
        """Parameters of the language model."""
        return sum(count_weights(meta_llm(self._config)))

    @cached_property
    def _vae(self) -> AutoencoderKL:
        return meta_vae(self._config)

    @property
    def _vae_factor(self) -> int:
        return 2 ** (len(self._vae.config["block_out_channels"]) - 1)
