"""AdamW as the paper's training uses it, its learning rate, and its state by parameter name."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from diffsensei.config.schema import TrainStageConfig
from diffsensei.training.parts import local

ADAM_BETAS, ADAM_EPS = (0.9, 0.999), 1e-8
"""Reference code: AdamW's defaults."""
ADAM_STATE = ("step", "exp_avg", "exp_avg_sq")


def build_optimizer(config: TrainStageConfig, parameters: Mapping[str, nn.Parameter]) -> torch.optim.AdamW:
    """AdamW over all ``parameters``, with weight decay on each (reference code)."""
    return torch.optim.AdamW(
        parameters.values(),
        lr=config.learning_rate,
        betas=ADAM_BETAS,
        eps=ADAM_EPS,
        weight_decay=config.weight_decay,
        fused=True,
    )


def learning_rate(config: TrainStageConfig, step: int) -> float:
    """The rate of optimizer step ``step`` (from 0): linear warm-up, constant, linear decay toward zero."""
    rise = (step + 1) / max(config.warmup_steps, 1)
    fall = (config.steps - step) / (config.decay_steps + 1)
    return config.learning_rate * min(1.0, rise, fall)


def moments(optimizer: torch.optim.AdamW, parameters: Mapping[str, nn.Parameter]) -> dict[str, Tensor]:
    """The optimizer's state, each tensor under ``<kind>:<parameter name>``, as a checkpoint keeps it."""
    return {
        f"{kind}:{name}": value.detach().contiguous()
        for name, parameter in parameters.items()
        for kind, value in optimizer.state[parameter].items()
    }


def restore_moments(
    optimizer: torch.optim.AdamW, parameters: Mapping[str, nn.Parameter], saved: Mapping[str, Tensor]
) -> None:
    """Give ``optimizer`` the state that `moments` took of ``parameters`` of the same names."""
    for name, parameter in parameters.items():
        if f"step:{name}" in saved:  # a parameter that never had a gradient has no state
            optimizer.state[parameter] = {kind: _like(saved[f"{kind}:{name}"], parameter) for kind in ADAM_STATE}


def _like(value: Tensor, parameter: Tensor) -> Tensor:
    """``value`` on the parameter's device and, if it has its shape, in its memory layout."""
    if value.shape != parameter.shape:
        return value.to(parameter.device)
    copy = torch.empty_like(parameter)
    local(copy).copy_(local(value))
    return copy
