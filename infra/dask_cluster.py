"""A Dask cluster on this machine for data work that many processes share."""

import logging
from collections.abc import Iterator
from concurrent.futures import Executor
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def local_cluster(workers: int, scratch: Path) -> Iterator[Executor]:
    """``workers`` processes of one thread each, reachable over loopback only, as a standard executor.

    ``scratch``: folder for what workers spill. Memory is the job's to limit, so Dask does not police it.
    """
    import dask
    from dask.distributed import Client, LocalCluster

    quiet = {"distributed.worker.memory.spill": False, "distributed.worker.memory.target": False}
    with (
        dask.config.set(quiet),
        LocalCluster(
            n_workers=workers,
            threads_per_worker=1,
            processes=True,
            host="127.0.0.1",
            dashboard_address=None,
            local_directory=str(scratch),
            memory_limit=None,
            silence_logs=logging.ERROR,
        ) as cluster,
        Client(cluster) as client,
        client.get_executor() as executor,
    ):
        yield executor
