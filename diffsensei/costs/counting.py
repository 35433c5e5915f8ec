"""Operations and memory of one pass through a network, from shapes alone.

The real network runs on PyTorch's meta device, which computes shapes and no values: a count takes seconds at any size.
One multiply-add is two operations.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode


@dataclass(frozen=True)
class PassCost:
    """One forward pass, and its backward pass where there is one."""

    forward: float
    """Operations."""
    backward: float = 0.0
    """Operations; 0 where nothing is trained through it."""
    kept_bytes: int = 0
    """Activations that the backward pass reads, without recomputation; weights are not among them."""

    @property
    def total(self) -> float:
        """Operations of both."""
        return self.forward + self.backward

    def __add__(self, other: "PassCost") -> "PassCost":
        """One after the other."""
        return PassCost(
            self.forward + other.forward, self.backward + other.backward, self.kept_bytes + other.kept_bytes
        )

    def recomputed(self) -> "PassCost":
        """With activations that are computed again in the backward pass; what is kept for that is not counted."""
        return PassCost(self.forward, self.backward + self.forward)

    def times(self, count: float) -> "PassCost":
        """``count`` of them, on average: what is kept as well."""
        return PassCost(count * self.forward, count * self.backward, round(count * self.kept_bytes))


def count_pass(network: nn.Module, run: Callable[[], Tensor], *, backward: bool) -> PassCost:
    """The cost of ``run``, which calls ``network`` (on the meta device) and returns what is differentiated."""
    weights = {_storage(tensor) for tensor in (*network.parameters(), *network.buffers())}
    kept: dict[int, tuple[Any, int]] = {}

    def keep(tensor: Tensor) -> Tensor:
        key = _storage(tensor)
        if key not in weights:
            storage = tensor.untyped_storage()
            kept[key] = (storage, storage.nbytes())  # held, so that no later storage takes its key
        return tensor

    def give(tensor: Tensor) -> Tensor:
        return tensor

    with FlopCounterMode(display=False) as counter:
        if not backward:
            with torch.no_grad():
                run()
            return PassCost(counter.get_total_flops())
        with torch.autograd.graph.saved_tensors_hooks(keep, give):
            result = run()
        forward = counter.get_total_flops()
        result.sum().backward()
    return PassCost(forward, counter.get_total_flops() - forward, sum(size for _, size in kept.values()))


def count_forward(network: nn.Module, run: Callable[[], Tensor]) -> float:
    """Operations of ``run`` without gradients."""
    return count_pass(network, run, backward=False).forward


def count_weights(network: nn.Module) -> tuple[int, int]:
    """Parameters that are trained, and all others."""
    trained = sum(p.numel() for p in network.parameters() if p.requires_grad)
    return trained, sum(p.numel() for p in network.parameters()) - trained


def _storage(tensor: Tensor) -> int:
    return int(tensor.untyped_storage()._cdata)
