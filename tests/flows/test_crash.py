"""Workers, flows and servers killed under a run of the real flow ``ingest``: each stage has one job all the same."""

import json
import os
import re
import signal
import sqlite3
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import httpx
import pytest

from infra.jobs.process import processes_of
from infra.store import Store
from tests.flows.console import ANSWER_S, CANCEL_S, POOL, Console, stop, wait_for

pytestmark = pytest.mark.long

PATIENCE_S = 600.0
LOCKED_S = 75.0
"""Longer than the minute that Prefect's server waits for its database."""
OVERRIDES = json.dumps(["data.source.pages_per_series=24"])
ENDLESS = json.dumps(["data.source.pages_per_series=400"])


def _wait(what: str, happened: Callable[[], object]) -> None:
    wait_for(what, happened, PATIENCE_S)


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

    def ingest(self, overrides: str = OVERRIDES) -> str:
        return self.run("ingest", "-p", f"overrides={overrides}")

    def has_a_job(self) -> bool:
        return any(a.is_live() for f in self.store.stage_folders() for a in f.attempts())

    def wait_for_a_job(self) -> None:
        _wait("a job's start", self.has_a_job)

    def restart_server(self, away_s: float) -> None:
        self.server.kill()
        self.server.wait()
        time.sleep(away_s)
        self.start_server()

    def terminate_worker(self) -> None:
        """As a service manager does, which asks again: Prefect makes an exception of the first signal, which can fall
        where it is swallowed, and dies of the second."""
        (worker,) = self.workers
        while worker.poll() is None:
            worker.terminate()
            with suppress(subprocess.TimeoutExpired):
                worker.wait(10)

    def kill_worker_and_flows(self) -> None:
        (worker,) = self.workers
        for pid in [worker.pid, *_children(worker.pid)]:
            os.kill(pid, signal.SIGKILL)
        worker.wait()

    def reconcile(self) -> None:
        """As its schedule does every five minutes."""
        done = self.run("reconcile")
        _wait("the end of reconcile", lambda: self.console.state_of(done) == "COMPLETED")

    def attempts(self) -> dict[str, int]:
        return {folder.name: len(folder.attempts()) for folder in self.store.stage_folders()}

    def stop(self) -> None:
        for process in (*self.workers, self.server):
            if process.poll() is None:
                stop(process)
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
    assert machine.console.state_of(run_id) == "COMPLETED", machine.console.history_of(run_id)
    assert set(machine.attempts().values()) == {1}, "a stage had more than one job"


@pytest.mark.parametrize("how", ["kill -9 of worker and flow", "SIGTERM to the worker"])
def test_a_run_whose_worker_died_is_taken_up_and_its_job_adopted(machine: Machine, how: str) -> None:
    run_id = machine.ingest()
    machine.wait_for_a_job()
    if how == "SIGTERM to the worker":
        machine.terminate_worker()
    else:
        machine.kill_worker_and_flows()
        assert machine.has_a_job(), "the job must go on"
    machine.start_worker()
    deadline = time.monotonic() + PATIENCE_S
    while machine.console.state_of(run_id) in ("RUNNING", "CRASHED") and time.monotonic() < deadline:
        machine.reconcile()
        time.sleep(20)
    _finish(machine, run_id)


def test_a_flow_whose_process_is_killed_crashes_at_once_and_the_next_run_adopts_its_job(machine: Machine) -> None:
    run_id = machine.ingest()
    machine.wait_for_a_job()
    (worker,) = machine.workers
    for pid in _children(worker.pid):
        os.kill(pid, signal.SIGKILL)
    _wait("the crash's report", lambda: machine.console.state_of(run_id) == "CRASHED")
    assert machine.has_a_job(), "the job must go on"
    _finish(machine, machine.ingest())


def test_a_server_that_is_away_for_a_minute_ends_no_run(machine: Machine) -> None:
    run_id = machine.ingest()
    machine.wait_for_a_job()
    machine.restart_server(60)
    _finish(machine, run_id)


def test_a_database_that_is_locked_for_longer_than_the_server_waits_ends_no_run(machine: Machine) -> None:
    run_id = machine.ingest()
    machine.wait_for_a_job()
    database = sqlite3.connect(machine.console.folder / "prefect" / "prefect.db", timeout=60, isolation_level=None)
    database.execute("BEGIN EXCLUSIVE")
    time.sleep(LOCKED_S)
    database.execute("ROLLBACK")
    database.close()
    _finish(machine, run_id)
    assert "database is locked" in (machine.console.folder / "server.log").read_text(), "it was not in the way"


def test_cancelling_reaches_the_job_though_the_server_was_away(machine: Machine) -> None:
    """Prefect's own observer of cancellations is off for good after such an outage; ours looks for itself."""
    run_id = machine.ingest(ENDLESS)
    machine.wait_for_a_job()
    machine.restart_server(60)
    machine.console.run("flow-run", "cancel", run_id)
    asked = time.monotonic()
    _wait("the end of the job", lambda: not machine.has_a_job())
    assert time.monotonic() - asked < CANCEL_S
    machine.start_worker()  # an outage may end the first one, too; then reconcile says how the run ended
    machine.reconcile()
    _wait("the end of the run", lambda: machine.console.state_of(run_id) in ("CANCELLED", "FAILED"))
    assert set(machine.attempts().values()) == {1}


def test_cancelling_a_run_without_a_worker_ends_its_job_with_the_next_reconcile(machine: Machine) -> None:
    run_id = machine.ingest(ENDLESS)
    machine.wait_for_a_job()
    machine.kill_worker_and_flows()
    machine.console.run("flow-run", "cancel", run_id)
    assert machine.has_a_job()
    machine.start_worker()
    machine.reconcile()
    reconciled = time.monotonic()
    _wait("the end of the job", lambda: not machine.has_a_job())
    assert time.monotonic() - reconciled < CANCEL_S
    _wait("the end of the run", lambda: machine.console.state_of(run_id) == "CANCELLED")
    assert set(machine.attempts().values()) == {1}


def test_two_runs_at_once_share_each_stage(machine: Machine) -> None:
    runs = [machine.ingest() for _ in range(2)]
    for run_id in runs:
        _finish(machine, run_id)
    states = {
        httpx.get(f"{machine.console.api}/flow_runs/{run_id}", timeout=ANSWER_S).json()["state"]["name"]
        for run_id in runs
    }
    assert states == {"Completed"}
