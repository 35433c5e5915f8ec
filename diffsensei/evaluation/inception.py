"""Inception v3 as clean-fid looks through it: what FID is defined on."""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from diffsensei.devices import own_device
from diffsensei.evaluation.feature_cache import Embed, Gray
from diffsensei.evaluation.features import BATCH_SIZE, placed

INCEPTION_FILE = "inception-2015-12-05.pt"
INCEPTION_EDGE = 299
FIRST_POOL = ("conv", "conv_1", "conv_2", "pool0")
"""The layers of NVIDIA's file up to its first pooling."""


def inception_embedder(path: str) -> Embed:
    """clean-fid's features: bicubic resizing of each channel to 299x299 without rounding, Inception v3 pool3.

    ``path`` is an existing ``inception-2015-12-05.pt``; nothing is downloaded. TorchScript files are code: only give a
    file you trust. Raises ValueError where it is missing.
    """
    model = _inception(path)
    return partial(_inception_batches, forward=model, width=2048)


def first_pool_embedder(path: str) -> Embed:
    """64 features: the mean over the picture of Inception's first pooling layer; pixels as `inception_embedder`'s.

    Raises ValueError where the file is missing or has not the layers of NVIDIA's.
    """
    layers = _inception(path).layers
    absent = [name for name in FIRST_POOL if not hasattr(layers, name)]
    if absent:
        raise ValueError(f"{path}: expected layers {', '.join(FIRST_POOL)}, lacks {', '.join(absent)}")

    def forward(pixels: torch.Tensor) -> torch.Tensor:
        state = (pixels - 128) / 128
        for name in FIRST_POOL:
            state = getattr(layers, name)(state)
        return state.mean((2, 3))

    return partial(_inception_batches, forward=forward, width=64)


def _inception(path: str) -> Any:
    if not Path(path).is_file():
        raise ValueError(f"no file {path}; put NVIDIA's {INCEPTION_FILE} there")
    from cleanfid.inception_torchscript import InceptionV3W

    return placed(InceptionV3W(str(Path(path).parent), download=False).eval())


def _inception_batches(
    images: Sequence[Gray], forward: Callable[[torch.Tensor], torch.Tensor], width: int
) -> NDArray[np.float32]:
    features = []
    for start in range(0, len(images), BATCH_SIZE):
        resized = [clean_resize(image, INCEPTION_EDGE) for image in images[start : start + BATCH_SIZE]]
        pixels = torch.from_numpy(np.stack(resized))[:, None].expand(-1, 3, -1, -1)
        with torch.no_grad():
            features.append(forward(pixels.to(own_device())).float().cpu().numpy())
    return np.concatenate(features) if features else np.zeros((0, width), np.float32)


def clean_resize(image: Gray, edge: int) -> NDArray[np.float32]:
    """``image`` (H, W) at (edge, edge), float 0..255: Pillow's antialiased bicubic on floats, as clean-fid's."""
    resized = Image.fromarray(image.astype(np.float32)).resize((edge, edge), Image.Resampling.BICUBIC)
    return np.asarray(resized).clip(0, 255)
