import os
from pathlib import Path

import pytest

from infra.dask_cluster import local_cluster


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
