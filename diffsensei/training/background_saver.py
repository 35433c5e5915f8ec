"""Checkpoints written beside training: a save copies the tensors and returns, a thread of its own does the rest.

What training waits for is the copy alone (to page-locked memory where the tensors are on a GPU); digests, files and
flushes, which take many times as long, overlap with the next steps. What is written is the state at the save, so a
resumed run does not depend on when the writing ended.
"""

from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Self

import torch
from torch import Tensor

from diffsensei.training.checkpoints import Checkpoint, CheckpointFolder
from diffsensei.training.parts import in_place_of, local

Groups = Mapping[str, Mapping[str, Tensor]]


class BackgroundSaver:
    """Saves into ``folder``, one checkpoint at a time; leaving the ``with`` block waits for the last one."""

    def __init__(self, folder: CheckpointFolder) -> None:
        self._folder = folder
        self._thread = ThreadPoolExecutor(1, "checkpoint")
        self._writing: Future[None] | None = None
        self._copies: dict[str, dict[str, Tensor]] = {}
        """Kept from save to save: fresh memory costs more time than the copy itself."""

    def save(self, checkpoint: Checkpoint) -> None:
        """Commit ``checkpoint`` as it is now, later. Waits for the one before, and raises what stopped that one."""
        self.wait()
        copies, mesh = self._copied(checkpoint.tensors), self._folder.mesh
        tensors = {
            group: {name: in_place_of(tensor, copies[group][name], mesh) for name, tensor in own.items()}
            for group, own in checkpoint.tensors.items()
        }
        self._writing = self._thread.submit(
            self._folder.save, Checkpoint(checkpoint.step, tensors, dict(checkpoint.state))
        )

    def wait(self) -> None:
        """Return once the last checkpoint is on disk; raises what stopped it, such as OSError on a full disk."""
        writing, self._writing = self._writing, None
        if writing is not None:
            writing.result()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            self.wait()
        finally:
            self._thread.shutdown()

    def _copied(self, groups: Groups) -> dict[str, dict[str, Tensor]]:
        """What this process holds of the tensors on the CPU, contiguous, in memory that nothing else writes to until
        the next save."""
        on_gpu = False
        copies: dict[str, dict[str, Tensor]] = {}
        for group, tensors in groups.items():
            earlier, copies[group] = self._copies.get(group, {}), {}
            for name, tensor in tensors.items():
                part, copy = local(tensor.detach()), earlier.get(name)
                if copy is None or copy.shape != part.shape or copy.dtype != part.dtype:
                    copy = torch.empty(part.shape, dtype=part.dtype, pin_memory=part.is_cuda)
                copies[group][name] = copy.copy_(part, non_blocking=True)
                on_gpu = on_gpu or part.is_cuda
        if on_gpu:
            torch.cuda.synchronize()
        self._copies = copies
        return copies
