"""Jobs on this machine, as detached sessions: they outlive the process that submits them, and are found again."""

import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

from infra.jobs.attempt import Attempt
from infra.jobs.process import inherited_environment, processes_of, signal_all, this_host
from infra.jobs.runner import ALREADY_STARTED
from infra.jobs.spec import TOKEN_VARIABLE, Home, JobRef, JobSpec, JobState, JobStatus, JobUsage, SubmitError

_START_S = 120.0
"""A runner that was started but has written no ``job.json`` for so long is taken for dead."""


class LocalBackend:
    """See `infra.jobs.spec.Backend`."""

    name = "local"
    poll_s = 0.5

    @property
    def home(self) -> Home:
        """This process's own."""
        return Home.here()

    options: ClassVar[dict[str, Any]] = {}

    def __init__(self) -> None:
        self._ending: dict[str, float] = {}

    def submit(self, spec: JobSpec, attempt: Attempt, token: str) -> JobRef:
        """Start the runner, which reads ``spec`` from the attempt's intent; returns once the job has its identity."""
        with attempt.log_path.open("ab") as log:
            code = subprocess.Popen(
                [sys.executable, "-m", "infra.jobs.runner", str(attempt.path)],
                cwd=spec.cwd,
                env=inherited_environment() | {TOKEN_VARIABLE: token},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            ).wait()
        deadline = time.monotonic() + (_START_S if code == ALREADY_STARTED else 0.0)
        while (ref := self.find(attempt, token)) is None:
            if time.monotonic() > deadline:
                raise SubmitError(f"the runner ended with code {code} before the job started: {attempt.tail(5)}")
            time.sleep(0.05)
        return ref

    def find(self, attempt: Attempt, token: str) -> JobRef | None:
        """The job by the ``job.json`` that its runner writes before it starts anything."""
        return attempt.found(token)

    def poll(self, refs: Sequence[JobRef]) -> dict[JobRef, JobStatus]:
        """States by ``exit.json`` and process identity. What a dead runner left running is ended before LOST."""
        return {ref: self._status(ref) for ref in refs}

    def cancel(self, ref: JobRef) -> None:
        """Leave the request for the runner; if that is gone, `poll` ends what is left."""
        Attempt(Path(ref.attempt)).request_cancel()

    def tail(self, ref: JobRef, num_lines: int = 40) -> str:
        """The last lines of the attempt's log."""
        return Attempt(Path(ref.attempt)).tail(num_lines)

    def usage(self, ref: JobRef) -> JobUsage | None:
        """Wall time, peak memory and GPU time of a job that is over."""
        return Attempt(Path(ref.attempt)).usage()

    def _status(self, ref: JobRef) -> JobStatus:
        attempt = Attempt(Path(ref.attempt))
        live = attempt.is_live()  # before exit.json is read, so that an end in between is not taken for a loss
        ended = attempt.exit()
        if ended is not None:
            return JobStatus(state=ended.state, code=ended.code)
        running = attempt.running()
        if live or (running and running.identity.host == this_host() and self._still_ending(attempt, ref.token)):
            return JobStatus(state=JobState.RUNNING)
        return JobStatus(state=JobState.LOST)

    def _still_ending(self, attempt: Attempt, token: str) -> bool:
        """The runner is dead. Two attempts must never share a workspace, so end what it left and say if any is left."""
        rest = processes_of(token)
        if rest and token not in self._ending:
            self._ending[token] = time.monotonic() + attempt.intent().job.grace_s
            signal_all(rest, signal.SIGTERM)
        elif rest and time.monotonic() > self._ending[token]:
            signal_all(rest, signal.SIGKILL)
        return bool(rest)
