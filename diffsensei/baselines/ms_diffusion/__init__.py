"""MS-Diffusion (ICLR 2025, arXiv 2406.07209): subjects by image and box, on a frozen SDXL."""
