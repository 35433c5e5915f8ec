"""StoryGen (CVPR 2024, arXiv 2306.00973): the UNet reads its own features of the panels before."""
