"""Workers, flows and servers killed under a run of the real flow ``ingest``: each stage has one job all the same."""

import json
import os
import re
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from infra.jobs.process import processes_of
from infra.store import Store
from tests.flows.test_deployment import POOL, Console

pytestmark = pytest.mark.long

PATIENCE_S = 600.0
OVERRIDES = json.dumps(["data.source.pages_per_series=24"])


def _wait(what: str, happened: Callable[[], object]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not happened():
        assert time.monotonic() < deadline, f"{what} did not happen in {PATIENCE_S:.0f} s"
        time.sleep(0.5)


class Machine:
    """A server and workers that can be killed and started again, and what they leave in the store."""

    def __init__(self, folder: Path) -> None:
        self.console = Console(folder)
        self.store = Store(folder / "store")
        self.server = self.start_server()
        self.workers: list[subprocess.Popen[bytes]] = []
        self.start_worker()

    def start_server(self) -> "subprocess.Popen[bytes]":
        self.server = self.console.start("server", "start", "--port", str(self.console.port))
        _wait("the server's start", lambda: self.console.answers("health"))
        return self.server

    def start_worker(self) -> None:
        self.workers.append(self.console.start("worker", "start", "--pool", POOL, "--type", "process"))
        _wait("the worker's start", lambda: self.console.answers(f"work_pools/{POOL}"))

    def run(self, name: str, *options: str) -> str:
        said = self.console.run("deployment", "run", f"{name}/{name}", *options)
        (run_id,) = re.findall(r"UUID: (\S+)", said)
        return str(run_id)

    def ingest(self) -> str:
        return self.run("ingest", "-p", f"overrides={OVERRIDES}")

    def wait_for_a_job(self) -> None:
        _wait("a job's start", lambda: any(a.is_live() for f in self.store.stage_folders() for a in f.attempts()))

    def attempts(self) -> dict[str, int]:
        return {folder.name: len(folder.attempts()) for folder in self.store.stage_folders()}

    def stop(self) -> None:
        for process in (*self.workers, self.server):
            if process.poll() is None:
                process.send_signal(signal.SIGINT)
                try:
                    process.wait(30)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()
        for folder in self.store.stage_folders():
            for attempt in folder.attempts():
                for pid in processes_of(attempt.intent().token):
                    os.kill(pid, signal.SIGKILL)


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    machine = Machine(tmp_path)
    try:
        machine.console.run("--no-prompt", "deploy", "--all")
        machine.console.run("deployment", "schedule", "clear", "reconcile/reconcile", "--accept-yes")
        yield machine
    finally:
        machine.stop()


def _children(pid: int) -> list[int]:
    said = subprocess.run(["pgrep", "-P", str(pid)], capture_output=True, text=True).stdout
    return [int(word) for word in said.split()]


def _finish(machine: Machine, run_id: str) -> None:
    _wait("the end of the run", lambda: machine.console.state_of(run_id) in ("COMPLETED", "FAILED", "CRASHED"))
    assert machine.console.state_of(run_id) == "COMPLETED"
    assert set(machine.attempts().values()) == {1}, "a stage had more than one job"


@pytest.mark.parametrize("how", ["kill -9 of worker and flow", "SIGTERM to the worker"])
def test_a_run_whose_worker_died_is_taken_up_and_its_job_adopted(machine: Machine, how: str) -> None:
    run_id = machine.ingest()
    machine.wait_for_a_job()
    (worker,) = machine.workers
    if how == "SIGTERM to the worker":
        worker.terminate()
    else:
        for pid in [worker.pid, *_children(worker.pid)]:
            os.kill(pid, signal.SIGKILL)
    worker.wait()
    assert any(a.is_live() for f in machine.store.stage_folders() for a in f.attempts()), "the job must go on"
    machine.start_worker()
    deadline = time.monotonic() + PATIENCE_S
    while machine.console.state_of(run_id) == "RUNNING" and time.monotonic() < deadline:
        done = machine.run("reconcile")  # as its schedule does
        _wait("the end of reconcile", lambda done=done: machine.console.state_of(done) == "COMPLETED")
        time.sleep(20)
    _finish(machine, run_id)


def test_a_server_that_is_away_for_a_minute_ends_no_run(machine: Machine) -> None:
    run_id = machine.ingest()
    machine.wait_for_a_job()
    machine.server.kill()
    machine.server.wait()
    time.sleep(60)
    machine.start_server()
    _finish(machine, run_id)


def test_two_runs_at_once_share_each_stage(machine: Machine) -> None:
    runs = [machine.ingest() for _ in range(2)]
    for run_id in runs:
        _finish(machine, run_id)
    states = {httpx.get(f"{machine.console.api}/flow_runs/{run_id}").json()["state"]["name"] for run_id in runs}
    assert states == {"Completed"}
