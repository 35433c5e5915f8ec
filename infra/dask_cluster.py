"""Dask clusters for data work that many processes share: on this machine, or as jobs of Slurm.

Workers run whatever the scheduler sends them, so nobody else may speak to it: on one machine all listen on loopback,
on several they speak TLS with certificates made for this one cluster. There is no dashboard.
"""

import logging
from collections.abc import Iterator
from concurrent.futures import Executor
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from pydantic import BaseModel, ConfigDict, Field, PositiveFloat, PositiveInt

if TYPE_CHECKING:
    from dask_jobqueue import SLURMCluster
    from distributed.deploy.cluster import Cluster

Word = Annotated[str, Field(pattern=r"^[\w.:+@/=,-]+$")]
"""What may stand in a line of a job script."""
_QUIET = {
    "distributed.worker.memory.spill": False,
    "distributed.worker.memory.target": False,
    "distributed.scheduler.http.routes": [],
    "distributed.worker.http.routes": [],
}
"""Memory is the job's to limit, so Dask does not police it; the web server that Dask always opens has no pages."""


class SlurmWorkers(BaseModel):
    """Workers as Slurm jobs: what each job asks for. A job holds ``cores`` workers of one thread."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    queue: Word | None = None
    """Partition; None: the cluster's default."""
    account: Word | None = None
    cores: PositiveInt = 8
    memory_gb: PositiveFloat = 16.0
    walltime_min: PositiveInt = 240
    interface: Word | None = None
    """Network interface over which scheduler and workers meet, such as ib0."""
    directives: tuple[Annotated[str, Field(pattern=r"^--?[a-z][^\n\r]*$")], ...] = ()
    """Further ``#SBATCH`` lines, such as ``--constraint=avx2``."""


@contextmanager
def cluster_executor(workers: int, scratch: Path, slurm: SlurmWorkers | None) -> Iterator[Executor]:
    """``workers`` worker processes as a standard executor: on this machine, or by ``slurm``.

    ``scratch``: folder for what workers spill and, with Slurm, for certificates and the logs of its jobs; it must be
    visible on all nodes then.
    """
    scratch.mkdir(parents=True, exist_ok=True)
    if slurm is None:
        with local_cluster(workers, scratch) as executor:
            yield executor
        return
    with slurm_cluster(slurm, scratch) as cluster:
        cluster.scale(n=workers)
        with _executor(cluster) as executor:
            yield executor


@contextmanager
def local_cluster(workers: int, scratch: Path) -> Iterator[Executor]:
    """``workers`` processes of one thread each, reachable over loopback only."""
    import dask
    from dask.distributed import LocalCluster

    with (
        dask.config.set(_QUIET),
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
        _executor(cluster) as executor,
    ):
        yield executor


@contextmanager
def slurm_cluster(slurm: SlurmWorkers, scratch: Path) -> Iterator["SLURMCluster"]:
    """A cluster without workers yet, over TLS. Its certificates are readable by their owner alone."""
    import dask
    from dask_jobqueue import SLURMCluster

    logs, keys = scratch / "logs", scratch / "certificates"
    for folder in (logs, keys):
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    with (
        dask.config.set(_QUIET),
        SLURMCluster(
            queue=slurm.queue,
            account=slurm.account,
            cores=slurm.cores,
            processes=slurm.cores,
            memory=f"{slurm.memory_gb:g} GB",
            walltime=f"{slurm.walltime_min // 60:02d}:{slurm.walltime_min % 60:02d}:00",
            interface=slurm.interface,
            job_extra_directives=list(slurm.directives),
            local_directory=str(scratch),
            log_directory=str(logs),
            protocol="tls://",
            security=True,
            shared_temp_directory=str(keys),
            scheduler_options={"dashboard": False, "dashboard_address": "127.0.0.1:0"},
            worker_extra_args=["--no-dashboard"],
        ) as cluster,
    ):
        yield cluster


@contextmanager
def _executor(cluster: "Cluster") -> Iterator[Executor]:
    from dask.distributed import Client

    with Client(cluster) as client:
        executor = client.get_executor()
        try:
            yield executor
        except BaseException:
            executor.shutdown(wait=False)  # what was asked of workers that never came would be waited for for ever
            raise
        executor.shutdown()
