"""Diffusion proper, free of networks: noising and objective, guidance, sampling (SDXL's schedule)."""

import diffsensei.models.torchvision_schemas  # noqa: F401  side effect on import: before diffusers
