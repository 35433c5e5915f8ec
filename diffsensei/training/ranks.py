"""Work that processes do together, where what goes wrong on one of them is known to all."""

import atexit
from collections.abc import Callable
from typing import TypeVar

import torch.distributed as dist
from torch.distributed.device_mesh import DeviceMesh

T = TypeVar("T")


def leave_in_order() -> None:
    """End this process' groups when it ends: with their threads still running it may abort instead."""
    atexit.register(_leave)


def _leave() -> None:
    if dist.is_initialized():
        dist.destroy_process_group()


class Ranks:
    """The processes of ``mesh``, which must talk over the CPU; without one this process, alone."""

    def __init__(self, mesh: DeviceMesh | None) -> None:
        self._group = None if mesh is None else mesh.get_group()
        self.size = 1 if self._group is None else dist.get_world_size(self._group)
        self.rank = 0 if self._group is None else dist.get_rank(self._group)

    def together(self, work: Callable[[], T]) -> list[T]:
        """What ``work`` gives on each rank, in their order. Where it fails on one, OSError on the others."""
        if self._group is None:
            return [work()]
        result: T | None = None
        fault: Exception | None = None
        try:
            result = work()
        except Exception as error:  # of any kind: the others wait to hear of it
            fault = error
        told: list[tuple[T, str | None]] = [None] * self.size  # type: ignore[list-item]
        dist.all_gather_object(told, (result, fault and f"{type(fault).__name__}: {fault}"), group=self._group)
        if fault is not None:
            raise fault
        faults = [f"rank {rank}: {text}" for rank, (_, text) in enumerate(told) if text is not None]
        if faults:
            raise OSError("; ".join(faults))
        return [given for given, _ in told]

    def first(self, work: Callable[[], T]) -> T:
        """What ``work`` gives on rank 0, which alone does it."""
        if self.rank == 0:
            return self.together(work)[0]
        return self.together(lambda: None)[0]  # type: ignore[return-value]
