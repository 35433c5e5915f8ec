"""A denoising step recorded as one CUDA graph: its kernels are then launched together.

Small panels keep a GPU waiting, since a step launches thousands of kernels of microseconds each, one by one from
Python. A recording repeats the very kernels, so that results are the same to the bit.
"""

import torch
from torch import Tensor

from diffsensei.diffusion.guidance import Predict


def recorded(predict: Predict) -> Predict:
    """``predict`` for one denoising loop: it runs as it is at the first call, is recorded at the second, and from then
    on only repeated.

    The first call makes what is made once (masks, keys and values, compiled blocks). All calls must be of one shape
    and launch the same kernels, and what they read beside their arguments must stay where it is.
    Raises ValueError for latents that are not on a CUDA device.
    """
    recording: _Recording | None = None
    calls = 0

    def call(latents: Tensor, timesteps: Tensor) -> Tensor:
        nonlocal recording, calls
        if latents.device.type != "cuda":
            raise ValueError(
                f"CUDA graphs: expected a CUDA device, got {latents.device}; set runtime.cuda_graphs=false"
            )
        calls += 1
        if calls == 1:
            return predict(latents, timesteps)
        recording = recording or _Recording(predict, latents, timesteps)
        return recording.repeat(latents, timesteps)

    return call


class _Recording:
    """The kernels of ``predict``, with memory of their own for arguments and result."""

    def __init__(self, predict: Predict, latents: Tensor, timesteps: Tensor) -> None:
        self._latents, self._timesteps = latents.clone(), timesteps.clone()
        self._graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self._graph):
            self._result = predict(self._latents, self._timesteps)

    def repeat(self, latents: Tensor, timesteps: Tensor) -> Tensor:
        self._latents.copy_(latents)
        self._timesteps.copy_(timesteps)
        self._graph.replay()
        return self._result.clone()
