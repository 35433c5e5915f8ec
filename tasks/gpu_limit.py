"""The machine's GPUs as a limit that all runs on one Prefect server share.

Who has GPUs in the worker's machine says how many: ``prefect gcl create gpu --limit 8``. Without that limit nothing
waits. Jobs on a cluster never do: its scheduler gives out the GPUs.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from infra.jobs.local import LocalBackend
from infra.jobs.spec import Backend
from infra.stage import Stage

GPU_LIMIT = "gpu"


@asynccontextmanager
async def gpu_slots(stage: Stage, backend: Backend) -> AsyncIterator[None]:
    """While inside, hold as many slots of the limit as the stage asks for GPUs, once they are free.

    A lease that cannot be renewed, as when the server is away, ends no job.
    """
    gpus = stage.resources.gpus
    on_this_machine = stage.resources.here or backend.name == LocalBackend.name
    if not gpus or not on_this_machine:
        yield
        return
    from prefect.concurrency.asyncio import concurrency

    async with concurrency(GPU_LIMIT, occupy=gpus, strict=False, raise_on_lease_renewal_failure=False):
        yield
