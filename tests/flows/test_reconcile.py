"""What reconcile does to runs and jobs whose process is gone, and what it leaves alone."""

import asyncio
import os
import signal
import subprocess
import sys
import uuid
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import pytest
from prefect import flow, get_client
from prefect.client.schemas.objects import State
from prefect.states import Cancelled, Cancelling, Completed, Crashed, Running

from infra.execution import execute
from infra.files import try_lock, write_json
from infra.jobs.attempt import Attempt
from infra.jobs.local import LocalBackend
from infra.jobs.process import Identity, identify, processes_of
from infra.jobs.spec import JobState
from infra.stage import Stage, stage_key
from infra.store import Store
from tasks.cancellation import STAGE_KEY, RunRecord, record_path
from tasks.reconciliation import MAX_STARTS, reconcile_attempts, reconcile_runs

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("prefect_server")]

SERVER = "http://this.one/api"


@flow(name="some-flow", persist_result=False)
def some_flow() -> None:
    pass


@pytest.fixture
def store(tmp_path: Path) -> Any:
    store = Store(tmp_path / "store")
    yield store
    for folder in store.stage_folders():
        for attempt in folder.attempts():
            for pid in processes_of(attempt.intent().token):
                os.kill(pid, signal.SIGKILL)


@pytest.fixture
def stage(trivial_stages: str) -> Stage:
    return Stage(name="forever", version=1, entry=f"{trivial_stages}:forever")


@pytest.fixture
def dead() -> Identity:
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    identity = identify(process.pid)
    process.communicate(b"\n")
    return identity


def _left_running(stage: Stage, store: Store) -> Attempt:
    """The stage's job, whose caller has gone away."""

    async def leave() -> None:
        labels = {STAGE_KEY: stage_key(stage, {}, {})}
        task = asyncio.create_task(execute(stage, {}, {}, store, LocalBackend(), labels=labels))
        while not any(attempt.is_live() for folder in store.stage_folders() for attempt in folder.attempts()):
            await asyncio.sleep(0.05)
        task.cancel()

    asyncio.run(leave())
    (folder,) = store.stage_folders()
    (attempt,) = folder.attempts()
    return attempt


def _recorded(store: Store, stage: Stage, run_id: str, process: Identity, server: str = SERVER) -> None:
    record = RunRecord(process=process, server=server, keys={stage.name: stage_key(stage, {}, {})})
    record_path(store, run_id).parent.mkdir(parents=True, exist_ok=True)
    write_json(record_path(store, run_id), record.model_dump())


def _call(coroutine: Coroutine[Any, Any, Any]) -> Any:
    return asyncio.run(coroutine)


async def _run_in(state: State[Any], deployed: bool = False) -> str:
    async with get_client() as client:
        if deployed:
            flow_id = await client.create_flow(some_flow)
            deployment = await client.create_deployment(flow_id, name=uuid.uuid4().hex)
            run = await client.create_flow_run_from_deployment(deployment)
        else:
            run = await client.create_flow_run(some_flow)
        await client.set_flow_run_state(run.id, state, force=True)
        return str(run.id)


async def _set(run_id: str, state: State[Any]) -> None:
    async with get_client() as client:
        await client.set_flow_run_state(uuid.UUID(run_id), state, force=True)


async def _state_of(run_id: str) -> State[Any]:
    async with get_client() as client:
        state = (await client.read_flow_run(uuid.UUID(run_id))).state
        assert state is not None
        return state


def _end_of(attempt: Attempt) -> JobState | None:
    for _ in range(600):
        ended = attempt.exit()
        if ended is not None:
            return ended.state
        asyncio.run(asyncio.sleep(0.1))
    return None


@pytest.mark.parametrize("state", ["cancelled", "cancelling", "deleted"])
def test_jobs_of_a_run_that_is_no_more_are_ended(store: Store, stage: Stage, dead: Identity, state: str) -> None:
    attempt = _left_running(stage, store)
    states = {"cancelled": Cancelled(), "cancelling": Cancelling()}
    run_id = str(uuid.uuid4()) if state == "deleted" else _call(_run_in(states[state]))
    _recorded(store, stage, run_id, dead)
    (line,) = _call(reconcile_runs(store, SERVER))
    assert "1 jobs asked to end" in line
    assert _end_of(attempt) is JobState.CANCELLED
    assert not record_path(store, run_id).exists()
    if state != "deleted":
        assert _call(_state_of(run_id)).is_cancelled()
    assert _call(reconcile_runs(store, SERVER)) == []


