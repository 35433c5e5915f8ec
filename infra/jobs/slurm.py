"""Jobs of Slurm: ``sbatch`` starts the runner on a node, ``squeue`` and the attempt's own files say how it stands.

Exactly one job comes of an attempt, whoever dies when: the token is written down before submission and is the job's
comment; whoever submits holds a lock that ``sbatch`` itself inherits; and should there be two jobs all the same, the
second one's runner finds the first one's ``job.json`` and goes away.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from infra.files import locked, write_json
from infra.jobs.attempt import Attempt
from infra.jobs.scheduled import ScheduledJobs, ending, is_deaf
from infra.jobs.slurm_commands import Listed, SlurmCommands, SlurmError
from infra.jobs.slurm_script import SlurmOptions, job_script
from infra.jobs.spec import BackendUnavailable, Home, JobRef, JobSpec, JobStatus, JobUsage, SubmitError


class SlurmBackend:
    """See `infra.jobs.spec.Backend`."""

    name = "slurm"

    def __init__(self, options: SlurmOptions) -> None:
        self._options = options
        self.poll_s = options.poll_s
        self._commands = SlurmCommands(options.command_prefix)
        self._jobs = ScheduledJobs(options.unlisted_s, lambda ref: self._scancel(ref, only_pending=False))

    @property
    def home(self) -> Home:
        """This process's own: nodes see the same files."""
        return Home.here()

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
        """States by one look at the queue, by the accounting where that no longer lists a job, and by exit.json."""
        try:
            listed = self._commands.jobs(max_age_s=self.poll_s / 2)
        except (SlurmError, BackendUnavailable):
            return {ref: self._jobs.without_word(ref) for ref in refs}
        known = {ref: _own(listed, ref) for ref in refs}
        missing = [ref.id for ref, job in known.items() if job is None and ending(ref) is None]
        accounted = self._commands.accounted(missing) if missing else {}
        words = {ref: job or accounted.get(ref.id) for ref, job in known.items()}
        return {ref: self._jobs.status(ref, job.state if job else None) for ref, job in words.items()}

    def cancel(self, ref: JobRef) -> None:
        """Leave the request for the runner, take the job out of the queue if it waits there, and end it by force if
        an earlier request has not been heeded in time. A job that starts in between finds the request."""
        attempt = Attempt(Path(ref.attempt))
        attempt.request_cancel()
        self._scancel(ref, only_pending=not is_deaf(attempt))

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

    def _scancel(self, ref: JobRef, *, only_pending: bool) -> None:
        try:
            self._commands.cancel(ref.id, only_pending=only_pending)
        except (SlurmError, BackendUnavailable):
            return  # over already, or asked again at the next look


def _own(listed: dict[str, Listed], ref: JobRef) -> Listed | None:
    """The job of that number, if it is not a later one that Slurm gave the same number to."""
    job = listed.get(ref.id)
    return job if job is not None and job.token == ref.token else None
