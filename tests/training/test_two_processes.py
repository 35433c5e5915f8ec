"""The training loop in two processes, with all weights in each or a part: batches and results as in one process, and
interruptions that leave no trace."""

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from diffsensei.config.schema import Parallelism
from diffsensei.training.checkpoints import Checkpoint, CheckpointFolder
from tests.training.small_regression import AVERAGED

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
Visits = dict[tuple[int, int], tuple[int, list[int]]]
"""(step, part) -> size tier and panels."""


def run(
    workspace: Path, num_processes: int, parallelism: Parallelism, ends: dict[str, tuple[int, int]] | None = None
) -> tuple[int, str]:
    """Start or continue a run as a job on CPUs is launched; exit code and standard error."""
    workspace.mkdir(exist_ok=True)
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", str(num_processes), "--module"]
    arguments = [str(workspace), parallelism, json.dumps(ends or {})]
    done = subprocess.run(
        [sys.executable, *launcher, "tests.training.small_regression", *arguments],
        env=os.environ | {"CUDA_VISIBLE_DEVICES": "", "ACCELERATE_USE_CPU": "true", "OMP_NUM_THREADS": "1"},
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
    )
    return done.returncode, done.stderr


def finished(workspace: Path, num_processes: int, parallelism: Parallelism) -> Path:
    code, errors = run(workspace, num_processes, parallelism)
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


def new_visits(before: Path, after: Path) -> list[tuple[int, int]]:
    """(step, part) that rank 0 read in ``after`` beyond its copy ``before``."""
    lines = [(folder / "panels-0.jsonl").read_text().splitlines() for folder in (before, after)]
    return [(entry["step"], entry["part"]) for entry in map(json.loads, lines[1][len(lines[0]) :])]


def newest(workspace: Path) -> Checkpoint:
    checkpoint = CheckpointFolder(workspace / "checkpoints").load_newest()
    assert checkpoint is not None
    assert set(checkpoint.tensors) == {"weights", "optimizer", "average"}
    return checkpoint


def named(checkpoint: Checkpoint) -> dict[str, Tensor]:
    return {f"{group}/{name}": t for group, tensors in checkpoint.tensors.items() for name, t in tensors.items()}


def log(workspace: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (workspace / "metrics.jsonl").read_text().splitlines()]


def final_weights(workspace: Path) -> dict[str, Tensor]:
    return load_file(workspace / "weights.safetensors")


def assert_close(one: dict[str, Tensor], other: dict[str, Tensor]) -> None:
    assert one.keys() == other.keys()
    for name, tensor in one.items():
        torch.testing.assert_close(tensor, other[name], rtol=1e-4, atol=1e-6)