def test_a_job_that_a_living_run_waits_for_too_goes_on(store: Store, stage: Stage, dead: Identity) -> None:
    attempt = _left_running(stage, store)
    _recorded(store, stage, _call(_run_in(Cancelled())), dead)
    _recorded(store, stage, _call(_run_in(Running())), identify(os.getpid()))
    assert _call(reconcile_runs(store, SERVER)) == []
    assert attempt.is_live()
    assert not attempt.cancel_path.exists()


def test_a_living_run_that_the_server_does_not_know_is_left_alone(store: Store, stage: Stage) -> None:
    attempt = _left_running(stage, store)
    _recorded(store, stage, str(uuid.uuid4()), identify(os.getpid()))
    assert _call(reconcile_runs(store, SERVER)) == []
    assert not attempt.cancel_path.exists()


def test_another_servers_runs_and_finished_ones_are_left_alone(store: Store, stage: Stage, dead: Identity) -> None:
    attempt = _left_running(stage, store)
    _recorded(store, stage, str(uuid.uuid4()), dead, server="")
    _recorded(store, stage, _call(_run_in(Completed())), dead)
    assert _call(reconcile_runs(store, SERVER)) == []
    assert _call(reconcile_runs(store, "")) == [], "runs with a server of their own"
    assert not attempt.cancel_path.exists()


@pytest.mark.parametrize("deployed", [True, False])
def test_a_run_whose_process_died_is_taken_up_by_a_worker_if_one_can(
    store: Store, stage: Stage, dead: Identity, monkeypatch: pytest.MonkeyPatch, deployed: bool
) -> None:
    run_id = _call(_run_in(Running(), deployed))
    _recorded(store, stage, run_id, dead)
    assert _call(reconcile_runs(store, SERVER)) == [], "a process that has only just started is given time"
    monkeypatch.setattr("tasks.reconciliation.LEASE_S", 0.0)
    assert len(_call(reconcile_runs(store, SERVER))) == 1
    assert _call(_state_of(run_id)).name == ("AwaitingRetry" if deployed else "Crashed")


def test_a_crashed_run_is_taken_up_but_not_for_ever(store: Store, stage: Stage, dead: Identity) -> None:
    """Which of worker and flow dies first decides whether Prefect says so; to us it is the same."""
    run_id = _call(_run_in(Running(), deployed=True))
    for start in range(1, MAX_STARTS + 1):
        _recorded(store, stage, run_id, dead)
        _call(_set(run_id, Crashed()))
        taken_up = start < MAX_STARTS
        assert len(_call(reconcile_runs(store, SERVER))) == taken_up
        assert _call(_state_of(run_id)).name == ("AwaitingRetry" if taken_up else "Crashed")
        assert record_path(store, run_id).exists() == taken_up
        _call(_set(run_id, Running()))


def test_a_crash_that_only_the_server_believes_in_is_left_alone(store: Store, stage: Stage) -> None:
    run_id = _call(_run_in(Crashed(), deployed=True))
    _recorded(store, stage, run_id, identify(os.getpid()))
    assert _call(reconcile_runs(store, SERVER)) == []
    assert _call(_state_of(run_id)).is_crashed()
    assert record_path(store, run_id).exists()


def test_a_running_run_whose_process_lives_goes_on(store: Store, stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    run_id = _call(_run_in(Running(), deployed=True))
    _recorded(store, stage, run_id, identify(os.getpid()))
    monkeypatch.setattr("tasks.reconciliation.LEASE_S", 0.0)
    assert _call(reconcile_runs(store, SERVER)) == []
    assert _call(_state_of(run_id)).is_running()


def test_the_end_of_a_job_that_nobody_waits_for_is_written_down(store: Store, stage: Stage) -> None:
    attempt = _left_running(stage, store)
    assert list(reconcile_attempts(store)) == []
    running = attempt.running()
    assert running is not None
    for pid in [running.identity.pid, *processes_of(running.ref.token)]:
        os.kill(pid, signal.SIGKILL)
    while processes_of(running.ref.token):
        asyncio.run(asyncio.sleep(0.05))
    (folder,) = store.stage_folders()
    lock = try_lock(folder.claim_path)
    assert lock is not None
    assert list(reconcile_attempts(store)) == [], "whoever holds the claim sees to it"
    os.close(lock)
    assert list(reconcile_attempts(store)) == ["forever, attempt 1: ended lost"]
    assert list(reconcile_attempts(store)) == []
