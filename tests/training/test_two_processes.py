"""The training loop in two processes: the same batches as in one, and interruptions that leave no trace."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from diffsensei.training.checkpoints import Checkpoint, CheckpointFolder
from tests.training.small_regression import AVERAGED

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
Visits = dict[tuple[int, int], tuple[int, list[int]]]
"""(step, part) -> size tier and panels."""


def run(workspace: Path, num_processes: int, ends: dict[str, tuple[int, int]] | None = None) -> tuple[int, str]:
    """Start or continue a run as a job on CPUs is launched; exit code and standard error."""
    workspace.mkdir(exist_ok=True)
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", str(num_processes), "--module"]
    done = subprocess.run(
        [sys.executable, *launcher, "tests.training.small_regression", str(workspace), json.dumps(ends or {})],
        env=os.environ | {"CUDA_VISIBLE_DEVICES": "", "ACCELERATE_USE_CPU": "true", "OMP_NUM_THREADS": "1"},
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
    )
    return done.returncode, done.stderr


def finished(workspace: Path, num_processes: int) -> Path:
    code, errors = run(workspace, num_processes)
    assert code == 0, errors[-3000:]
    return workspace


def visits(workspace: Path, rank: int) -> Visits:
    """What ``rank`` read. A step that was done again after a crash must have read the same."""
    read: Visits = {}
    for line in (workspace / f"panels-{rank}.jsonl").read_text().splitlines():
        entry = json.loads(line)
        value = entry["tier"], entry["panels"]
        assert read.setdefault((entry["step"], entry["part"]), value) == value
    return read


def newest(workspace: Path) -> Checkpoint:
    checkpoint = CheckpointFolder(workspace / "checkpoints").load_newest()
    assert checkpoint is not None
    assert set(checkpoint.tensors) == {"weights", "optimizer", "average"}
    return checkpoint


def named(checkpoint: Checkpoint) -> dict[str, Tensor]:
    return {f"{group}/{name}": t for group, tensors in checkpoint.tensors.items() for name, t in tensors.items()}


@pytest.fixture(scope="module")
def straight(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return finished(tmp_path_factory.mktemp("straight"), 2)


def test_interrupted_it_ends_with_the_same_weights_moments_and_batches(straight: Path, tmp_path: Path) -> None:
    code, _ = run(tmp_path, 2, {"0": (4, signal.SIGKILL)})
    assert code != 0
    saved = CheckpointFolder(tmp_path / "checkpoints").load_newest()
    assert saved is None or saved.step == 3  # it is written beside training: the end may come before it is whole
    code, errors = run(tmp_path, 2, {"1": (7, signal.SIGTERM)})
    assert code != 0
    assert "exitcode  : 143" in errors, errors[-3000:]
    assert "Connection closed by peer" not in errors
    assert newest(tmp_path).step == 8  # one rank was told, the other saved after the step as well
    finished(tmp_path, 2)

    one, other = newest(tmp_path), newest(straight)
    assert (one.step, one.state) == (other.step, other.state)
    expected = named(other)
    assert named(one).keys() == expected.keys()
    for name, tensor in named(one).items():
        assert torch.equal(tensor, expected[name]), name
    final, expected = (load_file(folder / "weights.safetensors") for folder in (tmp_path, straight))
    assert all(torch.equal(final[name], expected[name]) for name in expected)
    for rank in (0, 1):
        assert visits(tmp_path, rank) == visits(straight, rank)


def test_one_process_reads_and_learns_the_same(straight: Path, tmp_path: Path) -> None:
    alone = finished(tmp_path, 1)
    assert visits(alone, 0) == visits(straight, 0) | visits(straight, 1)
    expected = named(newest(alone))
    for name, tensor in named(newest(straight)).items():
        torch.testing.assert_close(tensor, expected[name], rtol=1e-4, atol=1e-6)


def test_ranks_share_each_global_batch_and_work_on_one_size_tier(straight: Path) -> None:
    ranks = [visits(straight, rank) for rank in (0, 1)]
    assert not ranks[0].keys() & ranks[1].keys()
    tiers = []
    for step in range(AVERAGED.steps):
        mine, others = ([value for key, value in rank.items() if key[0] == step] for rank in ranks)
        assert len(mine) == len(others) == 2
        tiers.append({tier for tier, _ in [*mine, *others]})
        assert len(tiers[-1]) == 1, f"step {step} mixes tiers"
        assert {len(panels) for _, panels in [*mine, *others]} == ({2} if tiers[-1] == {0} else {1})
    assert {0} in tiers
    assert {1} in tiers
