"""What StoryGen minimises, in its two stages: single panels, then panels after others."""

from dataclasses import dataclass

import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from torch import Tensor, nn

from diffsensei.baselines.stable_diffusion import encode_captions
from diffsensei.baselines.storygen.context import Features, Keep, Read, behind_one_another, reference_timesteps
from diffsensei.baselines.storygen.pixels import PixelRange, earlier_pixels
from diffsensei.config.baselines import StoryGenDrops
from diffsensei.models.box_masks import dialog_mask
from diffsensei.models.diffusion_loss import Noised, Noising
from diffsensei.models.text import TextEncoder
from diffsensei.training.story_batch import StoryBatch


class StoryGenObjective(nn.Module):
    """Trains what ``unet`` declares trainable. Autoencoder and text encoder are frozen."""

    def __init__(
        self,
        unet: UNet2DConditionModel,
        text_encoder: TextEncoder,
        drops: StoryGenDrops,
        scaling_factor: float,
        *,
        mask_dialogs: bool,
        vae: AutoencoderKL | None = None,
    ) -> None:
        """With ``vae`` the panels before are read (stage 2), without it every panel is by itself (stage 1)."""
        super().__init__()
        self.unet = unet
        self.text_model = text_encoder.model.requires_grad_(False)
        self.vae = None if vae is None else vae.requires_grad_(False)
        self._text = text_encoder
        self._drops, self._mask_dialogs, self._scaling_factor = drops, mask_dialogs, scaling_factor
        self._noising = Noising(scaling_factor)

    def forward(self, batch: StoryBatch, generator: torch.Generator) -> dict[str, Tensor]:
        noised = self._noising(batch.moments, generator)
        luck = torch.rand(2, len(batch.captions), generator=generator, device=generator.device).cpu()
        no_text = luck[0] < self._drops.text_rate
        captions = ["" if drop else caption for drop, caption in zip(no_text.tolist(), batch.captions, strict=True)]
        condition = None
        if self.vae is not None:
            count = draw_count(self._drops, batch.earlier_exists.shape[1], generator)
            earlier = EarlierPanels.last(batch, count).without(luck[1] < self._drops.context_rate)
            with torch.no_grad():
                condition = Read(self._features(earlier, noised, generator))
        text = self._encoded(captions)
        predicted = self.unet(
            noised.latents,
            noised.timesteps,
            encoder_hidden_states=text,
            cross_attention_kwargs={"condition": condition},
            return_dict=False,
        )[0]
        squares = (predicted.float() - noised.noise.float()).square()
        if self._mask_dialogs:
            # Mean over everything, not over what is left (published code).
            inside = dialog_mask(batch.dialog_boxes, batch.dialog_exists, *squares.shape[-2:])
            squares = squares * ~inside
        return {"loss": squares.mean()}

    def _encoded(self, captions: list[str]) -> Tensor:
        with torch.no_grad():
            return encode_captions(self._text, captions)[0].float()

    def _features(self, earlier: "EarlierPanels", noised: Noised, generator: torch.Generator) -> Features:
        assert self.vae is not None
        shape = latent_shape(self.vae, earlier.images)
        draws = torch.randn(2, *shape, generator=generator, device=generator.device).to(earlier.images.device)
        latents = encode_earlier(self.vae, earlier, self._scaling_factor, draws[0])
        noise = draws[1, :, :1]
        return context_features(
            self.unet,
            self._noising,
            latents,
            noise.expand_as(latents),
            noised.timesteps,
            self._encoded(earlier.flat_captions()),
        )


@dataclass(frozen=True, eq=False)
class EarlierPanels:
    """n earlier panels of each of B: images (B, n, S, S) uint8, and captions; empty slots have exists False."""

    images: Tensor
    captions: tuple[tuple[str, ...], ...]
    exists: Tensor

    @classmethod
    def last(cls, batch: StoryBatch, count: int) -> "EarlierPanels":
        """The last ``count`` of each panel, oldest first; those that are not there come first, as empty slots."""
        images = torch.zeros_like(batch.earlier_images[:, :count])
        exists = torch.zeros_like(batch.earlier_exists[:, :count])
        captions = []
        for row, found in enumerate(batch.earlier_exists.sum(dim=1).tolist()):
            kept = min(found, count)
            images[row, count - kept :] = batch.earlier_images[row, found - kept : found]
            exists[row, count - kept :] = True
            captions.append(("",) * (count - kept) + batch.earlier_captions[row][found - kept : found])
        return cls(images, tuple(captions), exists)

    def without(self, dropped: Tensor) -> "EarlierPanels":
        """Nothing there where ``dropped`` (B,)."""
        captions = tuple(
            ("",) * len(row) if drop else row for row, drop in zip(self.captions, dropped.tolist(), strict=True)
        )
        return EarlierPanels(self.images, captions, self.exists & ~dropped.to(self.exists.device).unsqueeze(1))

    def flat_captions(self) -> list[str]:
        return [caption for row in self.captions for caption in row]


def latent_shape(vae: AutoencoderKL, images: Tensor) -> tuple[int, ...]:
    """(B, n, C, h, w) of the latents of ``images`` (B, n, S, S)."""
    side = images.shape[-1] // 2 ** (len(vae.config["block_out_channels"]) - 1)
    return *images.shape[:2], vae.config["latent_channels"], side, side


def encode_earlier(
    vae: AutoencoderKL,
    earlier: EarlierPanels,
    scaling_factor: float,
    noise: Tensor,
    pixel_range: PixelRange = "signed",
) -> Tensor:
    """Latents (B, n, C, h, w), float32, drawn from the posterior by ``noise`` of that shape; an empty slot is the zero
    image in any range, which the autoencoder takes for mid-grey."""
    pixels = earlier_pixels(earlier.images.flatten(0, 1), pixel_range)
    pixels = pixels * earlier.exists.flatten()[:, None, None, None]
    posterior = vae.encode(pixels.to(vae.dtype)).latent_dist
    latents = (posterior.mean + posterior.std * noise.flatten(0, 1).to(posterior.mean.dtype)) * scaling_factor
    return latents.float().unflatten(0, earlier.images.shape[:2])


def context_features(
    unet: nn.Module, noising: Noising, latents: Tensor, noise: Tensor, timesteps: Tensor, text: Tensor
) -> Features:
    """What ``unet`` has of n earlier panels of each of B: (B, n*L, C) per layer.

    ``latents`` and ``noise`` (B, n, C, h, w), the panels' ``timesteps`` (B,), the earlier captions' ``text`` (B*n, T,
    C), in whose precision the UNet computes.
    """
    count = latents.shape[1]
    at = reference_timesteps(timesteps, count).flatten()
    keep = Keep()
    unet(
        noising.at(latents.flatten(0, 1), noise.flatten(0, 1), at).to(text.dtype),
        at,
        encoder_hidden_states=text,
        cross_attention_kwargs={"condition": keep},
    )
    return behind_one_another(keep.features, count)


def draw_count(drops: StoryGenDrops, window: int, generator: torch.Generator) -> int:
    """How many earlier panels a batch reads: all of the window, all but one, or one (published rates .3, .3, .4)."""
    luck = float(torch.rand(1, generator=generator, device=generator.device))
    if luck < drops.all_rate:
        return window
    return max(window - 1, 1) if luck < drops.all_rate + drops.all_but_one_rate else 1
