"""Jobs of Slurm: ``sbatch`` starts the runner on a node, ``squeue`` and the attempt's own files say how it stands.

Exactly one job comes of an attempt, whoever dies when: the token is written down before submission and is the job's
comment; whoever submits holds a lock that ``sbatch`` itself inherits; and should there be two jobs all the same, the
second one's runner finds the first one's ``job.json`` and goes away.
"""

import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from infra.files import locked, write_json
from infra.jobs.attempt import Attempt, Exit
from infra.jobs.slurm_commands import Listed, SlurmCommands, SlurmError
from infra.jobs.slurm_script import SlurmOptions, job_script
from infra.jobs.spec import BackendUnavailable, JobRef, JobSpec, JobState, JobStatus, JobUsage, SubmitError

_SETTLE_S = 5.0
"""How long the last files of a job may take to appear here after Slurm has called it over."""
_HEARD_WITHIN_S = 90.0
"""How long a request to stop may take to reach a runner over a shared file system."""


class SlurmBackend:
    """See `infra.jobs.spec.Backend`."""

    name = "slurm"

    def __init__(self, options: SlurmOptions) -> None:
        self._options = options
        self.poll_s = options.poll_s
        self._commands = SlurmCommands(options.command_prefix)
        self._missing_since: dict[str, float] = {}

    @property
    def options(self) -> dict[str, Any]:
        """Everything that was configured."""
        return self._options.model_dump(mode="json")

    def submit(self, spec: JobSpec, attempt: Attempt, token: str) -> JobRef:
        """Hand the job to Slurm, unless this token's job is there already."""
        try:
            script = job_script(spec, attempt, token, self._options)
        except ValueError as error:
            raise SubmitError(str(error)) from None
        with locked(attempt.submit_lock_path) as lock:
            found = self.find(attempt, token)
            if found is not None:
                return found
            try:
                number = self._commands.submit(script, lock)
            except SlurmError as error:
                raise SubmitError(str(error)) from None
            except BackendUnavailable:
                found = self.find(attempt, token)  # it may have been taken before the line broke
                if found is None:
                    raise
                return found
            return self._note(attempt, token, number)

    def find(self, attempt: Attempt, token: str) -> JobRef | None:
        """The job by what the attempt's folder says, or by its comment in the queue."""
        found = attempt.found(token)
        if found is not None:
            return found
        try:
            listed = self._commands.jobs(max_age_s=0.0)
        except SlurmError as error:
            raise BackendUnavailable(str(error)) from None
        for number, job in listed.items():
            if job.token == token:
                return self._note(attempt, token, number)
        return None

    def poll(self, refs: Sequence[JobRef]) -> dict[JobRef, JobStatus]:
        """States by one look at the queue, by the accounting where that no longer lists a job, and by exit.json.

        Only ``exit.json`` makes a success, and it is enough for one, as for a failure of the work. The end of a job
        that may go on is believed only once Slurm says that it is over, because Slurm may start it again itself.
        """
        try:
            listed = self._commands.jobs(max_age_s=self.poll_s / 2)
        except (SlurmError, BackendUnavailable):
            return {ref: self._without_slurm(ref) for ref in refs}
        known = {ref: self._own(listed, ref) for ref in refs}
        missing = [ref.id for ref, job in known.items() if job is None and self._ending(ref) is None]
        accounted = self._commands.accounted(missing) if missing else {}
        return {ref: self._status(ref, job or accounted.get(ref.id)) for ref, job in known.items()}

    def cancel(self, ref: JobRef) -> None:
        """Leave the request for the runner, take the job out of the queue if it waits there, and end it by force if
        an earlier request has not been heeded in time. A job that starts in between finds the request."""
        attempt = Attempt(Path(ref.attempt))
        attempt.request_cancel()
        self._scancel(ref, only_pending=not self._is_deaf(attempt))

    def tail(self, ref: JobRef, num_lines: int = 40) -> str:
        """The last lines of the attempt's log, which has Slurm's own words, too."""
        return Attempt(Path(ref.attempt)).tail(num_lines)

    def usage(self, ref: JobRef) -> JobUsage | None:
        """Wall time, peak memory and GPU time of a job that is over."""
        return Attempt(Path(ref.attempt)).usage()

    def _note(self, attempt: Attempt, token: str, number: str) -> JobRef:
        ref = JobRef(backend=self.name, id=number, token=token, attempt=str(attempt.path.absolute()))
        write_json(attempt.submitted_path, ref.model_dump(mode="json"))
        return ref

    def _own(self, listed: dict[str, Listed], ref: JobRef) -> Listed | None:
        """The job of that number, if it is not a later one that Slurm gave the same number to."""
        job = listed.get(ref.id)
        return job if job is not None and job.token == ref.token else None

    def _without_slurm(self, ref: JobRef) -> JobStatus:
        ended = self._ending(ref)
        if ended is not None and not ended.state.may_resume:
            return JobStatus(state=ended.state, code=ended.code)
        return JobStatus(state=self._unsure(Attempt(Path(ref.attempt))))

    def _status(self, ref: JobRef, job: Listed | None) -> JobStatus:
        attempt = Attempt(Path(ref.attempt))
        ended = self._ending(ref)
        if ended is not None and _is_final(ended):
            return JobStatus(state=ended.state, code=ended.code)
        if job is not None and not job.state.is_over:
            self._missing_since.pop(ref.token, None)
            if self._is_deaf(attempt):
                self._scancel(ref, only_pending=False)
            return JobStatus(state=job.state)
        if ended is not None:
            return JobStatus(state=_agreed(ended.state, job), code=ended.code)
        if job is None and attempt.is_live():  # the controller may forget its jobs; they do not stop for that
            return JobStatus(state=JobState.RUNNING)
        patience_s = _SETTLE_S if job is not None else self._options.unlisted_s
        since = self._missing_since.setdefault(ref.token, time.monotonic())
        if time.monotonic() - since < patience_s:
            return JobStatus(state=self._unsure(attempt))
        return JobStatus(state=_of_silent(job, started=attempt.job_path.exists()))

    def _ending(self, ref: JobRef) -> Exit | None:
        with os.scandir(ref.attempt):  # opening a folder makes NFS look again
            return Attempt(Path(ref.attempt)).exit()

    def _unsure(self, attempt: Attempt) -> JobState:
        return JobState.RUNNING if attempt.job_path.exists() else JobState.PENDING

    def _is_deaf(self, attempt: Attempt) -> bool:
        return attempt.cancel_age_s() > attempt.intent().job.grace_s + _HEARD_WITHIN_S

    def _scancel(self, ref: JobRef, *, only_pending: bool) -> None:
        try:
            self._commands.cancel(ref.id, only_pending=only_pending)
        except (SlurmError, BackendUnavailable):
            return  # over already, or asked again at the next look


def _is_final(ended: Exit) -> bool:
    """Whether nothing that Slurm may say matters: it says why something was killed, and may start what may go on."""
    return not ended.state.may_resume and (ended.state is not JobState.FAILED or ended.code > 0)


def _agreed(said: JobState, job: Listed | None) -> JobState:
    """The runner knows what it was asked, Slurm knows why."""
    slurm_knows = (JobState.CANCELLED, JobState.TIMEOUT, JobState.OOM, JobState.NODE_FAIL)
    if said in (JobState.PREEMPTED, JobState.FAILED) and job is not None and job.state in slurm_knows:
        return job.state
    return said


def _of_silent(job: Listed | None, *, started: bool) -> JobState:
    """What became of a job that is over and left no ``exit.json``: its runner, which always writes one, was killed."""
    if job is None or job.state is JobState.SUCCEEDED:
        return JobState.LOST
    if job.state is JobState.FAILED and started:
        return JobState.LOST
    return job.state
