"""The exponential moving average of the trained weights (EMA): smoother than the weights of any one step.

Ours, and off by default: neither the paper nor the reference code averages.
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from diffsensei.training.parts import local


class WeightAverage:
    """The average of ``parameters`` (float32, by name), in float32 on their device, with their initial values as start.

    After optimizer step ``step`` (from 0) it is d * average + (1 - d) * weights, with d = `decay_at(decay, step)`: a
    function of the step alone, so the averages are all there is to save.
    """

    def __init__(self, parameters: Mapping[str, nn.Parameter], decay: float) -> None:
        assert all(parameter.dtype == torch.float32 for parameter in parameters.values()), "trained weights are float32"
        self._decay = decay
        self._parameters = dict(parameters)
        self._averages = {name: parameter.detach().clone() for name, parameter in parameters.items()}

    def update(self, step: int) -> None:
        """Take in the weights as optimizer step ``step`` (from 0) left them."""
        weight = 1.0 - decay_at(self._decay, step)
        with torch.no_grad():
            torch._foreach_lerp_(_parts(self._averages), _parts(self._parameters), weight)

    def state(self) -> dict[str, Tensor]:
        """The averages by parameter name, as a checkpoint keeps them."""
        return {name: average.contiguous() for name, average in self._averages.items()}

    def restore(self, saved: Mapping[str, Tensor]) -> None:
        """Go on from a checkpoint's averages."""
        for name, average in self._averages.items():
            local(average).copy_(local(saved[name]))

    def give_to_parameters(self) -> None:
        """Replace the weights by their averages: the end of training."""
        with torch.no_grad():
            torch._foreach_copy_(_parts(self._parameters), _parts(self._averages))


def _parts(tensors: Mapping[str, Tensor]) -> list[Tensor]:
    return [local(tensor) for tensor in tensors.values()]


def decay_at(decay: float, step: int) -> float:
    """The share of the average that update ``step`` (from 0) keeps: ``decay``, less at first so that it soon forgets
    the initial weights."""
    return min(decay, (1 + step) / (10 + step))
