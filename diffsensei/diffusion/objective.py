"""The diffusion loss of all stages: DDPM noising of latents with SDXL's schedule, epsilon target, plain MSE.

Shapes: B panels, C latent channels, h x w latent size.
"""

import torch
from torch import Tensor

LOGVAR_RANGE = (-30.0, 20.0)
"""diffusers' DiagonalGaussianDistribution clamps the log variance here."""


def sample_latents(moments: Tensor, scaling_factor: float, generator: torch.Generator) -> Tensor:
    """Latents (B, C, h, w) drawn from the VAE posterior ``moments`` (B, 2C, h, w) = mean and log variance."""
    mean, logvar = moments.float().chunk(2, dim=1)
    std = torch.exp(0.5 * logvar.clamp(*LOGVAR_RANGE))
    return (mean + std * _randn_like(mean, generator)) * scaling_factor


def sample_noise(latents: Tensor, num_timesteps: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Standard normal noise like ``latents`` and timesteps (B,) uniform over 0 .. ``num_timesteps`` - 1."""
    noise = _randn_like(latents, generator)
    timesteps = torch.randint(num_timesteps, (len(latents),), generator=generator, device=generator.device)
    return noise, timesteps.to(latents.device)


def add_noise(latents: Tensor, noise: Tensor, timesteps: Tensor, alphas_cumprod: Tensor) -> Tensor:
    """x_t = sqrt(abar_t) x_0 + sqrt(1 - abar_t) eps (DDPM, equation 4), abar = ``alphas_cumprod`` (num_timesteps,)."""
    abar = alphas_cumprod[timesteps].view(-1, 1, 1, 1)
    return abar.sqrt() * latents + (1.0 - abar).sqrt() * noise


def epsilon_loss(noise_pred: Tensor, noise: Tensor) -> Tensor:
    """Mean squared error of the predicted noise, over everything, in float32."""
    return torch.nn.functional.mse_loss(noise_pred.float(), noise.float())


def _randn_like(tensor: Tensor, generator: torch.Generator) -> Tensor:
    """Drawn on the generator's device, so that a CPU generator gives the same noise everywhere."""
    return torch.randn(tensor.shape, generator=generator, device=generator.device).to(tensor.device)
