"""SIGTERM asks a training process to finish its step, save and leave: clusters send it before they take a node back."""

import contextlib
import signal
import threading
import time
from collections.abc import Iterator

import torch
from accelerate import Accelerator

PREEMPTED = 143
"""Exit code after SIGTERM, as a shell reports it (128 + 15)."""

SAME_REQUEST_S = 10.0
"""A scheduler signals every process of a job, and launchers pass it on: what comes so soon is the first one again."""


class Preemption:
    """Whether SIGTERM has reached any rank. The first one asks for a stop; one that comes later than its echoes ends
    the process at once."""

    def __init__(self, accelerator: Accelerator) -> None:
        self._flag = False
        self._asked_at = 0.0
        # Ranks agree over a CPU group: asking the accelerator would make it wait for the step on every step.
        self._group = torch.distributed.new_group(backend="gloo") if accelerator.num_processes > 1 else None

    @contextlib.contextmanager
    def watched(self) -> Iterator[None]:
        if threading.current_thread() is not threading.main_thread():
            yield  # only a main thread may handle signals; elsewhere SIGTERM keeps its default
            return
        previous = signal.signal(signal.SIGTERM, self._receive)
        try:
            yield
        finally:
            signal.signal(signal.SIGTERM, previous)

    def requested(self) -> bool:
        """The same answer on every rank."""
        if self._group is None:
            return self._flag
        flag = torch.tensor([int(self._flag)])
        torch.distributed.all_reduce(flag, torch.distributed.ReduceOp.MAX, group=self._group)
        return bool(flag.item())

    def _receive(self, number: int, frame: object) -> None:
        if not self._flag:
            self._flag, self._asked_at = True, time.monotonic()
        elif time.monotonic() - self._asked_at > SAME_REQUEST_S:
            raise SystemExit(PREEMPTED)