@pytest.fixture(scope="module")
def straight(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return finished(tmp_path_factory.mktemp("straight"), 2, "replicate")


@pytest.fixture(scope="module")
def sharded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return finished(tmp_path_factory.mktemp("sharded"), 2, "shard")


@pytest.mark.parametrize("parallelism", ["replicate", "shard"])
def test_interrupted_it_ends_with_the_same_weights_moments_and_batches(
    parallelism: Parallelism, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    straight: Path = request.getfixturevalue("straight" if parallelism == "replicate" else "sharded")
    code, _ = run(tmp_path, 2, parallelism, {"0": (4, signal.SIGKILL)})
    assert code != 0
    saved = CheckpointFolder(tmp_path / "checkpoints").load_newest()
    assert saved is None or saved.step == 3  # it is written beside training: the end may come before it is whole
    code, errors = run(tmp_path, 2, parallelism, {"1": (7, signal.SIGTERM)})
    assert code != 0
    assert "exitcode  : 143" in errors, errors[-3000:]
    assert "Connection closed by peer" not in errors
    assert newest(tmp_path).step == 8  # one rank was told, the other saved after the step as well
    finished(tmp_path, 2, parallelism)

    one, other = newest(tmp_path), newest(straight)
    assert (one.step, one.state) == (other.step, other.state)
    expected = named(other)
    assert named(one).keys() == expected.keys()
    for name, tensor in named(one).items():
        assert torch.equal(tensor, expected[name]), name
    final, expected = (final_weights(folder) for folder in (tmp_path, straight))
    assert all(torch.equal(final[name], expected[name]) for name in expected)
    for rank in (0, 1):
        assert visits(tmp_path, rank) == visits(straight, rank)


def test_one_process_reads_and_learns_the_same(straight: Path, tmp_path: Path) -> None:
    alone = finished(tmp_path, 1, "replicate")
    assert visits(alone, 0) == visits(straight, 0) | visits(straight, 1)
    assert_close(named(newest(straight)), named(newest(alone)))


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


def test_weights_in_parts_learn_as_whole_ones_do(straight: Path, sharded: Path) -> None:
    """Losses of every step, weights, moments, averages; the exported weights have the same names and are whole."""
    for rank in (0, 1):
        assert visits(sharded, rank) == visits(straight, rank)
    parts, whole = newest(sharded), newest(straight)
    assert_close(named(parts), named(whole))
    assert_close(final_weights(sharded), final_weights(straight))
    assert len(log(sharded)) == AVERAGED.steps // 2
    for one, other in zip(log(sharded), log(straight), strict=True):
        for name in ("train/loss", "optim/grad_norm"):
            assert one[name] == pytest.approx(other[name], rel=1e-5)


def test_each_process_writes_its_part_and_none_is_a_pickle(sharded: Path) -> None:
    folder = sharded / "checkpoints" / "step-00000012"
    names = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    shards = {
        f"{group}/shard-{rank:05d}-model-00001-of-00001.safetensors"
        for group in ("weights", "optimizer", "average")
        for rank in (1, 2)
    }
    assert names == shards | {"state.json", "manifest.json"}
    halves = [load_file(folder / name)["layers.0.weight"] for name in sorted(shards) if name.startswith("weights/")]
    assert [tuple(half.shape) for half in halves] == [(8, 5), (8, 5)]
    assert torch.equal(torch.cat(halves), newest(sharded).tensors["weights"]["layers.0.weight"])
    assert set(json.loads((folder / "manifest.json").read_text())["files"]) == names - {"manifest.json"}


def damaged(sharded: Path, copy: Path, damage: str) -> Path:
    """A copy of the run in which the second process' part of the last weights is not what was written."""
    shutil.copytree(sharded, copy, dirs_exist_ok=True)
    part = copy / "checkpoints" / "step-00000012" / "weights" / "shard-00002-model-00001-of-00001.safetensors"
    content = bytearray(part.read_bytes())
    if damage == "missing":
        part.unlink()
    elif damage == "truncate":
        part.write_bytes(content[:-8])
    else:
        content[-1] ^= 1
        part.write_bytes(content)
    return copy


@pytest.mark.parametrize("damage", ["flip", "truncate", "missing"])
def test_a_damaged_part_damages_the_checkpoint(
    sharded: Path, tmp_path: Path, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    assert newest(damaged(sharded, tmp_path, damage)).step == 9
    assert "step-00000012 is damaged" in caplog.text
    assert "weights/shard-00002-model-00001-of-00001.safetensors" in caplog.text


def test_a_damaged_part_sends_all_processes_back_to_the_checkpoint_before(sharded: Path, tmp_path: Path) -> None:
    finished(damaged(sharded, tmp_path, "flip"), 2, "shard")
    assert {step for step, _ in new_visits(sharded, tmp_path)} == {9, 10, 11}
    for name, tensor in final_weights(sharded).items():
        assert torch.equal(final_weights(tmp_path)[name], tensor), name
    assert newest(tmp_path).step == 12


@pytest.mark.parametrize(("before", "after"), [("straight", "shard"), ("sharded", "replicate")])
def test_a_run_goes_on_in_the_other_way(
    straight: Path, tmp_path: Path, request: pytest.FixtureRequest, before: str, after: Parallelism
) -> None:
    shutil.copytree(request.getfixturevalue(before), tmp_path, dirs_exist_ok=True)
    shutil.rmtree(tmp_path / "checkpoints" / "step-00000012")
    finished(tmp_path, 2 if after == "shard" else 1, after)
    assert_close(final_weights(tmp_path), final_weights(straight))
