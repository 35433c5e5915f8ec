"""Putting right what crashes leave behind: jobs of runs that are no more, runs that nobody carries out.

Nothing here is needed for a run to be correct: the next run finds everything by itself. It is for the time until then.
What another server's run, or a run with a server of its own, waits for is left alone.
"""

import asyncio
import os
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from uuid import UUID

from prefect import get_client
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.objects import FlowRun
from prefect.exceptions import ObjectNotFound
from prefect.states import AwaitingRetry, Cancelled, Crashed

from infra.execution import cancel_jobs
from infra.files import try_lock
from infra.jobs.backends import build_backend
from infra.jobs.spec import BackendUnavailable
from infra.jobs.supervision import look_at
from infra.store import Store
from tasks.cancellation import LEASE_S, STAGE_KEY, RunRecord, is_followed, read_records, record_path

MAX_STARTS = 5
"""A run that was begun so often is not taken up again: it may be what kills its process."""


async def reconcile_runs(store: Store, server: str) -> list[str]:
    """Compare the records of runs with what the Prefect API at ``server`` says; a line for everything done."""
    lines = []
    async with get_client() as client:
        for run_id, record in read_records(store).items():
            if record.server and record.server == server:
                run = await _known_run(client, run_id)
                lines += await _reconcile_run(store, client, run_id, record, run)
    return lines


def reconcile_attempts(store: Store) -> Iterator[str]:
    """Look at every unfinished attempt that no run supervises; a line for each whose job is over or has been asked to
    end, and for each whose backend does not answer."""
    for folder in store.stage_folders():
        attempt = folder.unfinished()
        if attempt is None or attempt.exit() is not None:
            continue
        lock = try_lock(folder.claim_path)
        if lock is None:
            continue  # a run sees to it
        intent = attempt.intent()
        try:
            state = look_at(attempt, build_backend(intent.backend, intent.options))
        except BackendUnavailable as trouble:
            yield f"{folder.name}, attempt {attempt.number}: not looked at, because {trouble}"
            continue
        finally:
            os.close(lock)
        ended = attempt.exit()
        if ended is not None:
            yield f"{folder.name}, attempt {attempt.number}: ended {ended.state.value}"
        elif state is not None and attempt.cancel_path.exists():
            yield f"{folder.name}, attempt {attempt.number}: {state.value}, asked again to end"


async def _known_run(client: PrefectClient, run_id: str) -> FlowRun | None:
    try:
        return await client.read_flow_run(UUID(run_id))
    except ObjectNotFound:
        return None


async def _reconcile_run(
    store: Store, client: PrefectClient, run_id: str, record: RunRecord, run: FlowRun | None
) -> list[str]:
    followed = is_followed(store, run_id, record)
    state = run.state if run is not None else None
    if run is None and followed:
        return []
    if run is None or state is None or state.is_cancelled() or (state.is_cancelling() and not followed):
        asked = await asyncio.to_thread(_cancel_unshared, store, run_id, record)
        if state is not None and state.is_cancelling():
            await client.set_flow_run_state(UUID(run_id), Cancelled(message="its process was gone"), force=True)
        if not followed:
            record_path(store, run_id).unlink(missing_ok=True)  # done with: its stages are anyone's again
        name = run.name if run is not None else run_id
        why = "cancelled" if run is not None else "unknown to the server"
        return [f"run {name}, {why}: {asked} jobs asked to end"] if asked else []
    crashed = state.is_crashed()
    if state.is_final() and not crashed:
        record_path(store, run_id).unlink(missing_ok=True)
        return []
    if followed or not (crashed or (state.is_running() and _is_older(state.timestamp, LEASE_S))):
        return []
    if run.deployment_id is not None and run.run_count < MAX_STARTS:
        await client.set_flow_run_state(UUID(run_id), AwaitingRetry(), force=True)
        return [f"run {run.name}: its process is gone, a worker takes it up again"]
    record_path(store, run_id).unlink(missing_ok=True)
    if crashed:
        return []
    await client.set_flow_run_state(UUID(run_id), Crashed(message="its process is gone"), force=True)
    return [f"run {run.name}: its process is gone, now crashed; the same command goes on"]


def _cancel_unshared(store: Store, run_id: str, record: RunRecord) -> int:
    """Ask the run's jobs to end, but those that another living run waits for."""
    others = {
        key
        for other, its in read_records(store).items()
        if other != run_id and is_followed(store, other, its)
        for key in its.keys.values()
    }
    wanted = set(record.keys.values()) - others
    return sum(len(cancel_jobs(store, {STAGE_KEY: key})) for key in sorted(wanted))


def _is_older(moment: datetime, seconds: float) -> bool:
    return datetime.now(UTC) - moment > timedelta(seconds=seconds)
