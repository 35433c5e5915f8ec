"""What a job script says, and what nobody can make it say."""

import subprocess
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from infra.jobs.attempt import Attempt, Call, Intent
from infra.jobs.slurm_script import SlurmOptions, job_name, job_script
from infra.jobs.spec import JobSpec
from infra.manifest import utc_now

TOKEN = "ab" * 16
CALL = Call(entry="m:f", arguments={}, inputs={}, workspace="w", output="o")


def _script(folder: Path, spec: JobSpec, **options: Any) -> list[str]:
    path = folder / "stages" / "train" / ("f" * 64) / "attempts" / "0003"
    path.parent.mkdir(parents=True)
    attempt = Attempt.create(path, Intent(token=TOKEN, backend="slurm", job=spec, created=utc_now()), CALL)
    assert job_name(attempt) == "ds-ffffffffffff-3"
    text = job_script(spec, attempt, TOKEN, SlurmOptions(**options))
    subprocess.run(["bash", "-n"], input=text, text=True, check=True)
    return text.splitlines()


def test_what_a_stage_needs_is_asked_for(tmp_path: Path) -> None:
    spec = JobSpec(argv=("python",), cwd="/work", gpus=8, cpus=32, memory_gb=128.0, walltime_s=90 * 60, grace_s=300.0)
    lines = _script(
        tmp_path,
        spec,
        partition="gpu",
        account="lab",
        qos="long",
        constraint="a100|h100",
        gpu_request="--gpus-per-node={gpus}",
        requeue=True,
        directives=("--mail-type=FAIL",),
        prologue=("module load cuda",),
    )
    asked = {line.removeprefix("#SBATCH ") for line in lines if line.startswith("#SBATCH ")}
    assert asked >= {
        *("--job-name=ds-ffffffffffff-3", f"--comment={TOKEN}", '--chdir="/work"', "--open-mode=append"),
        *("--time=90", "--signal=B:USR1@300", "--requeue", "--nodes=1", "--cpus-per-task=32", "--mem=131072M"),
        *("--gpus-per-node=8", "--partition=gpu", "--account=lab", "--qos=long", "--constraint=a100|h100"),
        "--mail-type=FAIL",
    }
    assert lines.index("module load cuda") < len(lines) - 1
    assert lines[-1].startswith("exec ")
    assert "srun --nodes=1 --ntasks=1 " in lines[-1]


def test_several_nodes_share_what_is_asked_for_and_meet(tmp_path: Path) -> None:
    spec = JobSpec(argv=("python",), cwd="/work", nodes=2, gpus=16, cpus=64, memory_gb=256.0)
    lines = _script(tmp_path, spec)
    for line in ("--nodes=2", "--ntasks-per-node=1", "--cpus-per-task=32", "--mem=131072M", "--gres=gpu:8"):
        assert f"#SBATCH {line}" in lines
    assert "srun --nodes=2 --ntasks=2 --ntasks-per-node=1 --export=ALL --cpus-per-task=32 " in lines[-1]
    assert any(line.startswith("export PET_RDZV_BACKEND=c10d") for line in lines)


def test_paths_are_one_word_wherever_they_stand(tmp_path: Path) -> None:
    folder = tmp_path / "100%j; touch pwned $(touch pwned) `touch pwned` #"
    folder.mkdir()
    lines = _script(folder, JobSpec(argv=("python",), cwd=str(folder)))
    (output,) = [line for line in lines if "--output" in line]
    assert "100%%j; touch" in output
    command = lines[-1].replace("exec ", "echo ", 1)
    said = subprocess.run(["bash", "-c", command], capture_output=True, text=True, cwd=tmp_path, check=True).stdout
    assert str(folder) in said
    assert not (tmp_path / "pwned").exists()


@pytest.mark.parametrize("name", ["two\nlines", 'a"quote', "back\\slash"])
def test_a_path_that_a_script_cannot_name_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(ValueError, match="which a job script cannot name"):
        _script(tmp_path, JobSpec(argv=("python",), cwd=f"/work/{name}"))


@pytest.mark.parametrize(
    "options",
    [
        {"partition": "gpu\n#SBATCH --uid=0"},
        {"account": "$(id)"},
        {"directives": ("--mem=1\nreboot",)},
        {"directives": ("reboot",)},
        {"prologue": ("module load a\nreboot",)},
        {"command_prefix": ("ssh login",)},
        {"gpu_request": "--gres=gpu:8"},
    ],
)
def test_options_are_checked_where_the_script_is_made(options: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match="String should match"):
        SlurmOptions(**options)
