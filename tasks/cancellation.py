"""A person who stops a run stops its jobs; a worker that dies or is shut down does not.

Which jobs a run waits for is written into the store (``runs/<id>.json``), because a run may have adopted a job that an
earlier one started. Three ways lead to them, as any may fail: the hook that Prefect calls on the flow, a look at the
run's own state now and then while it waits, and Ctrl-C.
"""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any
from uuid import UUID

from pydantic import BaseModel

from infra.execution import cancel_jobs
from infra.files import read_json, write_json
from infra.jobs.process import this_host
from infra.store import Store
from tasks.publication import open_store

STAGE_KEY = "stage_key"
"""Label of every job."""

LOOK_EVERY_S = 10.0


class RunRecord(BaseModel):
    """``runs/<id>.json``: who waits for which stages."""

    host: str
    pid: int
    keys: dict[str, str] = {}
    """Stage -> key, for every stage that the run has asked for."""


class Followed:
    """The record of one flow run, kept by the process that runs it."""

    def __init__(self, store: Store, run_id: str) -> None:
        self._path = store.base / "runs" / f"{run_id}.json"
        self._record = RunRecord(host=this_host(), pid=os.getpid())

    def add(self, stage: str, key: str) -> None:
        """From now on, stopping the run stops this stage's job."""
        self._record.keys[stage] = key
        self._path.parent.mkdir(parents=True, exist_ok=True)
        write_json(self._path, self._record.model_dump())


def cancel_run(store: Store, run_id: str) -> None:
    """Ask the jobs that the flow run waits for to save their state and end."""
    value = read_json(store.base / "runs" / f"{run_id}.json")
    for key in RunRecord.model_validate(value).keys.values() if value else ():
        cancel_jobs(store, {STAGE_KEY: key})


def cancel_own_runs() -> None:
    """The same for every flow run of this process."""
    store = open_store()
    for path in (store.base / "runs").glob("[!.]*.json"):
        record = RunRecord.model_validate(read_json(path))
        if (record.host, record.pid) == (this_host(), os.getpid()):
            cancel_run(store, path.stem)


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
            try:
                run = await client.read_flow_run(UUID(run_id))
            except HTTPError:
                continue  # the server is away; the jobs are not
            if run.state is not None and (run.state.is_cancelling() or run.state.is_cancelled()):
                cancel_run(store, run_id)
                return
