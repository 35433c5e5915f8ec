"""StoryDiffusion (NeurIPS 2024, arXiv 2405.01434): panels of a page share their self-attention; nothing is trained."""
