"""As a user does it: a Prefect server, a worker, ``deploy --all``, a bare deployment name, and a change of mind."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from infra.store import Store

pytestmark = pytest.mark.slow

REPOSITORY = Path(__file__).parents[2]
PREFECT = Path(sys.executable).with_name("prefect")
PATIENCE_S = 300.0
CANCEL_S = 60.0
"""From a person's wish that a run ends to the end of its job."""
POOL = "diffsensei-local"


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def _wait(what: str, happened: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not happened():
        assert time.monotonic() < deadline, f"{what} did not happen in {PATIENCE_S:.0f} s"
        time.sleep(0.5)


class Console:
    """Commands in the repository against a server of the test's own."""

    def __init__(self, folder: Path) -> None:
        self.port = _free_port()
        self.api = f"http://127.0.0.1:{self.port}/api"
        self.folder = folder
        kept = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
        self.env = kept | {
            "PREFECT_HOME": str(folder / "prefect"),
            "PREFECT_API_URL": self.api,
            "DIFFSENSEI_STORE": str(folder / "store"),
            "DO_NOT_TRACK": "1",
        }
        (folder / "prefect").mkdir()

    def run(self, *arguments: str) -> str:
        done = subprocess.run([PREFECT, *arguments], cwd=REPOSITORY, env=self.env, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def start(self, *arguments: str) -> subprocess.Popen[bytes]:
        with (self.folder / f"{arguments[0]}.log").open("wb") as log:
            return subprocess.Popen([PREFECT, *arguments], cwd=REPOSITORY, env=self.env, stdout=log, stderr=log)

    def answers(self, path: str) -> bool:
        try:
            return httpx.get(f"{self.api}/{path}").is_success
        except httpx.HTTPError:
            return False

    def state_of(self, run_id: str) -> str:
        state: str = httpx.get(f"{self.api}/flow_runs/{run_id}").json()["state"]["type"]
        return state


@pytest.fixture
def console(tmp_path: Path) -> Iterator[Console]:
    console = Console(tmp_path)
    started = [console.start("server", "start", "--port", str(console.port))]
    try:
        _wait("the server's start", lambda: console.answers("health"))
        started.append(console.start("worker", "start", "--pool", POOL, "--type", "process"))
        _wait("the worker's start", lambda: console.answers(f"work_pools/{POOL}"))
        yield console
    finally:
        for process in reversed(started):
            process.send_signal(signal.SIGINT)
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def test_deploy_all_bare_name_and_cancel(console: Console, tmp_path: Path) -> None:
    console.run("--no-prompt", "deploy", "--all")
    deployed = httpx.post(f"{console.api}/deployments/filter", json={}).json()
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
    _wait("the first job's start", lambda: _num_live(tmp_path) == 1)
    assert console.state_of(run_id) == "RUNNING"

    console.run("flow-run", "cancel", run_id)
    asked = time.monotonic()
    _wait("the end of the job", lambda: _num_live(tmp_path) == 0)
    assert time.monotonic() - asked < CANCEL_S
    _wait("the end of the run", lambda: console.state_of(run_id) == "CANCELLED")


PUBLISH = """
import sys
from pathlib import Path
from infra.store import Store
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
    (automation,) = httpx.post(f"{console.api}/automations/filter", json={}).json()
    assert automation["trigger"]["expect"] == ["diffsensei.checkpoint.published"]
    assert automation["actions"][0]["type"] == "run-deployment"

    done = subprocess.run(
        [sys.executable, "-c", PUBLISH, str(tmp_path)], cwd=REPOSITORY, env=console.env, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    runs: list[dict[str, Any]] = []

    def started() -> bool:
        runs[:] = httpx.post(f"{console.api}/flow_runs/filter", json={}).json()
        return bool(runs) and runs[0]["state"]["type"] in ("RUNNING", "FAILED", "COMPLETED")

    _wait("the run that the event starts", started)
    (run,) = runs
    assert run["parameters"] == {"preset": "tiny", "overrides": [], "checkpoints": "published"}
    assert run["created_by"]["type"] == "AUTOMATION"
    console.run("flow-run", "cancel", run["id"])
    _wait("the end of the run", lambda: console.state_of(run["id"]) in ("CANCELLED", "FAILED", "COMPLETED"))
    _wait("the end of its jobs", lambda: _num_live(tmp_path) == 0)


def _num_live(tmp_path: Path) -> int:
    folders = Store(tmp_path / "store").stage_folders()
    return sum(attempt.is_live() for folder in folders for attempt in folder.attempts())
