"""docs/cluster.md as a new user follows it, on the private Slurm: the tiny pipeline, made short, ends in its report."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from infra.store import Store
from tests.flows.test_kill import OVERRIDES
from tests.infra.slurm_cluster import SlurmCluster

pytestmark = pytest.mark.long

REPOSITORY = Path(__file__).parents[2]
GUIDE = (REPOSITORY / "docs" / "cluster.md").read_text()
BLOCKS = re.findall(r"```sh\n(.*?)```", GUIDE, flags=re.DOTALL)


def _block(beginning: str) -> str:
    (found,) = [block for block in BLOCKS if block.startswith(beginning)]
    return found


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """The project's folder as the user has it, with room for an ``environment.sh`` that is nobody else's."""
    folder = tmp_path / "project"
    folder.mkdir()
    for path in REPOSITORY.iterdir():
        if path.name not in (".git", ".venv", ".diffsensei", "environment.sh"):
            (folder / path.name).symlink_to(path)
    (folder / ".venv").symlink_to(Path(sys.executable).parents[1])
    return folder


def _follow(commands: str, project: Path) -> str:
    env = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
    env["PYTHONPATH"] = os.pathsep.join(filter(None, [str(REPOSITORY), env.get("PYTHONPATH", "")]))
    script = f"set -euo pipefail\n{commands}"
    done = subprocess.run(["bash", "-c", script], cwd=project, env=env, capture_output=True, text=True)
    assert done.returncode == 0, (done.stdout + done.stderr)[-6000:]
    return done.stdout


def _edit(project: Path, store: Path) -> None:
    """What the guide asks the user to edit: this cluster has a partition, no accounts, and small nodes."""
    path = project / "environment.sh"
    text = path.read_text()
    for old, new in (
        ("/shared/$USER/diffsensei", str(store)),
        ("jobs.slurm.partition=gpu", "jobs.slurm.partition=debug"),
        ("    --set jobs.slurm.account=my-project\n", "    --set jobs.memory_gb_per_process=4\n"),
    ):
        assert text.count(old) == 1
        text = text.replace(old, new)
    short = [word for item in ["jobs.slurm.poll_s=1", *OVERRIDES] for word in ("--set", item)]
    path.write_text(f"{text}JOBS+=({shlex.join(short)})\n")


def test_the_guide_leads_to_a_report(slurm: SlurmCluster, project: Path, tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    _follow(_block("cp infra/slurm/environment.sh"), project)
    _edit(project, store.base)
    said = _follow(_block("source environment.sh"), project)
    assert " stages to run" in said
    report = said.splitlines()[-1].removeprefix("report: ")
    assert Path(report).is_file()

    attempts = [attempt for folder in store.stage_folders() for attempt in folder.attempts()]
    assert {attempt.intent().backend for attempt in attempts} == {"slurm"}
    submitted = [attempt.submitted() for attempt in attempts]
    assert len({ref.id for ref in submitted if ref}) == len(attempts) > 20
    assert all(folder.done() for folder in store.stage_folders())

    (start,) = [line for line in "".join(BLOCKS).splitlines() if line.startswith("sbatch ")]
    _follow(start.replace("sbatch ", "sbatch --wait ", 1).replace("paper", "tiny"), project)
    (log,) = project.glob("diffsensei-*.log")
    assert log.read_text().splitlines()[-1] == f"report: {report}"
    assert len([1 for folder in store.stage_folders() for _ in folder.attempts()]) == len(attempts)
    assert set(slurm.jobs().values()) <= {"COMPLETED", "CANCELLED"}
