import os
import signal
import stat
from pathlib import Path

import httpx
import pytest
from pydantic import ValidationError

from infra.dask_cluster import SlurmWorkers, cluster_executor, local_cluster, slurm_cluster
from tests.infra.slurm_cluster import SlurmCluster


def _listening() -> set[str]:
    """Local addresses of listening TCP sockets on this machine, as in /proc/net/tcp*."""
    lines = [
        line.split()
        for name in ("tcp", "tcp6")
        if (table := Path("/proc/net") / name).exists()
        for line in table.read_text().splitlines()[1:]
    ]
    return {fields[1] for fields in lines if fields[3] == "0A"}


@pytest.mark.slow
def test_workers_are_processes_and_listen_on_loopback_only(tmp_path: Path) -> None:
    before = _listening()
    with local_cluster(2, tmp_path) as executor:
        opened = _listening() - before
        pids = {executor.submit(os.getpid).result(timeout=30) for _ in range(4)}
    assert os.getpid() not in pids
    assert opened
    assert all(address.startswith("0100007F:") for address in opened), opened


def _die_once(number: int, mark: Path) -> int:
    """The first worker that comes here is killed in the middle of its task."""
    try:
        mark.touch(exist_ok=False)
    except FileExistsError:
        return number * number
    os.kill(os.getpid(), signal.SIGKILL)
    return -1


@pytest.mark.slow
def test_the_work_of_a_killed_worker_is_done_by_others(tmp_path: Path) -> None:
    with local_cluster(2, tmp_path / "scratch") as executor:
        futures = [executor.submit(_die_once, number, tmp_path / "mark") for number in range(20)]
        assert [future.result(timeout=60) for future in futures] == [number**2 for number in range(20)]
    assert (tmp_path / "mark").exists()


@pytest.mark.slow
def test_a_slurm_job_asks_for_what_was_configured_over_tls(tmp_path: Path) -> None:
    slurm = SlurmWorkers(
        queue="cpu",
        account="lab",
        cores=4,
        memory_gb=12,
        walltime_min=95,
        interface="lo",
        directives=("--constraint=avx2", "--exclusive"),
    )
    with slurm_cluster(slurm, tmp_path) as cluster:
        script = cluster.job_script()
        assert cluster.scheduler_address.startswith("tls://127.0.0.1:")
        page = cluster.dashboard_link
        assert page.startswith("http://127.0.0.1:")
        assert httpx.get(page, follow_redirects=True).status_code == 404
    lines = script.splitlines()
    for directive in ("-p cpu", "-A lab", "--cpus-per-task=4", "-t 01:35:00", "--constraint=avx2", "--exclusive"):
        assert f"#SBATCH {directive}" in lines
    assert "#SBATCH --mem=12G" in lines or "#SBATCH --mem=11G" in lines
    for part in (
        "tls://127.0.0.1:",
        "--nworkers 4",
        "--nthreads 1",
        "--tls-cert",
        "--tls-ca-file",
        "--interface lo",
        "--no-dashboard",
    ):
        assert part in script, script
    keys = [path for path in (tmp_path / "certificates").rglob("*") if path.is_file()]
    assert not any(stat.S_IMODE(path.stat().st_mode) & 0o077 for path in keys)
    assert stat.S_IMODE((tmp_path / "certificates").stat().st_mode) == 0o700


@pytest.mark.parametrize(
    "wrong",
    [
        {"queue": "cpu\n#SBATCH --uid=0"},
        {"queue": "cpu debug"},
        {"directives": ("--comment=a\nrm -rf /",)},
        {"directives": ("rm",)},
        {"cores": 0},
        {"walltime": 5},
    ],
    ids=str,
)
def test_what_would_break_a_job_script_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        SlurmWorkers.model_validate(wrong)


@pytest.mark.slow
def test_slurm_workers_do_the_work(tmp_path: Path, slurm: SlurmCluster) -> None:
    workers = SlurmWorkers(cores=1, memory_gb=1, walltime_min=5, interface="lo")
    with cluster_executor(1, tmp_path, workers) as executor:
        assert executor.submit(pow, 3, 4).result(timeout=120) == 81
        assert "RUNNING" in slurm.jobs().values()


def test_a_fault_does_not_wait_for_workers_that_never_come(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="a fault"):
        _fail_without_workers(tmp_path)


def _fail_without_workers(scratch: Path) -> None:
    with local_cluster(0, scratch) as executor:
        executor.submit(pow, 3, 4)
        raise ValueError("a fault")
