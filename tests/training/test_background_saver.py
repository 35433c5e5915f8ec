"""Written later, but as it was: what training does after a save must not reach the file."""

import threading
from pathlib import Path

import pytest
import torch

from diffsensei.training.background_saver import BackgroundSaver
from diffsensei.training.checkpoints import Checkpoint, CheckpointFolder


def checkpoint(step: int, value: torch.Tensor) -> Checkpoint:
    return Checkpoint(step, {"weights": {"w": value}}, {"note": f"after {step}"})


class SlowFolder(CheckpointFolder):
    """Writes only once it is told to."""

    def __init__(self, folder: Path, released: threading.Event) -> None:
        super().__init__(folder)
        self._released = released

    def save(self, checkpoint: Checkpoint) -> None:
        assert self._released.wait(timeout=30)
        super().save(checkpoint)


def test_what_is_written_is_the_state_at_the_save(tmp_path: Path) -> None:
    released = threading.Event()
    weights = torch.arange(6.0).reshape(2, 3)
    with BackgroundSaver(SlowFolder(tmp_path, released)) as saver:
        saver.save(checkpoint(5, weights.t()))  # strided: files hold contiguous tensors
        weights.zero_()
        assert CheckpointFolder(tmp_path).load_newest() is None
        released.set()
    loaded = CheckpointFolder(tmp_path).load_newest()
    assert loaded is not None
    assert (loaded.step, loaded.state) == (5, {"note": "after 5"})
    assert torch.equal(loaded.tensors["weights"]["w"], torch.arange(6.0).reshape(2, 3).t())


def test_each_save_keeps_its_own_values_and_shapes(tmp_path: Path) -> None:
    with BackgroundSaver(CheckpointFolder(tmp_path)) as saver:
        for step in (1, 2):
            saver.save(checkpoint(step, torch.full((4,), float(step))))
        saver.save(checkpoint(3, torch.full((2, 2), 3.0, dtype=torch.float64)))
    loaded = CheckpointFolder(tmp_path).load_newest()
    assert loaded is not None
    assert torch.equal(loaded.tensors["weights"]["w"], torch.full((2, 2), 3.0, dtype=torch.float64))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["step-00000002", "step-00000003"]


def test_a_fault_of_the_writer_reaches_training(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("in the way")
    first, second = (checkpoint(step, torch.zeros(3)) for step in (1, 2))
    saver = BackgroundSaver(CheckpointFolder(blocked))
    saver.save(first)
    with pytest.raises(FileExistsError):
        saver.save(second)
    saver.save(first)
    with pytest.raises(FileExistsError):
        saver.wait()
    saver.save(first)
    with pytest.raises(FileExistsError):
        saver.__exit__(None, None, None)
