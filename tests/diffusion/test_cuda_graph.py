import pytest
import torch
from torch import Tensor

from diffsensei.diffusion.cuda_graph import recorded

needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="CUDA graphs need a CUDA GPU")


def test_latents_elsewhere_are_refused() -> None:
    with pytest.raises(ValueError, match="expected a CUDA device, got cpu"):
        recorded(lambda latents, timesteps: latents)(torch.zeros(1), torch.zeros(1))


@needs_gpu
def test_a_recording_repeats_the_kernels_on_new_arguments() -> None:
    calls: list[int] = []
    weight = torch.randn(8, 8, device="cuda")

    def predict(latents: Tensor, timesteps: Tensor) -> Tensor:
        calls.append(1)
        return latents @ weight + timesteps

    call = recorded(predict)
    for step in range(5):
        latents = torch.randn(4, 8, device="cuda")
        timesteps = torch.full((1,), float(step), device="cuda")
        assert torch.equal(call(latents, timesteps), latents @ weight + timesteps)
    assert len(calls) == 2, "run once, recorded once"
