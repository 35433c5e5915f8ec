"""As a user does it: a Prefect server, a worker, ``deploy --all``, a bare deployment name, and a change of mind."""

import json
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import httpx
import pytest

from infra.store import Store
from tests.flows.console import ANSWER_S, CANCEL_S, REPOSITORY, Console, wait_for

pytestmark = pytest.mark.slow


def test_deploy_all_bare_name_and_cancel(console: Console, tmp_path: Path) -> None:
    console.run("--no-prompt", "deploy", "--all")
    deployed = httpx.post(f"{console.api}/deployments/filter", json={}, timeout=ANSWER_S).json()
    studies = {"study-prepare", "study-import", "study-analyse", "study-simulate"}
    assert {item["name"] for item in deployed} == {
        *("full-pipeline", "ingest", "train", "baselines", "evaluate", "drift-check", "release", "ablations"),
        *("reconcile", *studies),
    }
    schedules = {item["name"]: [schedule["active"] for schedule in item["schedules"]] for item in deployed}
    assert schedules.pop("evaluate") == schedules.pop("drift-check") == [False]
    assert schedules.pop("reconcile") == [True]
    assert all(item["tags"] for item in deployed)
    assert not any(schedules.values())

    long_enough = json.dumps(["data.source.pages_per_series=400"])
    said = console.run("deployment", "run", "full-pipeline", "-p", f"overrides={long_enough}")
    assert "'full-pipeline/full-pipeline'" in said
    (run_id,) = re.findall(r"UUID: (\S+)", said)
    wait_for("the first job's start", lambda: _num_live(tmp_path) == 1)
    assert console.state_of(run_id) == "RUNNING"

    console.run("flow-run", "cancel", run_id)
    asked = time.monotonic()
    wait_for("the end of the job", lambda: _num_live(tmp_path) == 0)
    assert time.monotonic() - asked < CANCEL_S
    wait_for("the end of the run", lambda: console.state_of(run_id) == "CANCELLED")


PUBLISH = """
import sys
from pathlib import Path
from infra.store import Store
from tests.flows.console import ANSWER_S, CANCEL_S, REPOSITORY, Console, wait_for
from tasks.releases import APPROVED, move_reference

store = Store(Path(sys.argv[1]) / "store")
(store.base / "made").mkdir(parents=True)
(store.base / "made" / "weights.txt").write_text("weights")
bundle = store.publish_object(store.base / "made", "bundle")
move_reference(store, APPROVED, "m", bundle, "gate passed")
"""


@pytest.mark.long
def test_approving_a_checkpoint_starts_its_evaluation(console: Console, tmp_path: Path) -> None:
    console.run("--no-prompt", "deploy", "--name", "evaluate")
    (automation,) = httpx.post(f"{console.api}/automations/filter", json={}, timeout=ANSWER_S).json()
    assert automation["trigger"]["expect"] == ["diffsensei.checkpoint.published"]
    assert automation["actions"][0]["type"] == "run-deployment"

    done = subprocess.run(
        [sys.executable, "-c", PUBLISH, str(tmp_path)], cwd=REPOSITORY, env=console.env, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    runs: list[dict[str, Any]] = []

    def started() -> bool:
        runs[:] = httpx.post(f"{console.api}/flow_runs/filter", json={}, timeout=ANSWER_S).json()
        return bool(runs) and runs[0]["state"]["type"] in ("RUNNING", "FAILED", "COMPLETED")

    wait_for("the run that the event starts", started)
    (run,) = runs
    assert run["parameters"] == {"preset": "tiny", "overrides": [], "checkpoints": "published"}
    assert run["created_by"]["type"] == "AUTOMATION"
    console.run("flow-run", "cancel", run["id"])
    wait_for("the end of the run", lambda: console.state_of(run["id"]) in ("CANCELLED", "FAILED", "COMPLETED"))
    wait_for("the end of its jobs", lambda: _num_live(tmp_path) == 0)


def _num_live(tmp_path: Path) -> int:
    folders = Store(tmp_path / "store").stage_folders()
    return sum(attempt.is_live() for folder in folders for attempt in folder.attempts())
