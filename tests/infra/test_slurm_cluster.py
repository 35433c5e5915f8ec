"""Two private clusters at once: what the tests of jobs rest on, where more than one of them runs on a machine."""

import socket
import time
from pathlib import Path

import pytest

from tests.infra.slurm_cluster import SlurmCluster, _reserved_port, slurm_cluster


def test_a_reserved_port_is_a_daemons_and_nobody_elses() -> None:
    reserved = _reserved_port()
    port = reserved.getsockname()[1]
    given = set()
    for _ in range(200):
        with socket.socket() as other:
            other.bind(("127.0.0.1", 0))
            given.add(other.getsockname()[1])
    assert port not in given
    with socket.socket() as daemon:
        daemon.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        daemon.bind(("0.0.0.0", port))
        daemon.listen()
        socket.create_connection(("127.0.0.1", port), timeout=5).close()
    with socket.socket() as other, pytest.raises(OSError, match="in use"):
        other.bind(("127.0.0.1", port))
    reserved.close()


@pytest.mark.slow
def test_two_clusters_know_nothing_of_each_other(slurm: SlurmCluster, tmp_path: Path) -> None:
    before = slurm.jobs()
    with slurm_cluster(tmp_path) as other:
        for cluster, word in ((slurm, "one"), (other, "other")):
            wrapped = f"--wrap=echo {word} $SLURM_CONF"
            cluster.command("sbatch", "--wait", f"--output={tmp_path / word}", wrapped)
        assert len(other.jobs()) == 1
        assert len(slurm.jobs().keys() - before.keys()) == 1
        held = slurm.command("sbatch", "--parsable", "--output=/dev/null", "--wrap=sleep 60").strip()
    deadline = time.monotonic() + 30
    while slurm.jobs()[held] == "PENDING" and time.monotonic() < deadline:
        time.sleep(0.2)
    assert slurm.jobs()[held] == "RUNNING", "the end of the one took a job of the other along"
    slurm.command("scancel", held)
    for word in ("one", "other"):
        assert (tmp_path / word).read_text().split()[0] == word
