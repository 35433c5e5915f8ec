"""How long training waits for a checkpoint that is written beside it, against one that it writes itself."""

import statistics
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

from diffsensei.training.background_saver import BackgroundSaver
from diffsensei.training.checkpoints import Checkpoint, CheckpointFolder

TENSORS, SIDE = 50, 1024
"""50 matrices of 1024 x 1024 float32: 200 MB, a training state in small."""
SAVES = 5


def measured() -> str:
    """One line: seconds waited, of seconds that writing takes."""
    tensors = {"weights": {str(index): torch.randn(SIDE, SIDE) for index in range(TENSORS)}}
    with TemporaryDirectory(prefix="diffsensei-benchmark-") as root:
        one, other = CheckpointFolder(Path(root) / "waiting"), CheckpointFolder(Path(root) / "beside")
        waiting, beside = [], []
        with BackgroundSaver(other) as saver:
            # The first save of each makes its folder and memory; it is not counted.
            for step in range(SAVES + 1):
                checkpoint = Checkpoint(step, tensors, {})
                waiting.append(_seconds(lambda checkpoint=checkpoint: one.save(checkpoint)))  # type: ignore[misc]
                beside.append(_seconds(lambda checkpoint=checkpoint: saver.save(checkpoint)))  # type: ignore[misc]
                saver.wait()
        _check(one, other)
    waited, took = statistics.median(beside[1:]), statistics.median(waiting[1:])
    size = TENSORS * SIDE * SIDE * 4 / 1e6
    return (
        f"Checkpoint of {size:.0f} MB: training waits {1e3 * waited:.0f} ms of the {1e3 * took:.0f} ms that writing "
        f"takes, {100 * waited / took:.0f} % (goal: 20)"
    )


def _seconds(call: object) -> float:
    assert callable(call)
    began = time.perf_counter()
    call()
    return time.perf_counter() - began


def _check(one: CheckpointFolder, other: CheckpointFolder) -> None:
    first, second = one.load_newest(), other.load_newest()
    assert first is not None
    assert second is not None
    assert first.step == second.step
    for name, tensor in first.tensors["weights"].items():
        assert torch.equal(tensor, second.tensors["weights"][name])
