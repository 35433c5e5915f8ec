"""A panel as the language model knows it: P tokens of a frozen vision tower, on a square grid."""

from typing import Any, Protocol

import torch
from torch import Tensor

from diffsensei.baselines.seed_story.qwen_visual import build_qwen_visual
from diffsensei.baselines.seed_story.qwen_weights import find_tower
from diffsensei.foundations.loading import load_clip_image_encoder


class VisualEncoder(Protocol):
    """Squashed panels to feature tokens."""

    side: int
    """Edge (pixels) of its input."""
    num_tokens: int
    """P, a square number."""
    dim: int
    deviations: tuple[str, ...]
    """From the published tower, for the report."""

    def encode(self, images: Tensor) -> Tensor:
        """uint8 grey (K, side, side) -> (K, P, dim)."""
        ...

    def blank(self) -> Tensor:
        """(P, dim): of an image that is zero once preprocessed; what guidance starts from."""
        ...


class ClipPatches:
    """The penultimate patch tokens of a CLIP vision tower: what stands in for Qwen-VL's tower at small sizes."""

    deviations: tuple[str, ...] = ("Features are the patch tokens of a CLIP tower, not those of Qwen-VL's.",)

    def __init__(self, reference: str, dtype: torch.dtype, device: torch.device) -> None:
        encoder = load_clip_image_encoder(reference, dtype)
        self._model = encoder.model.to(device).eval().requires_grad_(False)  # type: ignore[arg-type]
        config = self._model.config
        self.side: int = config.image_size
        self.num_tokens: int = (config.image_size // config.patch_size) ** 2
        self.dim: int = config.hidden_size
        processor: Any = encoder.processor
        self._mean = torch.tensor(processor.image_mean, device=device).view(3, 1, 1)
        self._std = torch.tensor(processor.image_std, device=device).view(3, 1, 1)

    @torch.no_grad()
    def encode(self, images: Tensor) -> Tensor:
        pixels = ((images.float() / 255.0).unsqueeze(1) - self._mean) / self._std
        return self._tokens(pixels)

    @torch.no_grad()
    def blank(self) -> Tensor:
        return self._tokens(torch.zeros(1, 3, self.side, self.side, device=self._mean.device))[0]

    def _tokens(self, pixels: Tensor) -> Tensor:
        tokens: Tensor = self._model(pixels.to(self._model.dtype), output_hidden_states=True).hidden_states[-2]
        return tokens[:, 1:].float()


def load_visual(reference: str, dtype: torch.dtype, device: torch.device) -> VisualEncoder:
    """Qwen-VL's tower where ``reference`` names one (`qwen_weights.find_tower`), else CLIP's.

    Raises ValueError for weights that are missing or do not fit.
    """
    found = find_tower(reference)
    if found is not None:
        return build_qwen_visual(found.state, found.source, dtype, device)
    return ClipPatches(reference, dtype, device)
