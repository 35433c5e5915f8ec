"""Saving a checkpoint under every fault at every call that changes the disk: the old or the new one loads, whole."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from diffsensei.training.checkpoints import KEPT, Checkpoint, CheckpointFolder
from tests.infra.faults import Operation, calls_of, renamed_unflushed, sweep


def _checkpoint(step: int) -> Checkpoint:
    tensors = {"weights": {"w": torch.full((4, 4), float(step))}, "optimizer": {"step:w": torch.tensor(float(step))}}
    return Checkpoint(step, tensors, {"note": f"after {step}"})


def _third(folder: Path) -> Operation:
    """The save that is the first to retire an older one."""
    for step in (5, 10):
        CheckpointFolder(folder).save(_checkpoint(step))
    return lambda: CheckpointFolder(folder).save(_checkpoint(15))


def _over_damage(folder: Path) -> Operation:
    """A step that is there, and damaged, is written again."""
    for step in (10, 15):
        CheckpointFolder(folder).save(_checkpoint(step))
    (folder / "step-00000015" / "state.json").write_text("{}")
    return lambda: CheckpointFolder(folder).save(_checkpoint(15))


def _check(folder: Path, whole: bool) -> None:
    found = CheckpointFolder(folder).load_newest()
    assert found is not None
    assert found.step in ((15,) if whole else (10, 15))
    assert found.state == {"note": f"after {found.step}"}
    assert torch.equal(found.tensors["weights"]["w"], torch.full((4, 4), float(found.step)))
    assert found.tensors["optimizer"]["step:w"] == found.step
    if whole:
        assert len(list(folder.iterdir())) == KEPT, "something is left behind"


@pytest.mark.parametrize("prepare", [_third, _over_damage])
def test_the_old_or_the_new_one_loads_whatever_call_fails_or_is_the_last(
    tmp_path: Path, prepare: Callable[[Path], Operation]
) -> None:
    assert sweep(prepare, _check, tmp_path) >= 3 * 8


@pytest.mark.parametrize("prepare", [_third, _over_damage])
def test_what_is_renamed_into_place_was_flushed_before(tmp_path: Path, prepare: Callable[[Path], Operation]) -> None:
    (tmp_path / "place").mkdir()
    assert renamed_unflushed(calls_of(prepare(tmp_path / "place"), tmp_path / "calls")) == []
