"""AR-LDM (WACV 2024, arXiv 2211.10950): latent diffusion on the caption and on every earlier image with its caption.

Written from the paper's equations and public descriptions of its behaviour; no weights of it are published.
"""
