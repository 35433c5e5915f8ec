"""What a job is, to whoever starts it and to whichever backend runs it."""

import os
import sys
from collections.abc import Sequence
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Protocol, Self

from pydantic import BaseModel, ConfigDict

if TYPE_CHECKING:
    from infra.jobs.attempt import Attempt

TOKEN_VARIABLE = "DIFFSENSEI_JOB_TOKEN"
"""Environment variable that marks every process of a job, so that none is missed and no other is touched."""
ID_VARIABLE = "DIFFSENSEI_JOB_ID"
"""Environment variable in which a scheduler tells the runner the job's name there."""
RESTARTS_VARIABLE = "DIFFSENSEI_JOB_RESTARTS"
"""Environment variable that counts how often a scheduler has started the same job again."""


class _Value(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class JobSpec(_Value):
    """One command and what it needs."""

    argv: tuple[str, ...]
    env: dict[str, str] = {}
    """Added to the environment that the backend gives."""
    cwd: str
    nodes: int = 1
    """Machines; the amounts below are of all of them together."""
    gpus: int = 0
    cpus: int = 1
    memory_gb: float = 4.0
    """0: all that each machine has."""
    walltime_s: float = 24 * 3600.0
    grace_s: float = 120.0
    """From the request to stop (SIGTERM: save a checkpoint) to SIGKILL."""


class Home(_Value):
    """Where the project is for the jobs of a backend."""

    python: str
    cwd: str

    @classmethod
    def here(cls) -> Self:
        """As for this process: nodes see the same files."""
        return cls(python=sys.executable, cwd=os.getcwd())


class JobRef(_Value):
    """A job that was submitted: enough to find it again from another process."""

    backend: str
    id: str
    """The backend's own name for it: a process id, a scheduler's job number."""
    token: str
    """Chosen before submission, so that a job is found even if its id was never written down."""
    attempt: str
    """Folder of the attempt."""


class JobState(StrEnum):
    """Where a job stands."""

    PENDING = "pending"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    PREEMPTED = "preempted"
    TIMEOUT = "timeout"
    NODE_FAIL = "node_fail"
    OOM = "oom"
    CANCELLED = "cancelled"
    LOST = "lost"

    @property
    def is_over(self) -> bool:
        """No further state will follow."""
        return self not in (JobState.PENDING, JobState.RUNNING)

    @property
    def may_resume(self) -> bool:
        """Ended through no fault of the work: another attempt goes on from its checkpoint."""
        return self in (JobState.PREEMPTED, JobState.TIMEOUT, JobState.NODE_FAIL, JobState.LOST)


class JobStatus(_Value):
    """One answer of ``Backend.poll``."""

    state: JobState
    code: int | None = None
    """Exit code once over; negative: killed by that signal; None: not over, or nobody saw it."""


class JobUsage(_Value):
    """What a finished job took."""

    wall_s: float
    max_rss_bytes: int | None = None
    gpu_s: float = 0.0


class SubmitError(RuntimeError):
    """The backend would not take the job."""


class BackendUnavailable(RuntimeError):
    """The backend does not answer now: nothing is known, and asking again later is all that is to be done."""


class Backend(Protocol):
    """Where jobs run. A failed query is never a failed job."""

    name: str
    poll_s: float
    """Longest sensible pause between polls."""

    @property
    def home(self) -> Home:
        """The interpreter and the folder that its jobs start with."""

    @property
    def options(self) -> dict[str, Any]:
        """JSON from which `infra.jobs.backends.build_backend` makes its like in another process."""

    def submit(self, spec: JobSpec, attempt: "Attempt", token: str) -> JobRef:
        """Start the job. Doing it twice with one token starts one job. Raises SubmitError, BackendUnavailable."""

    def find(self, attempt: "Attempt", token: str) -> JobRef | None:
        """The job that an earlier ``submit`` with this token started, if there is one. Raises BackendUnavailable."""

    def poll(self, refs: Sequence[JobRef]) -> dict[JobRef, JobStatus]:
        """The state of each job, in one query where the backend can."""

    def cancel(self, ref: JobRef) -> None:
        """Ask the job to save its state and end; returns at once."""

    def tail(self, ref: JobRef, num_lines: int = 40) -> str:
        """The last lines that the job printed."""

    def usage(self, ref: JobRef) -> JobUsage | None:
        """What the job took, or None before it is over."""
