"""Diffusion proper, free of networks: noising and objective, guidance, sampling (SDXL's schedule)."""
