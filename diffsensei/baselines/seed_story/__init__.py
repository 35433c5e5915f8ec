"""SEED-Story (arXiv 2407.08683): a language model tells panels as image features, an SDXL without text draws."""
