"""Which process is which on Linux: a process id alone may be someone else's by now."""

import os
import signal
import socket
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from infra.jobs.spec import ID_VARIABLE, RESTARTS_VARIABLE, TOKEN_VARIABLE

_PROC = Path("/proc")
OWNER_VARIABLE = "DIFFSENSEI_OWNER"
"""Environment variable that names the command which started a process for itself alone: `infra.orphans`."""
_NOT_ITS = ("PREFECT_", "SLURM_", ID_VARIABLE, RESTARTS_VARIABLE, TOKEN_VARIABLE, OWNER_VARIABLE)
_STATE, _START_TIME = 0, 19
"""Positions in /proc/<pid>/stat after the parenthesised command name (fields 3 and 22 of proc(5))."""


class Identity(BaseModel):
    """One process and no other: host, boot, process id, and its start in clock ticks since that boot."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    host: str
    boot: str
    pid: int
    start_time: int


def this_host() -> str:
    """Name of this machine."""
    return socket.gethostname()


def identify(pid: int) -> Identity:
    """The identity of a living process. Raises ProcessLookupError where there is none."""
    fields = _stat(pid)
    if fields is None:
        raise ProcessLookupError(f"no process {pid}")
    return Identity(host=this_host(), boot=_boot(), pid=pid, start_time=int(fields[_START_TIME]))


def is_alive(identity: Identity) -> bool:
    """Whether that very process still runs on this host; a zombie does not."""
    fields = _stat(identity.pid)
    return (
        fields is not None
        and fields[_STATE] not in "ZX"
        and int(fields[_START_TIME]) == identity.start_time
        and _boot() == identity.boot
        and this_host() == identity.host
    )


def inherited_environment() -> dict[str, str]:
    """What a job gets of this process's environment: nothing of the orchestrator (so no api key and no flow run id),
    and nothing of a job that this process may be in itself."""
    return {name: value for name, value in os.environ.items() if name == "SLURM_CONF" or not name.startswith(_NOT_ITS)}


def processes_of(token: str) -> list[int]:
    """Ids of the living processes that carry the job's token in their environment, this one left out."""
    return [pid for pid, value in processes_with(TOKEN_VARIABLE).items() if value == token]


def processes_with(variable: str) -> dict[int, str]:
    """Living processes that have ``variable`` in their environment, and its value; this one left out."""
    mark = f"{variable}=".encode()
    found = {}
    for folder in _PROC.iterdir():
        if not folder.name.isdigit() or int(folder.name) == os.getpid():
            continue
        try:
            entries = (folder / "environ").read_bytes().split(b"\0")
        except OSError:
            continue
        for entry in entries:
            if entry.startswith(mark):
                found[int(folder.name)] = entry[len(mark) :].decode(errors="replace")
    return found


def signal_all(pids: list[int], number: signal.Signals) -> None:
    """Send a signal to each process that is still there."""
    for pid in pids:
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            continue


def num_oom_kills() -> int:
    """How often the kernel of this machine has killed for memory since it booted; 0 where it does not say."""
    try:
        lines = (_PROC / "vmstat").read_text().splitlines()
    except OSError:
        return 0
    return sum(int(line.split()[1]) for line in lines if line.startswith("oom_kill "))


def _stat(pid: int) -> list[str] | None:
    try:
        text = (_PROC / str(pid) / "stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return text[text.rindex(")") + 2 :].split()


def _boot() -> str:
    return (_PROC / "sys/kernel/random/boot_id").read_text().strip()
