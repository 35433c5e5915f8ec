"""A person who stops a run stops its jobs; a worker that dies or is shut down does not.

Which jobs a run waits for is written into the store (``runs/<id>.json``), because a run may have adopted a job that an
earlier one started. Three ways lead to them, as any may fail: the hook that Prefect calls on the flow, a look at the
run's own state now and then while it waits, and Ctrl-C.
"""

import asyncio
import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any
from uuid import UUID

from pydantic import BaseModel, ValidationError

from infra.execution import cancel_jobs
from infra.files import RecordDamaged, children, read_json, write_json
from infra.jobs.process import Identity, identify, is_alive, this_host
from infra.store import Store
from tasks.publication import open_store

STAGE_KEY = "stage_key"
"""Label of every job."""

LOOK_EVERY_S = 10.0


LEASE_S = 180.0
"""A run whose process has not been seen for so long is taken for dead, where the process itself cannot be looked at."""


class RunRecord(BaseModel):
    """``runs/<id>.json``: who waits for which stages. Written anew now and then, so that its age tells who lives."""

    process: Identity
    server: str = ""
    """The Prefect API that knows the run; empty where the run had a server of its own."""
    keys: dict[str, str] = {}
    """Stage -> key, for every stage that the run has asked for."""


class Followed:
    """The record of one flow run, kept by the process that runs it."""

    def __init__(self, store: Store, run_id: str) -> None:
        self._path = record_path(store, run_id)
        self._record = RunRecord(process=identify(os.getpid()), server=os.environ.get("PREFECT_API_URL", ""))

    def add(self, stage: str, key: str) -> None:
        """From now on, stopping the run stops this stage's job."""
        self._record.keys[stage] = key
        self._path.parent.mkdir(parents=True, exist_ok=True)
        write_json(self._path, self._record.model_dump())


def record_path(store: Store, run_id: str) -> Path:
    """Where the record of a flow run is."""
    return store.base / "runs" / f"{run_id}.json"


def read_records(store: Store) -> dict[str, RunRecord]:
    """The records of all runs by id; those of an earlier form, and damaged ones, are left out."""
    found = {}
    for path in children(store.base / "runs"):
        with suppress(ValidationError, RecordDamaged):
            found[path.stem] = RunRecord.model_validate(read_json(path))
    return found


def is_followed(store: Store, run_id: str, record: RunRecord) -> bool:
    """Whether the process of the run still lives: by process on this host, by the age of its record elsewhere."""
    if record.process.host == this_host():
        return is_alive(record.process)
    return time.time() - record_path(store, run_id).stat().st_mtime < LEASE_S


def cancel_run(store: Store, run_id: str) -> None:
    """Ask the jobs that the flow run waits for to save their state and end."""
    value = read_json(record_path(store, run_id))
    for key in RunRecord.model_validate(value).keys.values() if value else ():
        cancel_jobs(store, {STAGE_KEY: key})


def cancel_own_runs() -> None:
    """The same for every flow run of this process."""
    store, own = open_store(), identify(os.getpid())
    for run_id, record in read_records(store).items():
        if record.process == own:
            cancel_run(store, run_id)


def cancel_jobs_of_run(flow: Any, flow_run: Any, state: Any) -> None:
    """Prefect's ``on_cancellation`` hook: it runs in another process and knows the run's id only."""
    cancel_run(open_store(), str(flow_run.id))


@asynccontextmanager
async def watch_for_cancel(store: Store, run_id: str) -> AsyncIterator[None]:
    """While inside, cancel the run's jobs as soon as the server says that the run is being cancelled."""
    watcher = asyncio.create_task(_watch(store, run_id))
    try:
        yield
    finally:
        watcher.cancel()
        with suppress(asyncio.CancelledError):
            await watcher


async def _watch(store: Store, run_id: str) -> None:
    from httpx import HTTPError
    from prefect import get_client

    async with get_client() as client:
        while True:
            await asyncio.sleep(LOOK_EVERY_S)
            with suppress(OSError):
                os.utime(record_path(store, run_id))
            try:
                run = await client.read_flow_run(UUID(run_id))
            except HTTPError:
                continue  # the server is away; the jobs are not
            if run.state is not None and (run.state.is_cancelling() or run.state.is_cancelled()):
                cancel_run(store, run_id)
                return
