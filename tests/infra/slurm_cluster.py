"""A private Slurm on this machine: own munged, slurmctld and two slurmd, with their files in one folder.

Any number of them run beside one another, and beside a Slurm of the machine's own: all sockets, spools and states are
in the folder, and its ports are kept from everyone else for as long as it lives.

To have one by hand: ``python tests/infra/slurm_cluster.py FOLDER`` prints what leads to it, and ends it with Ctrl-C.
"""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "squeue", "scancel", "scontrol", "srun")
NODES = ("one", "two")
START_S = 60.0

CONFIGURATION = """\
ClusterName=private
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={controller}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={base}/munge.socket
CryptoType=crypto/munge
CredType=cred/munge
StateSaveLocation={base}/state
SlurmdSpoolDir={base}/spool-%n
SlurmctldPidFile={base}/slurmctld.pid
SlurmdPidFile={base}/slurmd-%n.pid
SlurmctldLogFile={base}/slurmctld.log
SlurmdLogFile={base}/slurmd-%n.log
MpiDefault=none
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SchedulerParameters=sched_interval=1,bf_interval=1
ReturnToService=2
MailProg=/bin/true
KillWait=5
MinJobAge=60
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
{nodes}
PartitionName=debug Nodes={names} Default=YES State=UP PriorityTier=1 GraceTime=20 OverSubscribe=NO
PartitionName=cancelling Nodes={names} State=UP PriorityTier=1 PreemptMode=CANCEL GraceTime=20
PartitionName=urgent Nodes={names} State=UP PriorityTier=9
"""


class SlurmCluster:
    """Two nodes of two cores, both on this machine."""

    def __init__(self, base: Path) -> None:
        self.base = base
        self.conf = base / "slurm.conf"
        self._daemons: list[subprocess.Popen[bytes]] = []
        self._reserved: list[socket.socket] = []

    def start(self) -> None:
        """Raises AssertionError with the daemons' last lines where it does not come up."""
        (self.base / "state").mkdir()
        for name in NODES:
            (self.base / f"spool-{name}").mkdir()
        self._reserved = [_reserved_port() for _ in range(1 + len(NODES))]
        ports = [reserved.getsockname()[1] for reserved in self._reserved]
        host = socket.gethostname()
        nodes = [
            f"NodeName={name} NodeHostname={host} NodeAddr=127.0.0.1 Port={port} CPUs=2 RealMemory=8000"
            for name, port in zip(NODES, ports[1:], strict=True)
        ]
        text = CONFIGURATION.format(
            host=host, controller=ports[0], base=self.base, nodes="\n".join(nodes), names=",".join(NODES)
        )
        self.conf.write_text(text)
        key = self.base / "munge.key"
        key.write_bytes(os.urandom(128))
        key.chmod(0o600)
        own = ["socket", "key-file", "log-file", "pid-file", "seed-file"]
        self._start("munged", "--foreground", "--force", *(f"--{name}={self._munge_file(name)}" for name in own))
        self._wait("munged", lambda: (self.base / "munge.socket").exists())
        self._start("slurmctld", "-D", "-c", "-f", str(self.conf))
        for name in NODES:
            self._start("slurmd", "-D", "-N", name, "-f", str(self.conf))
        self._wait("the nodes", self._is_up)

    def command(self, *words: str) -> str:
        """What a command of Slurm prints."""
        done = subprocess.run(words, env=os.environ | {"SLURM_CONF": str(self.conf)}, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def jobs(self) -> dict[str, str]:
        """State by job number, jobs of the last seconds included."""
        said = self.command("squeue", "--states=all", "--noheader", "--format=%i %T")
        return dict(line.split() for line in said.splitlines())

    def stop(self) -> None:
        """End every job, then the daemons."""
        if self._daemons[1:]:
            subprocess.run(["scancel", "--user=root"], env=os.environ | {"SLURM_CONF": str(self.conf)}, check=False)
            deadline = time.monotonic() + 20
            while any(state in ("RUNNING", "COMPLETING") for state in self.jobs().values()):
                if time.monotonic() > deadline:
                    break
                time.sleep(0.5)
        for daemon in reversed(self._daemons):
            daemon.send_signal(signal.SIGTERM)
            try:
                daemon.wait(10)
            except subprocess.TimeoutExpired:
                daemon.kill()
                daemon.wait()
        for reserved in self._reserved:
            reserved.close()

    def _munge_file(self, name: str) -> Path:
        kind = name.removesuffix("-file")
        return self.base / f"munge.{kind}"

    def _start(self, *words: str) -> None:
        with (self.base / f"{words[0]}.out").open("ab") as log:
            self._daemons.append(subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=log, stderr=log))

    def _is_up(self) -> bool:
        env = os.environ | {"SLURM_CONF": str(self.conf)}
        done = subprocess.run(["sinfo", "-h", "-N", "-o", "%t"], env=env, capture_output=True, text=True)
        states = done.stdout.split()
        return done.returncode == 0 and bool(states) and set(states) == {"idle"}

    def _wait(self, what: str, condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + START_S
        while not condition():
            dead = [daemon.args for daemon in self._daemons if daemon.poll() is not None]
            if dead or time.monotonic() > deadline:
                logs = "\n".join(path.read_text()[-500:] for path in sorted(self.base.glob("*.out")))
                raise AssertionError(f"{what} did not come up in {START_S:g} s (ended: {dead}):\n{logs}")
            time.sleep(0.2)


def missing_programs() -> list[str]:
    """What this machine lacks for a Slurm of its own."""
    return [name for name in PROGRAMS if shutil.which(name) is None]


@contextmanager
def slurm_cluster(base: Path) -> Iterator[SlurmCluster]:
    """A running cluster with its files in the empty folder ``base``, gone afterwards."""
    cluster = SlurmCluster(base)
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.stop()


def _reserved_port() -> socket.socket:
    """A socket on a port that the kernel gives nobody else while it is open, but that a daemon can listen on: both say
    SO_REUSEADDR, and this one never listens."""
    reserved = socket.socket()
    reserved.bind(("127.0.0.1", 0))
    reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    return reserved


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with suppress(KeyboardInterrupt), slurm_cluster(Path(sys.argv[1])) as started:
        print(f"export SLURM_CONF={started.conf}", flush=True)
        signal.pause()
