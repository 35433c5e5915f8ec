"""Weights in the layouts of the original DiffSensei, in and out: its released folder, its checkpoints, SEED-X's Llama.

One way in: what is read here becomes this project's own pipeline, stage outputs or foundations. Pickles are only ever
read as tensors, and every file must hold exactly the tensors its network has.
"""

import diffsensei.models  # noqa: F401  before diffusers: torchvision must be importable beside a CPU build of torch
