"""What training changes, and a checkpoint keeps: weights, optimizer state and, where there is one, the average."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from diffsensei.config.schema import TrainStageConfig
from diffsensei.training.averaging import WeightAverage
from diffsensei.training.optimizer import build_optimizer, moments, restore_moments
from diffsensei.training.parts import local


class TrainingState:
    """Of the ``objective``'s parameters that require gradients, whole or in parts."""

    def __init__(self, objective: nn.Module, config: TrainStageConfig) -> None:
        self.parameters = {
            name: parameter for name, parameter in objective.named_parameters() if parameter.requires_grad
        }
        self.optimizer = build_optimizer(config, self.parameters)
        self.average = None if config.ema_decay is None else WeightAverage(self.parameters, config.ema_decay)

    def tensors(self) -> dict[str, dict[str, Tensor]]:
        """Groups of tensors by name, sharing memory where they can."""
        groups = {
            "weights": {name: parameter.detach().contiguous() for name, parameter in self.parameters.items()},
            "optimizer": moments(self.optimizer, self.parameters),
        }
        if self.average is not None:
            groups["average"] = self.average.state()
        return groups

    def restore(self, groups: Mapping[str, Mapping[str, Tensor]]) -> None:
        """Go on from what `tensors` gave to a checkpoint."""
        with torch.no_grad():
            for name, parameter in self.parameters.items():
                local(parameter).copy_(local(groups["weights"][name]))
        restore_moments(self.optimizer, self.parameters, groups["optimizer"])
        if self.average is not None:
            self.average.restore(groups["average"])
