"""A person who cancels a run stops its jobs; a worker that dies does not.

Two ways lead there, because either may fail: the hook that Prefect calls on the flow, and a look at the run's own
state now and then while it waits.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from typing import Any
from uuid import UUID

from infra.execution import cancel_jobs
from infra.jobs.local import LocalBackend
from infra.jobs.spec import Backend
from infra.store import Store
from tasks.publication import open_store

FLOW_RUN = "flow_run"
"""Label of every job: the id of the flow run that started it."""

LOOK_EVERY_S = 10.0


def cancel_jobs_of_run(flow: Any, flow_run: Any, state: Any) -> None:
    """Prefect's ``on_cancellation`` hook: it runs in another process and knows the run's id only."""
    cancel_jobs(open_store(), LocalBackend(), {FLOW_RUN: str(flow_run.id)})


@asynccontextmanager
async def watch_for_cancel(store: Store, backend: Backend, labels: Mapping[str, str]) -> AsyncIterator[None]:
    """While inside, cancel the jobs with ``labels`` as soon as their flow run is being cancelled."""
    watcher = asyncio.create_task(_watch(store, backend, labels))
    try:
        yield
    finally:
        watcher.cancel()
        with suppress(asyncio.CancelledError):
            await watcher


async def _watch(store: Store, backend: Backend, labels: Mapping[str, str]) -> None:
    from httpx import HTTPError
    from prefect import get_client

    async with get_client() as client:
        while True:
            await asyncio.sleep(LOOK_EVERY_S)
            try:
                run = await client.read_flow_run(UUID(labels[FLOW_RUN]))
            except HTTPError:
                continue  # the server is away; the jobs are not
            if run.state is not None and (run.state.is_cancelling() or run.state.is_cancelled()):
                cancel_jobs(store, backend, labels)
                return
