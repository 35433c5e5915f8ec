import logging
import os
from pathlib import Path
from typing import Any

import pytest
import torch

from diffsensei.training import checkpoints
from diffsensei.training.checkpoints import Checkpoint, CheckpointFolder


def checkpoint(step: int) -> Checkpoint:
    tensors = {"weights": {"w": torch.full((4, 4), float(step))}, "optimizer": {"step:w": torch.tensor(float(step))}}
    return Checkpoint(step, tensors, {"note": f"after {step}"})


def assert_is(loaded: Checkpoint | None, step: int) -> None:
    assert loaded is not None
    assert loaded.step == step
    assert loaded.state == {"note": f"after {step}"}
    assert torch.equal(loaded.tensors["weights"]["w"], torch.full((4, 4), float(step)))


def test_the_newest_comes_back_and_two_are_kept(tmp_path: Path) -> None:
    folder = CheckpointFolder(tmp_path)
    assert folder.load_newest() is None
    for step in (5, 10, 15, 20):
        folder.save(checkpoint(step))
    assert_is(CheckpointFolder(tmp_path).load_newest(), 20)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["step-00000015", "step-00000020"]


@pytest.mark.parametrize("damage", ["flip", "truncate", "manifest", "missing"])
def test_a_damaged_newest_is_reported_and_passed_over(
    tmp_path: Path, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    CheckpointFolder(tmp_path).save(checkpoint(5))
    CheckpointFolder(tmp_path).save(checkpoint(10))
    weights = tmp_path / "step-00000010" / "weights.safetensors"
    if damage == "flip":
        content = bytearray(weights.read_bytes())
        content[-1] ^= 1
        weights.write_bytes(content)
    elif damage == "truncate":
        weights.write_bytes(weights.read_bytes()[:-8])
    elif damage == "manifest":
        (weights.parent / "manifest.json").unlink()
    else:
        weights.unlink()
    with caplog.at_level(logging.ERROR):
        assert_is(CheckpointFolder(tmp_path).load_newest(), 5)
    assert "step-00000010 is damaged" in caplog.text


def test_a_damaged_one_does_not_count_among_the_two_kept(tmp_path: Path) -> None:
    for step in (5, 10):
        CheckpointFolder(tmp_path).save(checkpoint(step))
    (tmp_path / "step-00000010" / "state.json").write_text("{}")
    CheckpointFolder(tmp_path).save(checkpoint(15))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["step-00000005", "step-00000015"]


def test_a_damaged_step_is_written_again(tmp_path: Path) -> None:
    CheckpointFolder(tmp_path).save(checkpoint(5))
    (tmp_path / "step-00000005" / "state.json").write_text("{}")
    assert CheckpointFolder(tmp_path).load_newest() is None
    CheckpointFolder(tmp_path).save(checkpoint(5))
    assert_is(CheckpointFolder(tmp_path).load_newest(), 5)


@pytest.mark.parametrize("operation", ["fsync", "replace"])
def test_a_crash_at_any_flush_or_rename_leaves_a_valid_checkpoint(
    tmp_path: Path, operation: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The k-th call fails, for every k until a save goes through; what loads is the old or the new one, whole."""
    CheckpointFolder(tmp_path).save(checkpoint(5))
    real = getattr(os, operation)
    for failing in range(20):
        calls = 0

        def fail(*args: Any) -> Any:
            nonlocal calls
            calls += 1
            if calls == failing + 1:  # noqa: B023  the function lives no longer than this turn
                raise OSError(28, "No space left on device")
            return real(*args)

        monkeypatch.setattr(checkpoints.os, operation, fail)
        try:
            CheckpointFolder(tmp_path).save(checkpoint(10))
        except OSError:
            monkeypatch.setattr(checkpoints.os, operation, real)
            loaded = CheckpointFolder(tmp_path).load_newest()
            assert loaded is not None
            assert_is(loaded, loaded.step)
        else:
            break
    else:
        pytest.fail("no save went through")
    monkeypatch.setattr(checkpoints.os, operation, real)
    assert failing > 0
    assert_is(CheckpointFolder(tmp_path).load_newest(), 10)
    assert not list(tmp_path.glob("*.tmp-*"))
